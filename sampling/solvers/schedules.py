"""Noise schedules: functions of the number of steps that return falling noise levels, the last one 0.

All share one signature, `schedule(steps, *, sigma_min, sigma_max, rho, error=None)`, and return `steps` levels,
strictly falling from sigma_max to sigma_min (a single one is sigma_max), and a final 0:
    steps: 1 or more.
    rho: the exponent of those that have one; None for the usual one, 7 for `edm`, and 1 for `polyexponential`.
    error: the model's expected error at a list of noise levels, weighted as in training, so that the best linear guess
        has 1 (the exponential of the learned log-variance).

Each function listed in `SCHEDULES` is a schedule that a request may name; those in `NEED_ERROR` refuse to work without
`error`, and all but those in `TAKE_RHO` do not look at `rho`. Imports no torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Protocol

ErrorOf = Callable[[list[float]], list[float]]
"""The model's error at each of some noise levels."""

EDM_RHO = 7.0
# Of `learned`: the share of the steps that is even in ln(sigma), and the points at which the model is asked.
EVEN_SHARE = 0.2
POINTS = 256
# Of `vp`: Song et al. 2021, as Karras et al. 2022 give it in table 1.
BETA_MIN, BETA_D = 0.1, 19.9
# Neighbouring levels differ by this factor at least, so that no step has the length 0.
LEAST_STEP = 1e-9


class Schedule(Protocol):
    """The signature of every schedule."""

    __name__: str

    def __call__(
        self, steps: int, *, sigma_min: float, sigma_max: float, rho: float | None = None, error: ErrorOf | None = None
    ) -> list[float]: ...


def edm(
    steps: int, *, sigma_min: float, sigma_max: float, rho: float | None = None, error: ErrorOf | None = None
) -> list[float]:
    """Evenly spaced in sigma^(1/rho) (Karras et al. 2022, equation 5)."""
    rho = rho or EDM_RHO
    return _even_in(lambda s: s ** (1 / rho), lambda u: u**rho, steps, sigma_min, sigma_max)


def exponential(
    steps: int, *, sigma_min: float, sigma_max: float, rho: float | None = None, error: ErrorOf | None = None
) -> list[float]:
    """Evenly spaced in ln(sigma): every step lowers the noise by the same factor. `rho` is not used."""
    return _even_in(math.log, math.exp, steps, sigma_min, sigma_max)


def polyexponential(
    steps: int, *, sigma_min: float, sigma_max: float, rho: float | None = None, error: ErrorOf | None = None
) -> list[float]:
    """ln(sigma) falls as (1 - i / (steps - 1))^rho: at rho = 1 `exponential`, above it crowded at low noise."""
    low, width, rho = math.log(sigma_min), math.log(sigma_max / sigma_min), rho or 1.0
    return _falling([math.exp(low + width * (1 - t) ** rho) for t in _ramp(steps)], sigma_min, sigma_max)


def linear(
    steps: int, *, sigma_min: float, sigma_max: float, rho: float | None = None, error: ErrorOf | None = None
) -> list[float]:
    """Evenly spaced in sigma. `rho` is not used."""
    return _even_in(lambda s: s, lambda u: u, steps, sigma_min, sigma_max)


def cosine(
    steps: int, *, sigma_min: float, sigma_max: float, rho: float | None = None, error: ErrorOf | None = None
) -> list[float]:
    """Evenly spaced in atan(sigma): Nichol and Dhariwal 2021, whose signal is cos(pi t / 2) and noise sin(pi t / 2).

    For Gaussian data of unit variance it is the best one for Euler's method; see `learned`. `rho` is not used.
    """
    return _even_in(math.atan, math.tan, steps, sigma_min, sigma_max)


def flow(
    steps: int, *, sigma_min: float, sigma_max: float, rho: float | None = None, error: ErrorOf | None = None
) -> list[float]:
    """Evenly spaced in sigma / (1 + sigma), the time of rectified flow (Liu et al. 2022). `rho` is not used.

    At most of its levels there is much noise: `sigma_max` may be far above 80, and wants to be for many steps.
    """
    return _even_in(lambda s: s / (1 + s), lambda t: t / (1 - t), steps, sigma_min, sigma_max)


def vp(
    steps: int, *, sigma_min: float, sigma_max: float, rho: float | None = None, error: ErrorOf | None = None
) -> list[float]:
    """Evenly spaced in the time of the variance preserving process: sigma^2 = exp(beta_d t^2 / 2 + beta_min t) - 1.

    Song et al. 2021, in the terms of Karras et al. 2022, table 1; from the times that have sigma_max and sigma_min.
    `rho` is not used.
    """

    def time(sigma: float) -> float:
        # The positive root, in the form that does not subtract nearly equal numbers.
        c = math.log1p(sigma**2)
        return 2 * c / (BETA_MIN + math.sqrt(BETA_MIN**2 + 2 * BETA_D * c))

    def level(t: float) -> float:
        return math.sqrt(math.expm1(BETA_D * t**2 / 2 + BETA_MIN * t))

    return _even_in(time, level, steps, sigma_min, sigma_max)


def learned(
    steps: int, *, sigma_min: float, sigma_max: float, rho: float | None = None, error: ErrorOf | None = None
) -> list[float]:
    """More steps where the model errs more: the density of levels over ln(sigma) is proportional to

        sqrt(e(sigma)) sigma / (1 + sigma^2),

    plus an even share of EVEN_SHARE. This makes the error that each step adds to the result the same. An Euler step of
    length h in ln(sigma) is off by h^2 / 2 times the speed at which the estimate D moves, |dD / dln(sigma)| (from
    d^2x / dsigma^2 = -(dD / dsigma) / sigma). What can still move is what D does not know yet, its mean squared error
    m = e sigma^2 / (1 + sigma^2), for data of unit variance and the error e in the weighting of training. For Gaussian
    data the speed is m / sqrt(1 + sigma^2), and until the end the deviation shrinks by 1 / sqrt(1 + sigma^2). So a
    step's share of the final error is h^2 g / 2, with g = e sigma^2 / (1 + sigma^2)^2. Steps of equal share, which are
    also those of the least sum, have h proportional to 1 / sqrt(g).

    For e = 1 the density is that of `cosine`. The even share is for what the Gaussian formula does not see: detail far
    below the data's standard deviation, and solvers of higher order, which want no step to be much longer than others.

    `rho` is not used. Errors that are not finite count as 1, the best linear guess.

    Raises:
        ValueError: there is no `error`.
    """
    if error is None:
        raise ValueError("the schedule 'learned' needs the model's error at each noise level")
    low, width = math.log(sigma_min), math.log(sigma_max / sigma_min)
    grid = [low + width * i / POINTS for i in range(POINTS + 1)]
    errors = error([math.exp(u) for u in grid])
    # sigma / (1 + sigma^2) is 1 / (2 cosh(ln(sigma))).
    density = [math.sqrt(_usable(e)) / math.cosh(u) for u, e in zip(grid, errors, strict=True)]
    areas = [(a + b) / 2 for a, b in itertools.pairwise(density)]
    total = sum(areas)
    shares = [(1 - EVEN_SHARE) * area / total + EVEN_SHARE / POINTS for area in areas]
    below = [0.0, *itertools.accumulate(shares)]
    return _falling([math.exp(_invert(below, grid, (1 - t) * below[-1])) for t in _ramp(steps)], sigma_min, sigma_max)


def _usable(error: float) -> float:
    return min(max(error, 1e-6), 1e6) if math.isfinite(error) else 1.0


def _invert(values: list[float], points: list[float], value: float) -> float:
    """Where a rising table of `values` at `points` has `value`, by linear interpolation."""
    right = next((i for i in range(1, len(values)) if values[i] >= value), len(values) - 1)
    share = (value - values[right - 1]) / (values[right] - values[right - 1])
    return points[right - 1] + share * (points[right] - points[right - 1])


def _ramp(steps: int) -> list[float]:
    """`steps` numbers from 0 to 1."""
    return [i / max(steps - 1, 1) for i in range(steps)]


def _even_in(
    forward: Callable[[float], float],
    back: Callable[[float], float],
    steps: int,
    sigma_min: float,
    sigma_max: float,
) -> list[float]:
    """Levels evenly spaced in forward(sigma), whose inverse is `back`."""
    low, high = forward(sigma_min), forward(sigma_max)
    return _falling([back(high + t * (low - high)) for t in _ramp(steps)], sigma_min, sigma_max)


def _falling(levels: list[float], sigma_min: float, sigma_max: float) -> list[float]:
    """The levels with exact ends and a final 0, moved apart where rounding would let them coincide."""
    steps = len(levels)
    gap = 1 + min(LEAST_STEP, (sigma_max / sigma_min - 1) / (2 * steps))
    for i in range(steps):
        lowest, highest = sigma_min * gap ** (steps - 1 - i), sigma_max / gap**i
        levels[i] = min(max(levels[i], lowest), highest)
    for i in range(steps - 2, 0, -1):
        levels[i] = max(levels[i], levels[i + 1] * gap)
    for i in range(1, steps - 1):
        levels[i] = min(levels[i], levels[i - 1] / gap)
    return [*([sigma_max, *levels[1:-1], sigma_min] if steps > 1 else [sigma_max]), 0.0]


SCHEDULES: dict[str, Schedule] = {
    schedule.__name__: schedule for schedule in (edm, exponential, polyexponential, linear, cosine, flow, vp, learned)
}
NEED_ERROR: frozenset[str] = frozenset({"learned"})
TAKE_RHO: frozenset[str] = frozenset({"edm", "polyexponential"})
