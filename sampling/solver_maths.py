"""What samplers share: the steps they take, noise re-injection, and the formulas of the papers.

Everything is in terms of sigma: the data are not scaled (alpha = 1), so the papers' half log-SNR is
lambda = -ln(sigma), and h = ln(sigma / sigma_next) is the length of a step in it. Imports no torch: tensors are used
by operators.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.noise import NoiseSource


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
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Reinjection = Annotated[float, Field(ge=0, le=0.95)]
NoiseFactor = Annotated[float, Field(ge=0, le=10)]
Eta = Annotated[float, Field(ge=0, le=4)]
InnerShare = Annotated[float, Field(gt=0, lt=1)]
Order = Annotated[int, Field(ge=1, le=8)]

Denoise = Callable[["Tensor", float], "Tensor"]
Callback = Callable[[SamplerStep], None]


@dataclass(frozen=True)
class Leg:
    """One step of a sampler: the solver goes from `sigma` down to `sigma_next`, fresh noise back up to `sigma_end`.

    Without re-injection `sigma_end` is `sigma_next`.
    """

    index: int
    steps: int
    sigma: float
    sigma_next: float
    sigma_end: float
    generator: NoiseSource
    callback: Callback | None

    @property
    def h(self) -> float:
        """ln(sigma / sigma_next); infinite for the step to sigma 0."""
        return log_ratio(self.sigma, self.sigma_next)

    @property
    def net_h(self) -> float:
        """ln(sigma / sigma_end), the part of h that re-injection leaves.

        Multistep methods extrapolate the last change of the estimate over it, not over h: part of that change came
        from the fresh noise. For Gaussian data the mean change per ln(sigma), given x, is h / net_h times what it is
        along the ODE (the estimate's variance must grow by as much, while noise makes it forget), so this is without
        bias; it also keeps the weight of the change, and so the method, stable for any re-injection.
        """
        return log_ratio(self.sigma, self.sigma_end)

    def noise(self, x: Tensor, sigma: float | None = None) -> Tensor:
        """Unit noise like x for this step of an SDE, or for its part down to `sigma`.

        Intervals of different steps do not overlap, also where the solver goes below the level at which the next one
        begins.
        """
        lowest = self.sigma_end if sigma is None else max(sigma, self.sigma_end)
        return self.generator.noise(x, self.sigma, lowest)

    def end(self, x: Tensor, denoised: Tensor) -> Tensor:
        """Adds the noise that leads from sigma_next back to sigma_end, and tells the callback: the next step's x."""
        if self.sigma_end > self.sigma_next:
            x = x + math.sqrt(self.sigma_end**2 - self.sigma_next**2) * self.generator.randn_like(x)
        if self.callback:
            self.callback(SamplerStep(self.index, self.steps, self.sigma, x, denoised))
        return x


def legs(
    sigmas: Sequence[float], generator: NoiseSource, callback: Callback | None, reinjection: float
) -> Iterator[Leg]:
    """The steps from each noise level to the next, with noise re-injection.

    Re-injection: each step goes further down than its goal, and fresh noise undoes the share `reinjection` of it,

        ln(sigma / sigma_down) = ln(sigma / sigma_next) / (1 - reinjection),
        x = x_down + sqrt(sigma_next^2 - sigma_down^2) noise.

    Adding noise is the forward process itself, so whatever distribution the solver has at sigma_down is right at
    sigma_next. The model passes over the same levels again and again, and corrects there what it had got wrong. As the
    overshoot is in proportion to the step, more steps make it smaller: the solver's error vanishes, and in the limit
    this is a stochastic differential equation. An overshoot by a fixed factor would keep the error of a step of that
    size, however many steps there were. At 0.5 the levels are those of the ancestral step with eta = 1.

    The solver never goes below the last level above 0, where a model was not asked to work. So the steps to that
    level and to 0 have no re-injection.

    Raises:
        ValueError: reinjection is not in [0, 1).
    """
    if not 0 <= reinjection < 1:
        raise ValueError(f"reinjection: must be at least 0 and below 1, not {reinjection}")
    lowest = min((sigma for sigma in sigmas if sigma > 0), default=0.0)
    for index, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        down = overshoot(sigma, sigma_next, reinjection, lowest)
        yield Leg(index, len(sigmas) - 1, sigma, down, sigma_next, generator, callback)


def overshoot(sigma: float, sigma_next: float, reinjection: float, lowest: float) -> float:
    """sigma_down of a step with re-injection (see `legs`), not below `lowest`."""
    if reinjection == 0 or sigma_next <= lowest:
        return sigma_next
    return max(sigma * (sigma_next / sigma) ** (1 / (1 - reinjection)), lowest)


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
