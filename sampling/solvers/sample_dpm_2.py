"""The midpoint method in ln(sigma), DPM-Solver-2, alone and with ancestral steps.

Imports no torch: tensors are used by operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampling.solvers.maths import (
    Callback,
    Denoise,
    Eta,
    NoiseFactor,
    ancestral_step,
    derivative,
    geometric_mean,
    linear_step,
)
from sampling.solvers.renoising import Reinjection, intervals

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.solvers.noise import NoiseSource


def sample_dpm_2(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
) -> Tensor:
    """The midpoint method, with the midpoint in ln(sigma): DPM-Solver-2 (Lu et al. 2022a, Algorithm 1).

    Two evaluations a step, second order; the step to sigma 0 is an Euler step.
    """
    return sample_dpm_2_ancestral(
        denoise, x, sigmas, generator=generator, callback=callback, reinjection=reinjection, eta=0.0
    )


def sample_dpm_2_ancestral(
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
    """DPM-Solver-2 (see `sample_dpm_2`) with ancestral steps: two evaluations a step."""
    for interval in intervals(sigmas, generator, callback, reinjection):
        sigma_down, sigma_up = ancestral_step(interval.sigma, interval.sigma_next, eta)
        denoised = denoise(x, interval.sigma)
        if sigma_down > 0:
            sigma_mid = geometric_mean(interval.sigma, sigma_down)
            x_mid = linear_step(x, denoised, interval.sigma, sigma_mid)
            x = x + (sigma_down - interval.sigma) * derivative(x_mid, sigma_mid, denoise(x_mid, sigma_mid))
        else:
            x = linear_step(x, denoised, interval.sigma, sigma_down)
        if sigma_up > 0:
            x = x + sigma_up * s_noise * interval.noise(x)
        x = interval.end(x, denoised)
    return x
