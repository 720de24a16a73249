"""The denoiser: preconditioning around any backbone, and the learned uncertainty of each noise level.

Shared by training and sampling, and the only place where networks are scaled by sigma.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dualdiffusion.component import Component, part_of
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import Config
from dualdiffusion.contracts import ConditionerConfig
from dualdiffusion.diffusion.predictors import EDM, Predictor, PredictorPart
from dualdiffusion.model.module import Module
from dualdiffusion.nn.magnitude_preserving import MPConv, MPFourier


class Denoiser(Module):
    """D(x; sigma): an estimate of the clean latents at their own scale. Karras et al. 2022, equation 7. The
    predictor decides what the network itself has to say: the noise, the clean latents or something between."""

    class Config(Config):
        """Settings of a denoiser."""

        backbone: part_of("dualdiffusion.models")
        """The network F; any file of dualdiffusion/models that takes (x, c_noise, *, conditioning, position)."""
        sigma_data: Annotated[float, Field(gt=0)] = 1.0
        """Standard deviation of the clean latents."""
        predictor: PredictorPart = Component(EDM, EDM.Config())
        """What the network is asked for, and how it is told the noise level; a class of predictors.py."""
        logvar_channels: Annotated[int, Field(gt=0, multiple_of=2)] = 128
        """Fourier features of the learned log-variance."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.backbone = config.backbone.build()
        self.predictor: Predictor = config.predictor.build()
        self.uncertainty_features = MPFourier(config.logvar_channels, bandwidth=1.0)
        self.uncertainty = MPConv(config.logvar_channels, 1, ())

    @property
    def label_dim(self) -> int:
        """Games that the backbone is told; 0: unconditional."""
        return self.backbone.label_dim

    @property
    def told(self) -> Mapping[str, ConditionerConfig]:
        """What may be told beside games, by id: the configs of the backbone's conditioners."""
        return getattr(self.backbone, "told", {})

    @property
    def in_channels(self) -> int:
        """C, latent channels."""
        return self.backbone.in_channels

    @property
    def size_multiple(self) -> int:
        """Columns must be a multiple of this."""
        return self.backbone.size_multiple

    @property
    def row_multiple(self) -> int:
        """Rows must be a multiple of this: the same, unless the backbone says otherwise."""
        return getattr(self.backbone, "row_multiple", self.backbone.size_multiple)

    @property
    def network(self) -> Component:
        """The backbone as a part of a config."""
        return self.config.backbone

    @property
    def rows(self) -> int | None:
        """How many rows the backbone takes, where it takes no other number."""
        return getattr(self.backbone, "rows", None)

    @property
    def sigma_data(self) -> float:
        """Standard deviation of the clean latents."""
        return self.config.sigma_data

    def forward(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, *, position: Tensor | None = None
    ) -> Tensor:
        """Estimates the clean latents.

        Args:
            x: (B, C, *space), clean latents plus noise of standard deviation sigma.
            sigma: (B,).
            position: what the backbone is told about rows, or None.

        Returns:
            The estimate of the clean latents, (B, C, *space), float32.
        """
        x = x.float()
        sigma_data = self.config.sigma_data
        scale = self.predictor.scalings(per_item(sigma.float(), x), sigma_data)
        noise = self.predictor.noise(sigma, sigma_data)
        output = self.backbone(scale.input * x, noise, conditioning=conditioning, position=position)
        return scale.skip * x + scale.out * output.float()

    @staticmethod
    def c_noise(sigma: Tensor) -> Tensor:
        """The noise level as the log-variance sees it, whatever the network is told: ln(sigma) / 4."""
        return sigma.float().log() / 4

    def log_variance(self, sigma: Tensor) -> Tensor:
        """u(sigma), the logarithm of the expected loss at each noise level (Karras et al. 2023, equation 15).

        Args:
            sigma: (B,).

        Returns:
            (B,), float32 also under autocast: the loss is divided by exp(u), and a bfloat16 u is too coarse for that.
        """
        # The meta device has no autocast of its own.
        device = "cpu" if sigma.device.type == "meta" else sigma.device.type
        with torch.autocast(device, enabled=False):
            return self.uncertainty(self.uncertainty_features(self.c_noise(sigma)))[:, 0]

    def before_update(self) -> None:
        """The backbone's; the log-variance has no part that keeps magnitudes."""
        self.backbone.before_update()

    def after_update(self) -> None:
        """The backbone's, as for `before_update`."""
        self.backbone.after_update()


def edm_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """Loss weight that makes every noise level count alike at initialisation (Karras et al. 2022, table 1)."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def per_item(sigma: Tensor, x: Tensor) -> Tensor:
    """`sigma` (B,) shaped to multiply x (B, C, *space)."""
    return sigma.reshape(-1, *[1] * (x.ndim - 1))


def add_noise(x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x + sigma * noise, with sigma (B,)."""
    return x + per_item(sigma, x) * noise
