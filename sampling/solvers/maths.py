"""What samplers share: what they show, what their options may be, and the formulas of the papers.

Everything is in terms of sigma: the data are not scaled (alpha = 1), so the papers' half log-SNR is
lambda = -ln(sigma), and h = ln(sigma / sigma_next) is the length of a step in it. Imports no torch: tensors are used
by operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SamplerStep:
    """What a sampler shows after step `index` of `steps`.

    Attributes:
        steps: how many there will be; of a sampler that chooses its own, a forecast, never below index + 1.
        sigma: the noise level from which the step went down.
        x: the noisy latents after the step.
        denoised: the estimate of the clean latents at `sigma`.
    """

    index: int
    steps: int
    sigma: float
    x: Tensor
    denoised: Tensor


# What the options of samplers may be.
NoiseFactor = Annotated[float, Field(ge=0, le=10)]
Eta = Annotated[float, Field(ge=0, le=4)]
InnerShare = Annotated[float, Field(gt=0, lt=1)]
Order = Annotated[int, Field(ge=1, le=8)]

Denoise = Callable[["Tensor", float], "Tensor"]
Callback = Callable[[SamplerStep], None]


def log_ratio(sigma: float, sigma_next: float) -> float:
    """ln(sigma / sigma_next), infinite for sigma_next = 0."""
    return math.log(sigma / sigma_next) if sigma_next > 0 else math.inf


def derivative(x: Tensor, sigma: float, denoised: Tensor) -> Tensor:
    """dx/dsigma of the probability flow ODE (Karras et al. 2022, equation 3): also the estimate of the unit noise."""
    return (x - denoised) / sigma


def linear_step(x: Tensor, denoised: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Solves the ODE from sigma to sigma_next for an estimate that stays `denoised`: x falls towards it in a line.

    Euler's step, DDIM, and the first order of DPM-Solver++ (Lu et al. 2022b) are all this.
    """
    return denoised + (sigma_next / sigma) * (x - denoised)


def ancestral_step(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """(sigma_down, sigma_up): solve down to sigma_down, then add noise of sigma_up, and the level is sigma_next.

    At eta = 1 sigma_up^2 is the variance of x at sigma_next given x at sigma and the clean latents,
    sigma_next^2 (sigma^2 - sigma_next^2) / sigma^2 (Ho et al. 2020, equation 7, with alpha = 1); at 0 no noise is
    added.
    """
    sigma_up = min(sigma_next, eta * sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2))
    return math.sqrt(sigma_next**2 - sigma_up**2), sigma_up


def geometric_mean(sigma: float, sigma_next: float, r: float = 0.5) -> float:
    """The level at the share r of the way in ln(sigma)."""
    return sigma ** (1 - r) * sigma_next**r


def phi(order: int, h: float) -> float:
    """phi_k of exponential integrators: phi_1(h) = (e^h - 1) / h, phi_k+1(h) = (phi_k(h) - 1 / k!) / h.

    Near 0, where that subtracts nearly equal numbers, by its series sum h^j / (j + k)!.
    """
    if abs(h) < 0.1:
        return sum(h**j / math.factorial(j + order) for j in range(12))
    value = math.expm1(h) / h
    for k in range(1, order):
        value = (value - 1 / math.factorial(k)) / h
    return value


def adams_bashforth_weights(levels: Sequence[float], sigma_next: float) -> list[float]:
    """Integrals from levels[-1] to sigma_next of the Lagrange polynomials through `levels`, exactly.

    The polynomials are in u = (s - levels[-1]) / (sigma_next - levels[-1]), which runs from 0 to 1.
    """
    start, width = levels[-1], sigma_next - levels[-1]
    nodes = [(level - start) / width for level in levels]
    weights = []
    for j, node in enumerate(nodes):
        polynomial = [1.0]  # coefficients, the constant first
        for other in nodes[:j] + nodes[j + 1 :]:
            shifted, scaled = [0.0, *polynomial], [-other * c for c in polynomial] + [0.0]
            polynomial = [(a + b) / (node - other) for a, b in zip(shifted, scaled, strict=True)]
        weights.append(width * sum(c / (power + 1) for power, c in enumerate(polynomial)))
    return weights
