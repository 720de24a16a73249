"""Euler's method, which is DDIM, and with ancestral steps, which is DDPM.

Imports no torch: tensors are used by operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampling.solvers.maths import Callback, Denoise, Eta, NoiseFactor, ancestral_step, linear_step
from sampling.solvers.renoising import Reinjection, intervals

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.solvers.noise import NoiseSource


def sample_euler(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
) -> Tensor:
    """Euler's method on the probability flow ODE: one evaluation a step, first order. The same as DDIM."""
    for interval in intervals(sigmas, generator, callback, reinjection):
        denoised = denoise(x, interval.sigma)
        x = interval.end(linear_step(x, denoised, interval.sigma, interval.sigma_next), denoised)
    return x


sample_ddim = sample_euler


def sample_euler_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    eta: Eta = 1.0,
    s_noise: NoiseFactor = 1.0,
) -> Tensor:
    """Euler's method with ancestral steps: one evaluation a step. At eta = 1 the same as DDPM."""
    for interval in intervals(sigmas, generator, callback, reinjection):
        sigma_down, sigma_up = ancestral_step(interval.sigma, interval.sigma_next, eta)
        denoised = denoise(x, interval.sigma)
        x = linear_step(x, denoised, interval.sigma, sigma_down)
        if sigma_up > 0:
            x = x + sigma_up * s_noise * interval.noise(x)
        x = interval.end(x, denoised)
    return x
