"""Magnitude-preserving convolutional VAE on spectrograms, in the style of edm2, with a fixed latent noise level.

Shapes: B batch, C spectrogram channels, Z latent channels, F frequency, T time; latents are (B, Z, F / 8, T / 8).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning, settled_label_dim
from dualdiffusion.config import Config
from dualdiffusion.model.module import Module
from dualdiffusion.nn.blocks import Block, BlockSettings, DecoderBlock, EncoderBlock, LabelEmbedding
from dualdiffusion.nn.magnitude_preserving import (
    MPConv,
    double,
    halve,
    mp_silu,
    normalize_weights,
    project_gradients,
    unit_magnitude,
)
from dualdiffusion.randomness import SeededNoise


@dataclass(frozen=True)
class Posterior:
    """What the encoder says of a clip: a normal distribution of fixed width around `mode`, (B, Z, F / 8, T / 8)."""

    mode: Tensor
    noise_std: float

    def sample(self, generator: SeededNoise) -> Tensor:
        """The mode plus noise of the fixed level."""
        return self.mode + self.noise_std * generator.randn_like(self.mode)

    def kl(self) -> Tensor:
        """Divergence of each sample's channel statistics from the unit normal, in nats, averaged over channels: (B,).

        Only the mean and variance of each channel over a clip are held to 0 and 1. A divergence per element would ask
        every element to forget the clip.
        """
        mean = self.mode.float().mean(dim=(2, 3))
        # Of the sum of the mode and independent noise.
        variance = self.mode.float().var(dim=(2, 3)) + self.noise_std**2
        return 0.5 * (mean**2 + variance - 1 - variance.log()).mean(dim=1)


class VAE(Module):
    """Spectrogram (B, C, F, T) <-> latents; F and T must be multiples of `downsampling`.

    The buffers `latents_mean` and `latents_std` are the statistics of each latent channel over the dataset, measured
    after training: `normalize_latents` makes the latents that diffusion is trained on.
    """

    class Config(Config):
        """Settings of a VAE."""

        in_channels: PositiveInt | None = None
        """Spectrogram channels; null: those of the format that it is trained with (2 without one)."""
        latent_channels: PositiveInt = 4
        label_dim: Annotated[int, Field(ge=0)] | None = 0
        """Games for class conditioning; null: as many as the model's labels when it is created. 0: told no game. A game
        it never saw is encoded with the embedding of "no label", which is trained by dropping labels."""
        model_channels: PositiveInt = 96
        """Channels of the finest level."""
        channel_mult: tuple[PositiveInt, ...] = (1, 2, 3, 5)
        """Channels of each level, as multiples of model_channels; each level but the first halves both axes."""
        patch: Literal[1, 2, 4, 8] = 1
        """The finest level works on squares of so many rows and columns, folded into channels: another way of halving
        both axes, without levels of few channels, which CPUs and GPUs compute at a small part of their rate."""
        emb_channels: PositiveInt | None = None
        """Length of the conditioning vector; null: the channels of the widest level."""
        num_layers_per_block: PositiveInt = 3
        target_snr: Annotated[float, Field(gt=0)] = 32.0
        """Standard deviation of the latents over that of their noise."""
        latent_supersampling: Literal[1, 2, 4] = 1
        """The encoder makes latents at so many times their resolution on both axes, and averages them: they move more
        evenly when the sound moves by less than a latent. 1: off."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        res_balance: Annotated[float, Field(ge=0, le=1)] = 0.3
        mlp_multiplier: PositiveInt = 1
        mlp_groups: PositiveInt = 1

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.label_dim = settled_label_dim(config.label_dim)
        widths = [config.model_channels * multiple for multiple in config.channel_mult]
        most = self.downsampling // config.patch
        if config.latent_supersampling > most:
            raise ValueError(f"latent_supersampling: at most {most}, by which the encoder's levels downsample")
        emb_channels = (config.emb_channels or widths[-1]) if self.label_dim else 0
        settings = BlockSettings(
            emb_channels=emb_channels,
            dropout=config.dropout,
            res_balance=config.res_balance,
            mlp_multiplier=config.mlp_multiplier,
            mlp_groups=config.mlp_groups,
        )
        self.label_embedding = LabelEmbedding(self.label_dim, emb_channels) if self.label_dim else None

        # Two more inputs, here and of the decoder: a constant, which stands for the biases that magnitude-preserving
        # layers lack, and the row's log-frequency, as a convolution cannot tell the rows apart.
        folded = self.in_channels * config.patch**2
        self.input = MPConv(folded + 2, widths[0], (3, 3))
        self.encoder, width = nn.ModuleDict(), widths[0]
        for level, level_width in enumerate(widths):
            if level > 0:
                self.encoder[f"level{level}_halved"] = EncoderBlock(width, width, settings)
            for i in range(config.num_layers_per_block):
                self.encoder[f"level{level}_block{i}"] = EncoderBlock(width, level_width, settings)
                width = level_width
        self.to_latents = MPConv(width, config.latent_channels, (3, 3))
        self.to_latents_gain = nn.Parameter(torch.ones(()))

        self.from_latents = MPConv(config.latent_channels + 2, width, (3, 3))
        self.decoder = nn.ModuleDict({f"middle{i}": DecoderBlock(width, width, settings) for i in range(2)})
        for level, level_width in reversed(list(enumerate(widths))):
            if level < len(widths) - 1:
                self.decoder[f"level{level}_doubled"] = DecoderBlock(width, width, settings)
            for i in range(config.num_layers_per_block + 1):
                self.decoder[f"level{level}_block{i}"] = DecoderBlock(width, level_width, settings)
                width = level_width
        self.output = MPConv(width, folded, (3, 3))
        self.output_gain = nn.Parameter(torch.ones(()))

        # ln of the expected reconstruction loss: weighs it against the other terms in training, as u(sigma) does for
        # the denoiser (Karras et al. 2023, equation 14).
        self.loss_logvar = nn.Parameter(torch.zeros(()))
        self.register_buffer("latents_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latents_std", torch.ones(config.latent_channels))

    @property
    def in_channels(self) -> int:
        """C, spectrogram channels."""
        return self.config.in_channels or 2

    @property
    def latent_channels(self) -> int:
        """Z."""
        return self.config.latent_channels

    @property
    def target_snr(self) -> float:
        """Standard deviation of the latents over that of their noise, which training aims at."""
        return self.config.target_snr

    @property
    def downsampling(self) -> int:
        """Spectrogram rows and columns to one latent row and column."""
        return self.config.patch * 2 ** (len(self.config.channel_mult) - 1)

    @property
    def context_columns(self) -> int:
        """How far the encoder's convolutions see: of 3 x 3, two to a block, each as wide as its level is coarse."""
        blocks, patch = self.config.num_layers_per_block, self.config.patch
        frames = patch + self.downsampling  # the first and the last one
        for level in range(len(self.config.channel_mult)):
            frames += 2 * (blocks + (level > 0)) * patch * 2**level
        return -(-frames // self.downsampling)

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
        return _coarser(position, self.downsampling)

    def encode(self, x: Tensor, *, position: Tensor, conditioning: Conditioning) -> Posterior:
        """
        Args:
            x: (B, C, F, T), about unit variance.
            position: (F,) log-frequency of each row, zero mean and unit variance.
            conditioning: the games; ignored by a VAE without class conditioning.
        """
        emb = self._embed(x, conditioning)
        supersampling = self.config.latent_supersampling
        finest = x.shape[-1] // self.downsampling * supersampling  # columns; with fewer the encoder would be too coarse
        x = F.pixel_unshuffle(x, self.config.patch)
        x = self.input(_with_position(x, _coarser(position, self.config.patch)))
        for name, block in self.encoder.items():
            x = block(halve(x) if name.endswith("halved") and x.shape[-1] > finest else x, emb)
        mode = self.to_latents(mp_silu(x), gain=self.to_latents_gain)
        return Posterior(F.avg_pool2d(mode, supersampling) if supersampling > 1 else mode, self.noise_std)

    def decode(self, latents: Tensor, *, position: Tensor, conditioning: Conditioning) -> Tensor:
        """Latents as `encode` gives them, not normalised (B, Z, F / 8, T / 8) -> (B, C, F, T)."""
        emb = self._embed(latents, conditioning)
        x = self.from_latents(_with_position(latents, self.latent_position(position)))
        for name, block in self.decoder.items():
            x = block(double(x) if name.endswith("doubled") else x, emb)
        # Magnitudes drift over the decoder's blocks; the gain is to mean the same at any depth.
        x = self.output(mp_silu(unit_magnitude(x, 1)), gain=self.output_gain)
        return F.pixel_shuffle(x, self.config.patch)

    def normalize_latents(self, latents: Tensor) -> Tensor:
        """Zero mean and unit variance for each channel over the dataset."""
        return (latents - self.latents_mean[:, None, None]) / self.latents_std[:, None, None]

    def denormalize_latents(self, latents: Tensor) -> Tensor:
        """Undoes `normalize_latents`."""
        return latents * self.latents_std[:, None, None] + self.latents_mean[:, None, None]

    def freeze_encoder(self) -> None:
        """Leaves everything that latents depend on out of training."""
        parts = [self.input, self.encoder, self.to_latents, self.label_embedding]
        for parameter in itertools.chain(*(part.parameters() for part in parts if part), [self.to_latents_gain]):
            parameter.requires_grad_(False)

    def _embed(self, x: Tensor, conditioning: Conditioning) -> Tensor | None:
        return None if self.label_embedding is None else mp_silu(self.label_embedding(conditioning, x))

    def _compile(self) -> None:
        # Training calls encode and decode, not forward: their blocks are compiled one by one.
        for block in self.modules():
            if isinstance(block, Block):
                block.compile()

    def before_update(self) -> None:
        """Keeps the filters' lengths out of the update: see `project_gradients`."""
        project_gradients(self)

    def after_update(self) -> None:
        """Brings the filters back to unit variance: see `normalize_weights`."""
        normalize_weights(self)


def _coarser(position: Tensor, rows: int) -> Tensor:
    """Log-frequency of each group of so many rows: (F,) -> (F / rows,)."""
    return position.view(-1, rows).mean(dim=1)


def _with_position(x: Tensor, position: Tensor) -> Tensor:
    ones = torch.ones_like(x[:, :1])
    return torch.cat([x, ones, ones * position.to(x.dtype)[:, None]], dim=1)
