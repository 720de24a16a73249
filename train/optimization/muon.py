"""Muon: steps of equal size along all directions of a weight matrix."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from dualdiffusion.machine.precision import may_be_half

# Of the odd polynomial a s + b s^3 + c s^5, which moves every singular value s of (0, 1] towards 1 when it is applied
# again and again: fast rather than exact, it leaves them between 0.7 and 1.2 (Jordan et al. 2024).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
ADAM_RMS = 0.2
"""Root mean square of a usual update of Adam, so that both take the same learning rates (Liu et al. 2025)."""
BATCH_ELEMENTS = 2**20
"""Elements of the weights that are orthogonalised in one go."""


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for the weights of layers; Adam for what has one axis at most (Jordan et al. 2024).

    A gradient's few strong directions drown the others; as an orthogonal matrix, the step is as large along each. The
    weight of a convolution (out, in, *kernel) is the matrix (out, in * kernel).

    Args:
        momentum: share that stays of the average gradient; what is taken looks ahead by it (Nesterov).
        betas, eps: of Adam.
        weight_decay: share of the learning rate by which weights shrink in a step (decoupled, as AdamW's).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        *,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        for name, value in {"momentum": momentum, "betas[0]": betas[0], "betas[1]": betas[1]}.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be from 0 to below 1, not {value}")
        defaults = {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step on the gradients that are there."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter, step in chain(self._orthogonal(parameters, group), self._adam(parameters, group)):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(step.to(parameter), alpha=-group["lr"])
        return loss

    def _orthogonal(self, parameters: list[Tensor], group: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """The steps of what has two axes and more."""
        parameters = [parameter for parameter in parameters if parameter.ndim > 1]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["average"] = torch.zeros_like(parameter)
        for batch in batches_of_one_shape(parameters):
            grads, averages = [each.grad for each in batch], [self.state[each]["average"] for each in batch]
            torch._foreach_lerp_(averages, grads, 1 - group["momentum"])
            ahead = torch._foreach_lerp(grads, averages, group["momentum"])
            steps = orthogonalised(torch.stack([each.flatten(1) for each in ahead]))
            steps *= ADAM_RMS * math.sqrt(max(steps.shape[1:]))
            yield from ((each, step.view_as(each)) for each, step in zip(batch, steps, strict=True))

    def _adam(self, parameters: list[Tensor], group: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """The steps of what has one axis at most: Kingma and Ba 2015, algorithm 1."""
        of_mean, of_square = group["betas"]
        for parameter in (parameter for parameter in parameters if parameter.ndim < 2):
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())  # on the CPU, as torch's own
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
            mean = state["exp_avg"].lerp_(parameter.grad, 1 - of_mean)
            square = state["exp_avg_sq"].lerp_(parameter.grad.square(), 1 - of_square)
            step = float(state["step"])
            yield parameter, mean / (1 - of_mean**step) / ((square / (1 - of_square**step)).sqrt() + group["eps"])


def batches_of_one_shape(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Small weights of one shape, device and type together: a network has hundreds, and each costs a dozen calls.

    Large ones stay alone: their products fill the device as they are, and a stack of them would take memory.
    """
    alike: dict[Any, list[Tensor]] = defaultdict(list)
    for parameter in parameters:
        alike[parameter.shape, parameter.device, parameter.dtype].append(parameter)
    for same in alike.values():
        size = max(1, BATCH_ELEMENTS // max(1, same[0].numel()))
        yield from (same[start : start + size] for start in range(0, len(same), size))


def orthogonalised(matrices: Tensor) -> Tensor:
    """The matrices (B, M, N) with all their singular values near 1, by a Newton-Schulz iteration; zeros stay zeros.

    In bfloat16 where the device multiplies it fast: what that rounds is far less than what the iteration leaves open.
    """
    a, b, c = COEFFICIENTS
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    # No singular value is above the Frobenius norm.
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-12)
    x = x.bfloat16() if may_be_half(x.device.type) else x
    for _ in range(ITERATIONS):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)
