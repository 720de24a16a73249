"""Magnitude-preserving convolutional VAE on spectrograms, in the style of edm2, with a fixed latent noise level.

Shapes: B batch, C spectrogram channels, Z latent channels, F frequency, T time; latents are (B, Z, F / 8, T / 8).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import Config
from dualdiffusion.module import Module
from dualdiffusion.nn.blocks import Block, BlockSettings
from dualdiffusion.nn.magnitude_preserving import MPConv, mp_silu, normalize, normalize_weights, project_gradients
from dualdiffusion.randomness import ItemRandom

Positive = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class Posterior:
    """What the encoder says of a clip: a normal distribution of fixed width around `mode`, (B, Z, F / 8, T / 8)."""

    mode: Tensor
    noise_std: float

    def sample(self, generator: ItemRandom) -> Tensor:
        """The mode plus noise of the fixed level."""
        return self.mode + self.noise_std * generator.randn_like(self.mode)

    def kl(self) -> Tensor:
        """Divergence of each sample's channel statistics from the unit normal, in nats, averaged over channels: (B,).

        Only the mean and variance of each channel over a clip are held to 0 and 1. A divergence per element would ask
        every element to forget the clip.
        """
        mean = self.mode.float().mean(dim=(2, 3))
        variance = self.mode.float().var(dim=(2, 3)) + self.noise_std**2
        return 0.5 * (mean**2 + variance - 1 - variance.log()).mean(dim=1)


class VAE(Module):
    """Spectrogram (B, C, F, T) <-> latents; F and T must be multiples of `downsampling`.

    The buffers `latents_mean` and `latents_std` are the statistics of each latent channel over the dataset, measured
    after training: `normalize_latents` makes the latents that diffusion is trained on.
    """

    class Config(Config):
        in_channels: Positive = 2
        """Spectrogram channels."""
        latent_channels: Positive = 4
        label_dim: Annotated[int, Field(ge=0)] | None = 0
        """Games for class conditioning; null: as many as the model's labels when it is created. 0: told no game. A game
        it never saw is encoded with the learned embedding of "no label"."""
        model_channels: Positive = 96
        """Channels of the finest level."""
        channel_mult: tuple[Positive, ...] = (1, 2, 3, 5)
        """Channels of each level, as multiples of model_channels; each level but the first halves both axes."""
        emb_channels: Positive | None = None
        """Length of the conditioning vector; null: the channels of the widest level."""
        num_layers_per_block: Positive = 3
        target_snr: Annotated[float, Field(gt=0)] = 32.0
        """Standard deviation of the latents over that of their noise."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        res_balance: Annotated[float, Field(ge=0, le=1)] = 0.3
        mlp_multiplier: Positive = 1
        mlp_groups: Positive = 1

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        channels = [config.model_channels * multiple for multiple in config.channel_mult]
        self.label_dim = config.label_dim or 0
        emb_channels = (config.emb_channels or channels[-1]) if self.label_dim else 0
        settings = BlockSettings(
            emb_channels=emb_channels,
            dropout=config.dropout,
            res_balance=config.res_balance,
            mlp_multiplier=config.mlp_multiplier,
            mlp_groups=config.mlp_groups,
        )
        self.label_linear = MPConv(self.label_dim, emb_channels, ()) if self.label_dim else None
        self.no_label_linear = MPConv(1, emb_channels, ()) if self.label_dim else None

        # Two more inputs: a constant, and the row's log-frequency.
        self.encoder = nn.ModuleDict({"in_conv": MPConv(config.in_channels + 2, channels[0], (3, 3))})
        width = channels[0]
        for level, level_channels in enumerate(channels):
            if level > 0:
                self.encoder[f"level{level}_down"] = Block(width, width, settings, flavor="enc", resample_mode="down")
            for i in range(config.num_layers_per_block):
                self.encoder[f"level{level}_block{i}"] = Block(width, level_channels, settings, flavor="enc")
                width = level_channels
        self.latents_out = MPConv(width, config.latent_channels, (3, 3))
        self.latents_out_gain = nn.Parameter(torch.ones(()))

        self.latents_in = MPConv(config.latent_channels + 2, width, (3, 3))
        self.decoder = nn.ModuleDict()
        for level, level_channels in reversed(list(enumerate(channels))):
            if level == len(channels) - 1:
                self.decoder["mid_block0"] = Block(width, width, settings, flavor="dec")
                self.decoder["mid_block1"] = Block(width, width, settings, flavor="dec")
            else:
                self.decoder[f"level{level}_up"] = Block(width, width, settings, flavor="dec", resample_mode="up")
            for i in range(config.num_layers_per_block + 1):
                self.decoder[f"level{level}_block{i}"] = Block(width, level_channels, settings, flavor="dec")
                width = level_channels
        self.out_conv = MPConv(width, config.in_channels, (3, 3))
        self.out_gain = nn.Parameter(torch.ones(()))

        # ln of the expected reconstruction loss: weighs it against the other terms in training, as u(sigma) does for
        # the denoiser (Karras et al. 2023, equation 14).
        self.loss_logvar = nn.Parameter(torch.zeros(()))
        self.register_buffer("latents_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latents_std", torch.ones(config.latent_channels))

    @property
    def downsampling(self) -> int:
        """Spectrogram rows and columns to one latent row and column."""
        return 2 ** (len(self.config.channel_mult) - 1)

    @property
    def noise_std(self) -> float:
        """Of the latents' fixed noise, such that unit-variance latents, noise included, have the target SNR."""
        return 1 / math.sqrt(1 + self.config.target_snr**2)

    def latent_shape(self, sample_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(Z, F / 8, T / 8) of the latents of a spectrogram (C, F, T)."""
        _, rows, columns = sample_shape
        return self.config.latent_channels, rows // self.downsampling, columns // self.downsampling

    def latent_position(self, position: Tensor) -> Tensor:
        """Log-frequency of each latent row, from that of each spectrogram row: (F,) -> (F / 8,)."""
        return position.view(-1, self.downsampling).mean(dim=1)

    def encode(self, x: Tensor, *, position: Tensor, conditioning: Conditioning) -> Posterior:
        """
        Args:
            x: (B, C, F, T), about unit variance.
            position: (F,) log-frequency of each row, zero mean and unit variance.
            conditioning: the games; ignored by a VAE without class conditioning.
        """
        emb = self._embed(x, conditioning)
        x = _with_position(x, position)
        for name, block in self.encoder.items():
            x = block(x) if name == "in_conv" else block(x, emb)
        return Posterior(self.latents_out(mp_silu(x), gain=self.latents_out_gain), self.noise_std)

    def decode(self, latents: Tensor, *, position: Tensor, conditioning: Conditioning) -> Tensor:
        """Latents as `encode` gives them, not normalised (B, Z, F / 8, T / 8) -> (B, C, F, T)."""
        emb = self._embed(latents, conditioning)
        x = self.latents_in(_with_position(latents, self.latent_position(position)))
        for block in self.decoder.values():
            x = block(x, emb)
        return self.out_conv(mp_silu(normalize(x, dim=(1,))), gain=self.out_gain)

    def normalize_latents(self, latents: Tensor) -> Tensor:
        """Zero mean and unit variance for each channel over the dataset."""
        return (latents - self.latents_mean[:, None, None]) / self.latents_std[:, None, None]

    def denormalize_latents(self, latents: Tensor) -> Tensor:
        """Undoes `normalize_latents`."""
        return latents * self.latents_std[:, None, None] + self.latents_mean[:, None, None]

    def _embed(self, x: Tensor, conditioning: Conditioning) -> Tensor | None:
        if self.label_linear is None:
            return None
        no_label = self.no_label_linear(x.new_ones(1, 1))
        if conditioning.labels is None:
            return mp_silu(no_label.expand(len(x), -1))
        emb = self.label_linear(conditioning.labels.to(x.dtype) * math.sqrt(self.label_dim))
        if conditioning.labels_kept is not None:
            emb = torch.where(conditioning.labels_kept[:, None] > 0, emb, no_label)
        return mp_silu(emb)

    def enable_compile(self) -> None:
        # Training calls encode and decode, not forward: their blocks are compiled one by one.
        torch._dynamo.config.suppress_errors = True
        for block in self.modules():
            if isinstance(block, Block):
                block.compile()

    def before_update(self) -> None:
        project_gradients(self)

    def after_update(self) -> None:
        normalize_weights(self)


def _with_position(x: Tensor, position: Tensor) -> Tensor:
    ones = torch.ones_like(x[:, :1])
    return torch.cat([x, ones, ones * position.to(x.dtype)[:, None]], dim=1)
