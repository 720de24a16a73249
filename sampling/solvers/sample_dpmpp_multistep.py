"""DPM-Solver++ (Lu et al. 2022b) over the estimates of earlier steps.

Imports no torch: tensors are used by operators.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeFloat

from sampling.solvers.maths import Callback, Denoise, Eta, NoiseFactor, log_ratio, phi
from sampling.solvers.renoising import Interval, Reinjection, intervals, renoising_of

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.solvers.noise import NoiseSource


def sample_dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022b, Algorithm 2): one evaluation a step, second order."""
    return sample_dpmpp_2m_sde(
        denoise, x, sigmas, generator=generator, callback=callback, reinjection=reinjection, eta=0.0
    )


def sample_dpmpp_2m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    eta: Eta = 1.0,
    s_noise: NoiseFactor = 1.0,
    solver_type: Literal["midpoint", "heun"] = "midpoint",
) -> Tensor:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022b, equation 18): one evaluation a step.

    Args:
        solver_type: how the change of the estimate is weighed, `midpoint` or `heun`; both are of second order.
    """
    if solver_type not in ("midpoint", "heun"):
        raise ValueError(f"solver_type: must be midpoint or heun, not {solver_type}")
    previous = None  # the last estimate and its noise level
    for interval in intervals(sigmas, generator, callback, reinjection):
        denoised = denoise(x, interval.sigma)
        if interval.sigma_next == 0:
            x = denoised
        else:
            h = interval.h * (1 + eta)
            x = math.exp(-h) * x - math.expm1(-h) * denoised
            if previous is not None and not interval.starts:
                change = (denoised - previous[0]) * (interval.net_h / log_ratio(previous[1], interval.sigma))
                x = x + change * (-math.expm1(-h) / 2 if solver_type == "midpoint" else h * phi(2, -h))
            x = _sde_noise(x, interval, eta, s_noise)
        previous = denoised, interval.sigma
        x = interval.end(x, denoised)
    return x


def sample_dpmpp_3m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    eta: Eta = 1.0,
    s_noise: NoiseFactor = 1.0,
    curvature: NonNegativeFloat = 1.0,
) -> Tensor:
    """SDE-DPM-Solver++ with the parabola through the last three estimates: one evaluation a step.

    With re-injection or restarts it is dpmpp_2m_sde.

    Args:
        curvature: weight of the parabola's second difference. The published implementations have 1, and so second
            order; by the Taylor series it is 2, which makes the steps after the first two of third order.
    """
    if not renoising_of(
        reinjection
    ).is_off:  # between the estimates lies fresh noise, and their curvature would be that of the noise
        return sample_dpmpp_2m_sde(
            denoise,
            x,
            sigmas,
            generator=generator,
            callback=callback,
            reinjection=reinjection,
            eta=eta,
            s_noise=s_noise,
        )
    history: list[tuple[Tensor, float]] = []  # estimates and their noise levels, the last one first
    for interval in intervals(sigmas, generator, callback, reinjection):
        denoised = denoise(x, interval.sigma)
        if interval.sigma_next == 0:
            x = denoised
        else:
            h = interval.h * (1 + eta)
            x = math.exp(-h) * x - math.expm1(-h) * denoised
            first, second = _differences([(denoised, interval.sigma), *history], interval.h)
            x = x + h * phi(2, -h) * first + h * phi(3, -h) * curvature * second
            x = _sde_noise(x, interval, eta, s_noise)
        history = [(denoised, interval.sigma), *history][:2]
        x = interval.end(x, denoised)
    return x


def _differences(history: list[tuple[Tensor, float]], h: float) -> tuple[Tensor | float, Tensor | float]:
    """Slope and curvature of the estimates over lambda, at the last one, in units of h; 0 if unknown."""
    if len(history) == 1:
        return 0.0, 0.0
    (now, sigma_0), (before, sigma_1), *earlier = history
    r0 = log_ratio(sigma_1, sigma_0) / h
    last = (now - before) / r0
    if not earlier:
        return last, 0.0
    r1 = log_ratio(earlier[0][1], sigma_1) / h
    second = (last - (before - earlier[0][0]) / r1) / (r0 + r1)
    return last + r0 * second, second


def _sde_noise(x: Tensor, interval: Interval, eta: float, s_noise: float) -> Tensor:
    """Adds what a step of the reverse SDE adds, of variance sigma_next^2 (1 - e^(-2 eta h))."""
    if eta == 0:
        return x
    return x + interval.sigma_next * math.sqrt(-math.expm1(-2 * eta * interval.h)) * s_noise * interval.noise(x)
