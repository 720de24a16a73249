"""DPM-Solver++ (Lu et al. 2022b) with an inner evaluation in each step.

Imports no torch: tensors are used by operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampling.solvers.maths import (
    Callback,
    Denoise,
    Eta,
    InnerShare,
    NoiseFactor,
    ancestral_step,
    geometric_mean,
    linear_step,
)
from sampling.solvers.renoising import Reinjection, intervals

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.solvers.noise import NoiseSource


def sample_dpmpp_2s_ancestral(
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
    """DPM-Solver++(2S) (Lu et al. 2022b, Algorithm 1, r = 1/2) with ancestral steps: two evaluations a step."""
    for interval in intervals(sigmas, generator, callback, reinjection):
        sigma_down, sigma_up = ancestral_step(interval.sigma, interval.sigma_next, eta)
        estimate = denoised = denoise(x, interval.sigma)
        if sigma_down > 0:
            sigma_mid = geometric_mean(interval.sigma, sigma_down)
            estimate = denoise(linear_step(x, denoised, interval.sigma, sigma_mid), sigma_mid)
        x = linear_step(x, estimate, interval.sigma, sigma_down)
        if sigma_up > 0:
            x = x + sigma_up * s_noise * interval.noise(x)
        x = interval.end(x, denoised)
    return x


def sample_dpmpp_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    eta: Eta = 1.0,
    s_noise: NoiseFactor = 1.0,
    r: InnerShare = 0.5,
) -> Tensor:
    """DPM-Solver++ for the SDE, one step at a time, with an evaluation at the share r of it: two evaluations a step.

    Both the step to the inner level and the whole one are ancestral.
    """
    for interval in intervals(sigmas, generator, callback, reinjection):
        estimate = denoised = denoise(x, interval.sigma)
        if interval.sigma_next > 0:
            sigma_mid = geometric_mean(interval.sigma, interval.sigma_next, r)
            sigma_down, sigma_up = ancestral_step(interval.sigma, sigma_mid, eta)
            x_mid = linear_step(x, denoised, interval.sigma, sigma_down)
            if sigma_up > 0:
                x_mid = x_mid + sigma_up * s_noise * interval.noise(x, sigma_mid)
            estimate = denoised + (denoise(x_mid, sigma_mid) - denoised) / (2 * r)
        sigma_down, sigma_up = ancestral_step(interval.sigma, interval.sigma_next, eta)
        x = linear_step(x, estimate, interval.sigma, sigma_down)
        if sigma_up > 0:
            x = x + sigma_up * s_noise * interval.noise(x)
        x = interval.end(x, denoised)
    return x
