"""The denoising loss, and how the noise levels are weighted in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.diffusion.preconditioning import Denoiser, add_noise, edm_weight

Weighting = Literal["edm", "soft_min_snr", "snr", "output"]
Distance = Callable[[Tensor, Tensor], Tensor]
"""The loss of what an estimate is off by, (B, C, *space), and the weight (B,) whose root brings that to the scale of an
untrained network's error at each noise level: (B,)."""


@dataclass(frozen=True)
class DenoisingLoss:
    """Loss of each sample, all of shape (B,)."""

    weighted: Tensor
    """EDM-weighted squared error of the estimate: about 1 for an untrained network that predicts as EDM does, at any
    noise level. What validation compares, whatever is trained on."""
    learned: Tensor
    """What is trained on: factor (objective / exp(u) + u), u the learned log-variance."""
    log_variance: Tensor
    """u(sigma)."""
    objective: Tensor | None = None
    """The EDM-weighted loss that training minimises; None: `weighted`."""
    factor: Tensor | None = None
    """How much each sample counts beside that; None: all alike."""

    @property
    def variance_detached(self) -> Tensor:
        """The weighted loss itself, and beside it a loss that fits u(sigma) without any effect on the network."""
        objective = self.weighted if self.objective is None else self.objective
        trained = objective if self.factor is None else self.factor * objective
        return trained + objective.detach() * torch.exp(-self.log_variance) + self.log_variance


def squared(difference: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean square, a `Distance`: (B, C, *space) and (B,) -> (B,)."""
    return weight * difference.square().flatten(1).mean(dim=1)


def denoising_loss(
    denoiser: Denoiser,
    latents: Tensor,
    noise: Tensor,
    sigma: Tensor,
    conditioning: Conditioning,
    *,
    position: Tensor | None = None,
    weighting: Weighting = "edm",
    distance: Distance = squared,
    counted: Tensor | None = None,
) -> DenoisingLoss:
    """How far the denoiser is from the clean latents (Karras et al. 2023, equation 14 with 15).

    Args:
        latents: (B, C, *space), of standard deviation sigma_data.
        noise: unit normal, same shape.
        sigma: (B,).
        position: what the backbone is told about rows, or None.
        weighting: of the noise levels; see `weight_beside_edm`.
        distance: what is trained on; `weighted` of the result is the squared one in any case.
        counted: how much each number counts, of the latents' shape or one that broadcasts to it, with mean 1 in each
            sample; None: all alike. Of latents that the network is told, there is nothing to learn.
    """
    denoised = denoiser(add_noise(latents, noise, sigma), sigma, conditioning, position=position)
    difference, weight = denoised - latents, edm_weight(sigma, denoiser.config.sigma_data)
    if counted is not None:
        difference = difference * counted.sqrt()
    objective = distance(difference, weight)
    weighted = objective if distance is squared else squared(difference.detach(), weight)
    # Minimised over u, objective / exp(u) + u is smallest at u = ln(objective): each level is divided by what it costs.
    log_variance = denoiser.log_variance(sigma)
    learned = objective * torch.exp(-log_variance) + log_variance
    # Outside of that sum: a factor on the objective alone would be divided away by exp(u), which would learn it too.
    factor = weight_beside_edm(weighting, denoiser, sigma)
    if factor is not None:
        learned = factor * learned
    return DenoisingLoss(weighted, learned, log_variance, objective, factor)


def weight_beside_edm(weighting: Weighting, denoiser: Denoiser, sigma: Tensor) -> Tensor | None:
    """What a weighting of the squared error of D has beside EDM's, (B,), or None where that is 1 everywhere.

    With s the noise level and d the data's standard deviation:

        edm           1: every noise level counts alike for an untrained network (Karras et al. 2022, table 1);
        soft_min_snr  (s d)^2 / (s^2 + d^2)^2: the middle counts most, without the edge of Min-SNR (Hang et al. 2023);
        snr           d^2 / (s^2 + d^2): the weight of D's error is 1 / s^2, that of plainly predicted noise;
        output        the plain squared error of what the network itself predicts, whatever that is.
    """
    data = denoiser.config.sigma_data
    if weighting == "soft_min_snr":
        return (sigma * data / (sigma**2 + data**2)) ** 2
    if weighting == "snr":
        return data**2 / (sigma**2 + data**2)
    if weighting == "output":
        return denoiser.predictor.output_weight(sigma, data) / edm_weight(sigma, data)
    return None
