"""DPM-Solver as a method that chooses its own noise levels: `dpm_fast` and `dpm_adaptive` (Lu et al. 2022a).

Both go from sigmas[0] to the last noise level above 0 in steps of lambda = -ln(sigma), whatever lies between, and then,
where the list ends in 0, take the estimate of the clean latents. Imports no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from sampling.solvers.maths import (
    Callback,
    Denoise,
    derivative,
    geometric_mean,
    linear_step,
    phi,
)
from sampling.solvers.renoising import Interval, Reinjection, intervals, renoising_of

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.solvers.noise import NoiseSource

ONE_ITEM_AT_A_TIME = ("dpm_adaptive",)
UNUSED = {"dpm_fast": ("schedule", "rho"), "dpm_adaptive": ("steps", "schedule", "rho")}
# No step of dpm_adaptive is refused that is shorter than this share of the whole way in ln(sigma).
SHORTEST = 1 / 1000
# How far the length of a step may change at once.
LARGEST_CHANGE = 5.0
SAFETY = 0.9


@dataclass(frozen=True)
class SolverStep:
    """A step of DPM-Solver from x.

    Attributes:
        x: after the step.
        x_low: the same by the next lower order, from the same evaluations.
        denoised: the estimate of the clean latents before the step.
    """

    x: Tensor
    x_low: Tensor
    denoised: Tensor


def dpm_solver_step(denoise: Denoise, x: Tensor, sigma: float, sigma_next: float, order: int) -> SolverStep:
    """One step of DPM-Solver-1, -2 or -3 (Lu et al. 2022a, Algorithms 1 and 2): `order` evaluations."""
    h = math.log(sigma / sigma_next)
    denoised = denoise(x, sigma)
    noise = derivative(x, sigma, denoised)
    x_1 = linear_step(x, denoised, sigma, sigma_next)
    if order == 1:
        return SolverStep(x_1, x_1, denoised)
    r1, r2 = (1 / 2, 1.0) if order == 2 else (1 / 3, 2 / 3)
    inner = geometric_mean(sigma, sigma_next, r1)
    u_1 = linear_step(x, denoised, sigma, inner)
    change_1 = derivative(u_1, inner, denoise(u_1, inner)) - noise
    x_2 = x_1 - sigma_next * h * phi(1, h) / (2 * r1) * change_1
    if order == 2:
        return SolverStep(x_2, x_1, denoised)
    outer = geometric_mean(sigma, sigma_next, r2)
    u_2 = linear_step(x, denoised, sigma, outer) - outer * (r2 / r1) * (r2 * h) * phi(2, r2 * h) * change_1
    change_2 = derivative(u_2, outer, denoise(u_2, outer)) - noise
    x_3 = x_1 - sigma_next / r2 * h * phi(2, h) * change_2
    return SolverStep(x_3, x_2, denoised)


def sample_dpm_fast(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
) -> Tensor:
    """DPM-Solver-fast (Lu et al. 2022a, appendix D.3): as many evaluations as `sigmas` has steps, in groups of three.

    The groups are steps of DPM-Solver-3, even in ln(sigma); the last ones are of lower order, where the evaluations do
    not go into three. The callback is told of these steps. Where the last one has a single evaluation, its error
    decides, and the whole is of second order.
    """
    levels = [sigma for sigma in sigmas if sigma > 0]
    orders = fast_orders(len(levels) - 1)
    inner = [geometric_mean(levels[0], levels[-1], k / len(orders)) for k in range(1, len(orders))]
    path = [levels[0], *inner, *levels[1:][-1:], *[0.0] * (len(sigmas) - len(levels))]
    order_from = dict(zip(path, [*orders, 1], strict=False))
    for interval in intervals(path, generator, callback, reinjection):
        if interval.sigma_next == 0:
            x_next = denoised = denoise(x, interval.sigma)
        else:
            step = dpm_solver_step(denoise, x, interval.sigma, interval.sigma_next, order_from[interval.sigma])
            x_next, denoised = step.x, step.denoised
        x = interval.end(x_next, denoised)
    return x


def fast_orders(evaluations: int) -> list[int]:
    """Orders of the steps of DPM-Solver-fast; their sum is `evaluations`."""
    whole, rest = divmod(evaluations, 3)
    if rest:
        return [3] * whole + [rest]
    return [3] * (whole - 1) + [2, 1] if whole else []


def sample_dpm_adaptive(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    rtol: PositiveFloat = 0.05,
    atol: PositiveFloat = 0.0078,
    h_init: PositiveFloat = 0.05,
) -> Tensor:
    """DPM-Solver-23 (Lu et al. 2022a, appendix C): steps of third order, as long as the error allows.

    The error is the root mean square of the difference to second order, in units of max(atol, rtol |x|), where x is
    after the step. (The paper takes the larger of x before and after. At the high noise of the start that lets through
    whole steps down to the data, whose error is many times the data's standard deviation.) With re-injection
    the solver's whole step is tried, and noise undoes its share. The number of steps in `sigmas` does not matter; in
    the callback it is a forecast by the length of the next step.

    Args:
        x: (1, C, ...); one item, since its error decides the steps (see ONE_ITEM_AT_A_TIME).
        rtol, atol: tolerated relative and absolute error of a step.
        h_init: length of the first step tried, in ln(sigma).

    Raises:
        ValueError: more than one item.
    """
    if len(x) != 1:
        raise ValueError(f"dpm_adaptive takes one item at a time, not {len(x)}, since its error decides the steps")
    renoising, to_zero = renoising_of(reinjection), int(sigmas[-1] == 0)
    last = min(level for level in sigmas if level > 0)
    low, high = max(renoising.restart_min, last), min(renoising.restart_max, sigmas[0])
    restarts = renoising.restarts if low < high else 0  # that are still to come
    sigma, h, index, steps = sigmas[0], h_init, 0, 0
    while sigma > last:
        floor = low if restarts and sigma > low else last
        sigma_next = max(sigma * math.exp(-h), floor)
        step = dpm_solver_step(denoise, x, sigma, sigma_next, order=3)
        error = _error(step, rtol, atol)
        # NaN is not refused: no step is short enough to mend it.
        if not error > 1 or h <= SHORTEST * math.log(sigmas[0] / last):
            kept = 1 - renoising.share(sigma)
            sigma_end = floor if sigma_next == floor else geometric_mean(sigma, sigma_next, kept)
            way = math.log(sigma_end / last) + restarts * math.log(high / low)
            steps = _forecast(index, steps, math.ceil(way / (h * _change(error) * kept)) + to_zero)
            restart = high if restarts and sigma_end <= low else None
            x = Interval(index, steps, sigma, sigma_next, sigma_end, generator, callback, restart).end(
                step.x, step.denoised
            )
            sigma, index, restarts = restart or sigma_end, index + 1, restarts - (restart is not None)
        h *= _change(error)
    if to_zero:
        denoised = denoise(x, last)
        x = Interval(index, index + 1, last, 0.0, 0.0, generator, callback).end(denoised, denoised)
    return x


def _error(step: SolverStep, rtol: float, atol: float) -> float:
    """Root mean square of the difference between the two orders, in units of what is tolerated."""
    tolerated = (rtol * step.x_low.abs()).clamp(min=atol)
    return float(((step.x - step.x_low) / tolerated).square().mean().sqrt())


def _change(error: float) -> float:
    """Factor of the next step's length, for a difference that grows with its third power."""
    if math.isnan(error):
        return 1.0
    return min(max(SAFETY * max(error, 1e-9) ** (-1 / 3), 1 / LARGEST_CHANGE), LARGEST_CHANGE)


def _forecast(index: int, before: int, more: int) -> int:
    """How many steps there will be after `index` and `more`; such that (index + 1) / steps does not fall."""
    steps = index + 1 + more
    return min(steps, before * (index + 1) // index) if index else steps
