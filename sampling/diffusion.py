"""A denoiser together with how it is sampled, as one module for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import validate
from dualdiffusion.randomness import SeededNoise
from sampling.foreign import DenoiserLike
from sampling.guidance import guided
from sampling.request import Request
from sampling.solvers.options import keywords
from sampling.solvers.samplers import SAMPLERS


class Diffusion(nn.Module):
    """In training mode one step of denoising, in evaluation mode all of a schedule:

        diffusion = Diffusion(denoiser, sampler="heun", schedule="edm", steps=30)
        estimate = diffusion.train()(x, sigma)             # D(x; sigma), with its gradients
        samples = diffusion.eval()(noise, seeds=[1, 2])    # from unit noise (2, C, *space) to samples

    Args:
        denoiser: a `Denoiser`, or what `sampling.foreign` makes of another network; where it is a module, its
            parameters are this one's.
        asked: `sampler`, `schedule`, `steps`, `sigma_min`, `sigma_max`, `rho`, `cfg_scale`, `guidance` or
            `sampler_options`, as in a request.

    Raises:
        UserError: there is no such sampler, schedule or option.
    """

    def __init__(self, denoiser: DenoiserLike, **asked: Any) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.request = validate(Request, {"games": {"any": 1.0}, "cfg_scale": 1.0, **asked}, "Diffusion")

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | None = None,
        conditioning: Conditioning | None = None,
        *,
        position: Tensor | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Tensor:
        """A denoised batch or, in evaluation mode, samples; (B, C, *space).

        Args:
            x: noisy data; in evaluation mode unit noise.
            sigma: (B,), in training mode alone: there it is needed.
            conditioning: what the network is told; None: nothing.
            position: what the network is told about rows, or None.
            seeds: one for each item, of the noise that samplers add; None: 0, 1, ...

        Raises:
            ValueError: sigma is missing, or stands where the schedule says it.
        """
        told = conditioning or Conditioning()
        if self.training:
            if sigma is None:
                raise ValueError("sigma: needed in training mode; call eval() for samples")
            return self.denoiser(x, sigma, told, position=position)
        if sigma is not None:
            raise ValueError("sigma: follows from the schedule in evaluation mode; call train() for one estimate")
        return self._sample(x, told, position, range(len(x)) if seeds is None else seeds)

    @torch.no_grad()
    def _sample(self, noise: Tensor, told: Conditioning, position: Tensor | None, seeds: Sequence[int]) -> Tensor:
        request = self.request
        sigmas = request.noise_levels(self._errors(noise))
        denoise = guided(self.denoiser, told, cfg_scale=request.cfg_scale, position=position, guidance=request.guidance)
        options = keywords(request.sampler_options)
        return SAMPLERS[request.sampler](denoise, noise * sigmas[0], sigmas, generator=SeededNoise(seeds), **options)

    def _errors(self, like: Tensor) -> Any:
        return lambda sigmas: self.denoiser.log_variance(torch.tensor(sigmas, device=like.device)).exp().tolist()
