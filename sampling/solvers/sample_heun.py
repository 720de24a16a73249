"""Heun's method, the second-order sampler of EDM (Karras et al. 2022).

Imports no torch: tensors are used by operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import NonNegativeFloat

from sampling.solvers.maths import Callback, Denoise, NoiseFactor, derivative
from sampling.solvers.renoising import Reinjection, intervals

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.solvers.noise import NoiseSource


def sample_heun(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    s_churn: NonNegativeFloat = 0.0,
    s_min: NonNegativeFloat = 0.0,
    s_max: NonNegativeFloat = float("inf"),
    s_noise: NoiseFactor = 1.0,
) -> Tensor:
    """Heun's method with optional churn (Karras et al. 2022, Algorithm 2): two evaluations a step, second order.

    The step to sigma 0 is an Euler step, since the correction would divide by zero.

        s_churn: how much noise is added again before each step; 0 is none, and no step gets more than 41 % of its own.
        s_min: noise level below which none is added.
        s_max: noise level above which none is added.
    """
    for interval in intervals(sigmas, generator, callback, reinjection):
        gamma = min(s_churn / interval.steps, 2**0.5 - 1) if s_min <= interval.sigma <= s_max else 0.0
        sigma_hat = interval.sigma * (1 + gamma)
        if gamma > 0:
            x = x + (sigma_hat**2 - interval.sigma**2) ** 0.5 * s_noise * generator.randn_like(x)
        denoised = denoise(x, sigma_hat)
        slope = derivative(x, sigma_hat, denoised)
        x_euler = x + (interval.sigma_next - sigma_hat) * slope
        if interval.sigma_next > 0:
            slope_next = derivative(x_euler, interval.sigma_next, denoise(x_euler, interval.sigma_next))
            x = x + (interval.sigma_next - sigma_hat) * (slope + slope_next) / 2
        else:
            x = x_euler
        x = interval.end(x, denoised)
    return x
