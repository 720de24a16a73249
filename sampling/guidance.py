"""Guidance: closures that turn a conditional denoiser into the `denoise(x, sigma)` that samplers see."""

from __future__ import annotations

import torch
from torch import Tensor

from dualdiffusion.conditioning import Conditioning, concatenate
from dualdiffusion.diffusion.preconditioning import Denoiser
from sampling.samplers import Denoise


def conditional(denoiser: Denoiser, conditioning: Conditioning, *, position: Tensor | None) -> Denoise:
    """The denoiser under fixed conditions, without guidance."""

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return denoiser(x, torch.full((len(x),), sigma, device=x.device), conditioning, position=position)

    return denoise


def classifier_free(
    denoiser: Denoiser, conditioning: Conditioning, *, cfg_scale: float, position: Tensor | None
) -> Denoise:
    """D_uncond + cfg_scale (D_cond - D_uncond), both passes in one batch (Ho and Salimans 2022).

    Args:
        cfg_scale: 1 is off, and then needs one pass only; 0 is unconditional.
    """
    if cfg_scale == 1 or conditioning.labels is None:
        return conditional(denoiser, conditioning, position=position)
    both = conditional(denoiser, concatenate(conditioning, conditioning.unconditional()), position=position)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        conditioned, unconditioned = both(torch.cat([x, x]), sigma).chunk(2)
        return torch.lerp(unconditioned, conditioned, cfg_scale)

    return denoise
