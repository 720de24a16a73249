"""The edm2 UNet on latents of spectrograms, after Karras et al. 2023 (config G) with changes of our own.

- attention by scaled-dot-product kernels, its inputs modulated by the conditioning vector;
- wider grouped layers around each block's non-linearity;
- label mixes instead of one-hot labels, with a learned embedding for "no label";
- a constant channel, and a channel that tells the log-frequency of each row.

Shapes: B batch, C latent channels, F frequency rows, T time columns.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import Config
from dualdiffusion.module import Module
from dualdiffusion.nn.blocks import Block, BlockSettings
from dualdiffusion.nn.magnitude_preserving import (
    MPConv,
    MPFourier,
    mp_cat,
    mp_silu,
    mp_sum,
    normalize_weights,
    project_gradients,
)

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class UNet(Module):
    """Backbone F(x; c_noise) of the denoiser: (B, C, F, T) -> (B, C, F, T). F and T must divide by 2^(levels - 1)."""

    class Config(Config):
        in_channels: Positive = 4
        """Latent channels."""
        label_dim: Annotated[int, Field(ge=0)] | None = None
        """Games; null: as many as the model's labels when it is created. 0: unconditional."""
        model_channels: Positive = 256
        """Channels of the first level."""
        channel_mult: tuple[Positive, ...] = (1, 2, 3, 4, 5)
        """Channels of each level, as multiples of model_channels."""
        noise_channels: Positive | None = None
        """Fourier features of the noise level; null: model_channels."""
        emb_channels: Positive | None = None
        """Length of the conditioning vector; null: the channels of the widest level."""
        num_layers_per_block: Positive = 2
        attn_levels: tuple[Annotated[int, Field(ge=0)], ...] = (3, 4)
        """Levels with self-attention, 0 the finest."""
        channels_per_head: Positive = 64
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        label_balance: Share = 0.5
        """Share of the label, against the noise level, in the conditioning vector."""
        concat_balance: Share = 0.5
        """Share of the skip connection in the decoder's inputs."""
        res_balance: Share = 0.3
        attn_balance: Share = 0.3
        mlp_multiplier: Positive = 2
        """Width of the layers around each non-linearity, as a multiple."""
        mlp_groups: Positive = 8
        noise_bandwidth: Annotated[float, Field(gt=0)] = 4.0
        """Of the Fourier features: noise levels whose c_noise differ by more than 1 / this are told well apart."""
        activation_checkpointing: bool = False
        """Compute activations again in the backward pass: about a third slower, far less memory."""

        @model_validator(mode="after")
        def _levels(self) -> UNet.Config:
            outside = [level for level in self.attn_levels if level >= len(self.channel_mult)]
            if outside:
                raise ValueError(f"attn_levels: {outside[0]} is not a level; there are {len(self.channel_mult)}")
            return self

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        channels = [config.model_channels * multiple for multiple in config.channel_mult]
        noise_channels = config.noise_channels or config.model_channels
        emb_channels = config.emb_channels or max(channels)
        self.label_dim = config.label_dim or 0

        # Embedding.
        self.noise_fourier = MPFourier(noise_channels, config.noise_bandwidth)
        self.noise_linear = MPConv(noise_channels, emb_channels, ())
        self.label_linear = MPConv(self.label_dim, emb_channels, ()) if self.label_dim else None
        self.no_label_linear = MPConv(1, emb_channels, ()) if self.label_dim else None

        # Topology.
        settings = BlockSettings(
            emb_channels=emb_channels,
            channels_per_head=config.channels_per_head,
            dropout=config.dropout,
            res_balance=config.res_balance,
            attn_balance=config.attn_balance,
            mlp_multiplier=config.mlp_multiplier,
            mlp_groups=config.mlp_groups,
        )
        self.encoder, skips = self._build_encoder(channels, settings)
        self.decoder = self._build_decoder(channels, skips, settings)
        self.out_conv = MPConv(channels[0], config.in_channels, (3, 3))
        self.out_gain = nn.Parameter(torch.zeros(()))

    def _build_encoder(self, channels: list[int], settings: BlockSettings) -> tuple[nn.ModuleDict, list[int]]:
        blocks, width = nn.ModuleDict(), channels[0]
        # Two more inputs: a constant, and the row's log-frequency.
        blocks["in_conv"] = MPConv(self.config.in_channels + 2, width, (3, 3))
        skips = [width]
        for level, level_channels in enumerate(channels):
            attention = level in self.config.attn_levels
            if level > 0:
                blocks[f"level{level}_down"] = Block(width, width, settings, flavor="enc", resample_mode="down")
                skips.append(width)
            for i in range(self.config.num_layers_per_block):
                blocks[f"level{level}_block{i}"] = Block(
                    width, level_channels, settings, flavor="enc", attention=attention
                )
                width = level_channels
                skips.append(width)
        return blocks, skips

    def _build_decoder(self, channels: list[int], skips: list[int], settings: BlockSettings) -> nn.ModuleDict:
        blocks, width, skips = nn.ModuleDict(), channels[-1], list(skips)
        for level, level_channels in reversed(list(enumerate(channels))):
            attention = level in self.config.attn_levels
            if level == len(channels) - 1:
                blocks["mid_block0"] = Block(width, width, settings, flavor="dec", attention=True)
                blocks["mid_block1"] = Block(width, width, settings, flavor="dec")
            else:
                blocks[f"level{level}_up"] = Block(width, width, settings, flavor="dec", resample_mode="up")
            for i in range(self.config.num_layers_per_block + 1):
                blocks[f"level{level}_block{i}"] = Block(
                    width + skips.pop(), level_channels, settings, flavor="dec", attention=attention
                )
                width = level_channels
        return blocks

    @property
    def size_multiple(self) -> int:
        """F and T must be multiples of this."""
        return 2 ** (len(self.config.channel_mult) - 1)

    def embed(self, c_noise: Tensor, conditioning: Conditioning) -> Tensor:
        """The conditioning vector of each block, (B, emb_channels).

        A dropped label is replaced by the learned embedding of "no label". Both have unit magnitude, so dropping keeps
        the expected magnitude, and the unconditional model is trained as truly as every game.
        """
        emb = self.noise_linear(self.noise_fourier(c_noise))
        if self.label_linear is not None:
            labels = conditioning.labels
            if labels is None:
                labels = emb.new_zeros(len(emb), self.label_dim)
                kept = emb.new_zeros(len(emb))
            else:
                kept = emb.new_ones(len(emb)) if conditioning.labels_kept is None else conditioning.labels_kept
            label_emb = self.label_linear(labels.to(emb.dtype) * math.sqrt(self.label_dim))
            no_label_emb = self.no_label_linear(emb.new_ones(1, 1))
            emb = mp_sum(emb, torch.where(kept[:, None] > 0, label_emb, no_label_emb), self.config.label_balance)
        return mp_silu(emb)

    def forward(
        self, x: Tensor, c_noise: Tensor, *, conditioning: Conditioning, position: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            x: (B, C, F, T), unit variance.
            c_noise: (B,), the noise level as the preconditioning encodes it.
            position: (F,) log-frequency of each row, zero mean and unit variance; None is all 0.

        Returns:
            (B, C, F, T).
        """
        emb = self.embed(c_noise.to(x.dtype), conditioning)
        ones = torch.ones_like(x[:, :1])
        rows = torch.zeros_like(ones) if position is None else ones * position.to(x.dtype)[:, None]
        x = torch.cat([x, ones, rows], dim=1)

        skips = []
        for name, block in self.encoder.items():
            x = block(x) if name == "in_conv" else self._run(block, x, emb)
            skips.append(x)
        for name, block in self.decoder.items():
            if "level" in name and "block" in name:
                x = mp_cat(x, skips.pop(), self.config.concat_balance)
            x = self._run(block, x, emb)
        return self.out_conv(x, gain=self.out_gain)

    def _run(self, block: nn.Module, x: Tensor, emb: Tensor) -> Tensor:
        if self.config.activation_checkpointing and self.training:
            return checkpoint(block, x, emb, use_reentrant=False)
        return block(x, emb)

    def before_update(self) -> None:
        project_gradients(self)

    def after_update(self) -> None:
        normalize_weights(self)
