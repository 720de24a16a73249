"""Going back up: the steps that samplers take, with noise re-injection and restarts.

Adding fresh noise is the forward process itself: whatever distribution a solver has at a noise level is right at any
higher one once noise has been added. So a sampler may pass over the same levels again and again, and the model corrects
there what it had got wrong. Imports no torch: tensors are used by operators.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from dualdiffusion.config import Config
from sampling.solvers.maths import Callback, SamplerStep, log_ratio

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.solvers.noise import NoiseSource

Share = Annotated[float, Field(ge=0, le=0.95)]
Sigma = Annotated[float, Field(ge=0, le=1000)]


class Renoising(Config):
    """Where a sampler goes back up, and how far; the options that all samplers share. The default is nowhere."""

    reinjection: Share = 0.0
    """Share of each step's way down that fresh noise undoes; see `intervals`."""
    reinjection_min: Sigma = 0.0
    """There is re-injection in steps that begin above this noise level,"""
    reinjection_max: Sigma = 1000.0
    """and not above this one."""
    restarts: Annotated[int, Field(ge=0, le=100)] = 0
    """How often the noise levels from restart_max to restart_min are gone through again; see `passes`."""
    restart_min: Sigma = 0.1
    """Lower end of what is gone through again."""
    restart_max: Sigma = 1.0
    """Upper end of it."""

    def share(self, sigma: float) -> float:
        """The share of a step that begins at `sigma` which fresh noise undoes."""
        return self.reinjection if self.reinjection_min < sigma <= self.reinjection_max else 0.0

    @property
    def is_off(self) -> bool:
        """Whether there is neither re-injection nor a restart."""
        return self.reinjection == 0 and self.restarts == 0


Reinjection = float | Renoising
"""What samplers take: a number is re-injection of this share at all noise levels, in [0, 1)."""


def renoising_of(reinjection: Reinjection) -> Renoising:
    """A number as `Renoising`.

    Raises:
        ValueError: it is not in [0, 1).
    """
    if isinstance(reinjection, Renoising):
        return reinjection
    if not 0 <= reinjection < 1:
        raise ValueError(f"reinjection: must be at least 0 and below 1, not {reinjection}")
    return Renoising.model_construct(reinjection=reinjection)


@dataclass(frozen=True)
class Interval:
    """One step of a sampler: the solver goes from `sigma` down to `sigma_next`, fresh noise back up to `sigma_end`, and
    before a restart on to `restart`.

    Without re-injection `sigma_end` is `sigma_next`.

    Attributes:
        starts: the estimates before this step tell nothing: it is the first one, or the first after a restart.
        again: its noise levels have been gone through before.
    """

    index: int
    steps: int
    sigma: float
    sigma_next: float
    sigma_end: float
    generator: NoiseSource
    callback: Callback | None
    restart: float | None = None
    starts: bool = False
    again: bool = False

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
        begins. What is gone through again has noise of its own.
        """
        if self.again:
            return self.generator.randn_like(x)
        lowest = self.sigma_end if sigma is None else max(sigma, self.sigma_end)
        return self.generator.noise(x, self.sigma, lowest)

    def end(self, x: Tensor, denoised: Tensor) -> Tensor:
        """Adds the noise that leads back up from sigma_next, and tells the callback: the next step's x."""
        up = self.sigma_end if self.restart is None else self.restart
        if up > self.sigma_next:
            x = x + math.sqrt(up**2 - self.sigma_next**2) * self.generator.randn_like(x)
        if self.callback:
            self.callback(SamplerStep(self.index, self.steps, self.sigma, x, denoised))
        return x


def intervals(
    sigmas: Sequence[float], generator: NoiseSource, callback: Callback | None, reinjection: Reinjection
) -> Iterator[Interval]:
    """The steps from each noise level to the next, with noise re-injection and restarts.

    Re-injection: each step goes further down than its goal, and fresh noise undoes the share `reinjection` of it,

        ln(sigma / sigma_down) = ln(sigma / sigma_next) / (1 - reinjection),
        x = x_down + sqrt(sigma_next^2 - sigma_down^2) noise.

    As the overshoot is in proportion to the step, more steps make it smaller: the solver's error vanishes, and in the
    limit this is a stochastic differential equation. An overshoot by a fixed factor would keep the error of a step of
    that size, however many steps there were. At 0.5 the levels are those of the ancestral step with eta = 1.

    The solver never goes below the last level above 0, where a model was not asked to work. So the steps to that
    level and to 0 have no re-injection.

    Raises:
        ValueError: reinjection is not in [0, 1).
    """
    renoising = renoising_of(reinjection)
    lowest = min((sigma for sigma in sigmas if sigma > 0), default=0.0)
    walks = passes(sigmas, renoising)
    steps, index = sum(last - first for first, last in walks), 0
    for number, (first, last) in enumerate(walks):
        for at in range(first, last):
            sigma, sigma_next = sigmas[at], sigmas[at + 1]
            yield Interval(
                index,
                steps,
                sigma,
                overshoot(sigma, sigma_next, renoising.share(sigma), lowest),
                sigma_next,
                generator,
                callback,
                restart=sigmas[walks[number + 1][0]] if at + 1 == last and number + 1 < len(walks) else None,
                starts=at == first,
                again=number > 0 and at < walks[number - 1][1],
            )
            index += 1


def passes(sigmas: Sequence[float], renoising: Renoising) -> list[tuple[int, int]]:
    """The stretches of `sigmas` to go down in turn, each as the indices of its first and last level.

    Restart sampling (Xu et al. 2023, algorithm 1): where the solver has come down to restart_min, noise leads back up
    to restart_max, `restarts` times. Both ends are taken as the nearest of the given levels inside, and each pass takes
    the levels between as steps; so `restarts` passes over n steps cost n evaluations each of a solver of first order.
    """
    end = len(sigmas) - 1
    inside = [
        at for at, sigma in enumerate(sigmas) if max(renoising.restart_min, 1e-12) <= sigma <= renoising.restart_max
    ]
    if renoising.restarts == 0 or len(inside) < 2:
        return [(0, end)]
    first, last = inside[0], inside[-1]
    return [(0, last), *[(first, last)] * (renoising.restarts - 1), (first, end)]


def overshoot(sigma: float, sigma_next: float, reinjection: float, lowest: float) -> float:
    """sigma_down of a step with re-injection (see `intervals`), not below `lowest`."""
    if reinjection == 0 or sigma_next <= lowest:
        return sigma_next
    return max(sigma * (sigma_next / sigma) ** (1 / (1 - reinjection)), lowest)
