"""The denoising loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.diffusion.preconditioning import Denoiser, add_noise, edm_weight


@dataclass(frozen=True)
class DenoisingLoss:
    """Loss of each sample, all of shape (B,)."""

    weighted: Tensor
    """EDM-weighted squared error: about 1 for an untrained network, at any noise level."""
    learned: Tensor
    """What is trained on: weighted / exp(u) + u, u the learned log-variance."""
    log_variance: Tensor
    """u(sigma)."""

    @property
    def variance_detached(self) -> Tensor:
        """The weighted error itself, and beside it a loss that fits u(sigma) without any effect on the network."""
        return self.weighted + self.weighted.detach() * torch.exp(-self.log_variance) + self.log_variance


def denoising_loss(
    denoiser: Denoiser,
    latents: Tensor,
    noise: Tensor,
    sigma: Tensor,
    conditioning: Conditioning,
    *,
    position: Tensor | None = None,
) -> DenoisingLoss:
    """How far the denoiser is from the clean latents (Karras et al. 2023, equation 14 with 15).

    Args:
        latents: (B, C, *space), of standard deviation sigma_data.
        noise: unit normal, same shape.
        sigma: (B,).
        position: what the backbone is told about rows, or None.
    """
    denoised = denoiser(add_noise(latents, noise, sigma), sigma, conditioning, position=position)
    error = (denoised - latents).square().flatten(1).mean(dim=1)
    weighted = edm_weight(sigma, denoiser.config.sigma_data) * error
    # Minimised over u, weighted / exp(u) + u is smallest at u = ln(weighted): each level is divided by what it costs.
    log_variance = denoiser.log_variance(sigma)
    return DenoisingLoss(weighted, weighted * torch.exp(-log_variance) + log_variance, log_variance)
