"""Muon: steps of equal size along all directions of a weight matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# Of the odd polynomial a s + b s^3 + c s^5, which moves every singular value s of (0, 1] towards 1 when it is applied
# again and again: fast rather than exact, it leaves them between 0.7 and 1.2 (Jordan et al. 2024).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
ADAM_RMS = 0.2
"""Root mean square of a usual update of Adam, so that both take the same learning rates (Liu et al. 2025)."""


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
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    take = self._adam if parameter.ndim < 2 else self._orthogonal
                    parameter.add_(take(parameter, group).to(parameter), alpha=-group["lr"])
        return loss

    def _orthogonal(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["average"] = torch.zeros_like(parameter)
        average = state["average"].lerp_(parameter.grad, 1 - group["momentum"])
        matrix = parameter.grad.lerp(average, group["momentum"]).flatten(1)
        return (orthogonalised(matrix) * (ADAM_RMS * math.sqrt(max(matrix.shape)))).view_as(parameter)

    def _adam(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """Kingma and Ba 2015, algorithm 1."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # on the CPU, as torch's own
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        of_mean, of_square = group["betas"]
        mean = state["exp_avg"].lerp_(parameter.grad, 1 - of_mean)
        square = state["exp_avg_sq"].lerp_(parameter.grad.square(), 1 - of_square)
        step = float(state["step"])
        return mean / (1 - of_mean**step) / ((square / (1 - of_square**step)).sqrt() + group["eps"])


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix (M, N) with all its singular values near 1, by a Newton-Schulz iteration; zeros stay zeros."""
    a, b, c = COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.mT
    x = x / x.norm().clamp(min=1e-12)  # no singular value is above the Frobenius norm
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.mT
