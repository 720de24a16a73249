"""The peer of the sampling benchmark: the same solvers as diffusers' schedulers, stepped over the same denoiser.

diffusers asks for the noise (epsilon) or for EDM's raw network output instead of the estimate of the clean latents;
both are computed back from the estimate, exactly but for rounding.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from sampling.solvers.samplers import SAMPLERS, Denoise

MISSING = "diffusers is not installed: pip install -r tests/benchmarks/requirements.txt"
PAIRS = ("euler", "heun", "dpmpp_2m", "dpmpp_2m_sde")


class SeededNoise:
    """Noise of one stream for the whole batch, as diffusers draws it."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def randn_like(self, x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=self.generator).to(x.device, x.dtype)

    def noise(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        return self.randn_like(x)


def scheduler_for(name: str, steps: int, sigma_min: float, sigma_max: float, rho: float) -> Any:
    """diffusers' scheduler that should do what our sampler `name` does.

    Raises:
        ImportError: diffusers is missing.
    """
    import diffusers

    logging.getLogger("diffusers").setLevel(logging.ERROR)
    levels = {"sigma_min": sigma_min, "sigma_max": sigma_max, "rho": rho, "sigma_data": 1.0}
    if name == "euler":
        scheduler = diffusers.EDMEulerScheduler(**levels)
    elif name == "heun":
        scheduler = diffusers.HeunDiscreteScheduler()
    else:
        kind = "sde-dpmsolver++" if name.endswith("sde") else "dpmsolver++"
        scheduler = diffusers.EDMDPMSolverMultistepScheduler(**levels, algorithm_type=kind)
    scheduler.set_timesteps(steps)
    if name == "heun":  # it derives its noise levels from a discrete schedule; the solver itself takes any
        sigmas = scheduler_for("euler", steps, sigma_min, sigma_max, rho).sigmas
        scheduler.sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
    scheduler.set_begin_index(0)
    return scheduler


def peer_samples(scheduler: Any, denoise: Denoise, x: Tensor, seed: int) -> Tensor:
    """Runs a scheduler down to noise level 0."""
    generator = torch.Generator().manual_seed(seed)
    by_epsilon = type(scheduler).__name__.startswith("Heun")
    options = {} if by_epsilon else {"generator": generator}
    for sigma, timestep in zip(scheduler.sigmas[:-1].tolist(), scheduler.timesteps, strict=True):
        denoised = denoise(x, sigma)
        if by_epsilon:
            output = (x - denoised) / sigma
        else:
            c_skip, c_out = 1 / (sigma**2 + 1), sigma / (sigma**2 + 1) ** 0.5
            output = (denoised - c_skip * x) / c_out
        x = scheduler.step(output, timestep, x, **options).prev_sample
    return x


@torch.inference_mode()
def differences(
    denoise: Denoise, unit_noise: Tensor, *, steps: int, sigma_min: float, sigma_max: float, rho: float, seed: int = 0
) -> dict[str, float]:
    """Sampler -> largest absolute difference between our samples and the peer's, from the same noise.

    Raises:
        ImportError: diffusers is missing.
    """
    found = {}
    for name in PAIRS:
        scheduler = scheduler_for(name, steps, sigma_min, sigma_max, rho)
        sigmas = list(dict.fromkeys(scheduler.sigmas.tolist()))
        x = unit_noise * sigmas[0]
        ours = SAMPLERS[name](denoise, x, sigmas, generator=SeededNoise(seed), callback=None)
        found[name] = float((ours - peer_samples(scheduler, denoise, x, seed)).abs().max())
    return found
