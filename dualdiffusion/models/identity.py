"""No autoencoder, in an autoencoder's place: diffusion works on the spectrogram itself.

Shapes: B batch, C spectrogram channels, F rows, T frames, p patch; latents are (B, C p^2, F / p, T / p).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import Config
from dualdiffusion.model.module import Module
from dualdiffusion.models.vae_edm2 import Posterior


class Identity(Module):
    """Spectrogram (B, C, F, T) <-> latents that hold the same numbers, at most in another order: nothing is lost.

    It has nothing to learn: of a model that has it, the UNet alone is trained.
    """

    class Config(Config):
        """Settings of an Identity."""

        channels: PositiveInt | None = None
        """Spectrogram channels; null: those of the format that it is made with (2 without one)."""
        patch: Literal[1, 2, 4, 8] = 1
        """Squares of so many rows and columns are folded into channels, which makes the UNet's work as much smaller."""

    config: Config
    label_dim = 0

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("latents_mean", torch.zeros(self.latent_channels))
        self.register_buffer("latents_std", torch.ones(self.latent_channels))
        self.register_buffer("loss_logvar", torch.zeros(()), persistent=False)

    @property
    def in_channels(self) -> int:
        """C, spectrogram channels."""
        return self.config.channels or 2

    @property
    def latent_channels(self) -> int:
        """C p^2."""
        return self.in_channels * self.config.patch**2

    @property
    def downsampling(self) -> int:
        """p."""
        return self.config.patch

    @property
    def context_columns(self) -> int:
        """0."""
        return 0

    @property
    def target_snr(self) -> float:
        """Infinite: its latents have no noise."""
        return math.inf

    @property
    def noise_std(self) -> float:
        """0."""
        return 0.0

    def latent_shape(self, sample_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(C p^2, F / p, T / p) of a spectrogram (C, F, T)."""
        _, rows, columns = sample_shape
        return self.latent_channels, rows // self.downsampling, columns // self.downsampling

    def latent_position(self, position: Tensor) -> Tensor:
        """Log-frequency of each latent row, from that of each spectrogram row: (F,) -> (F / p,)."""
        return position.view(-1, self.downsampling).mean(dim=1)

    def encode(self, x: Tensor, *, position: Tensor, conditioning: Conditioning) -> Posterior:
        """(B, C, F, T) -> the only latents that it may have; `position` and `conditioning` change nothing."""
        return Posterior(F.pixel_unshuffle(x, self.downsampling), self.noise_std)

    def decode(self, latents: Tensor, *, position: Tensor, conditioning: Conditioning) -> Tensor:
        """Undoes `encode`, bit for bit."""
        return F.pixel_shuffle(latents, self.downsampling)

    def normalize_latents(self, latents: Tensor) -> Tensor:
        """Zero mean and unit variance for each channel over the dataset."""
        return (latents - self.latents_mean[:, None, None]) / self.latents_std[:, None, None]

    def denormalize_latents(self, latents: Tensor) -> Tensor:
        """Undoes `normalize_latents`."""
        return latents * self.latents_std[:, None, None] + self.latents_mean[:, None, None]

    def freeze_encoder(self) -> None:
        """Nothing is to be frozen."""
