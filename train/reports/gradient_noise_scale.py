"""The gradient noise scale: about how many samples a batch can hold before more are wasted (McCandlish et al. 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class GradientNoiseScale:
    """Measures tr(S) / |G|^2, S the covariance of a sample's gradient and G its mean, in samples.

    The squared norm of a gradient averaged over n samples is |G|^2 + tr(S) / n on average. With that of a micro batch
    of b samples and that of the whole batch of B, both are known (appendix A.1 of the paper):

        |G|^2 = (B |G_B|^2 - b |G_b|^2) / (B - b)
        tr(S) = (|G_b|^2 - |G_B|^2) / (1 / b - 1 / B)

    Both are averaged over updates before they are divided: each alone is very noisy. Gradients are taken as backward
    gives them: not yet projected, scaled down or noisy.

    Args:
        module: whose parameters' gradients count. They are seen while backward runs: nothing is copied.
        batch_size, micro_batch_size: B and b.

    Raises:
        ValueError: there are not at least two micro batches.
    """

    def __init__(self, module: nn.Module, *, batch_size: int, micro_batch_size: int) -> None:
        if batch_size < 2 * micro_batch_size:
            raise ValueError(f"a batch of {batch_size} is no two micro batches of {micro_batch_size}")
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._large, self._small = batch_size, micro_batch_size
        self._seen: Tensor | float = 0.0
        self._signal = self._noise = 0.0
        for parameter in self._parameters:
            parameter.register_hook(self._note)

    def _note(self, grad: Tensor) -> None:
        # On the device, without reading it: this runs for every parameter.
        self._seen = self._seen + torch.linalg.vector_norm(grad.detach(), dtype=torch.float32).square()

    def end_step(self) -> None:
        """Takes in an update, after the last backward pass and before anything is done to the gradient.

        The gradient must be that of the mean over the batch. One that is not finite is left out.
        """
        norms = [torch.linalg.vector_norm(p.grad, dtype=torch.float32) for p in self._parameters if p.grad is not None]
        of_batch = float(torch.stack(norms).square().sum()) if norms else math.nan
        # Each micro batch added b / B of its mean gradient.
        count = self._large / self._small
        of_micro = float(self._seen) / count * count**2
        self._seen = 0.0
        if math.isfinite(of_batch) and math.isfinite(of_micro):
            self._signal += (self._large * of_batch - self._small * of_micro) / (self._large - self._small)
            self._noise += (of_micro - of_batch) / (1 / self._small - 1 / self._large)

    def take(self) -> float | None:
        """The scale since the last time, in samples; None where noise hides the gradient's direction altogether."""
        signal, noise = self._signal, self._noise
        self._signal = self._noise = 0.0
        return noise / signal if signal > 0 and noise > 0 else None
