"""A U-Net in one dimension, for raw audio whose samples are folded into channels, and for other rows of numbers.

Residual blocks with group normalisation, whose second half is scaled and shifted by what tells the noise level
(Dhariwal and Nichol 2021, section 3); strided convolutions between levels, skip connections from every block, and at
the coarse levels attention (Vaswani et al. 2017) that knows how far apart two columns are (Su et al. 2021). Its layers
have plain weights and biases, and want a learning rate about ten times smaller than magnitude-preserving ones: 1e-4 to
1e-3.

Shapes: B batch, C channels, F rows, T columns, E conditioning. Rows are items of their own, treated all alike.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning, Tokens, settled_label_dim
from dualdiffusion.config import Config
from dualdiffusion.model.module import Module
from dualdiffusion.nn.blocks import LabelEmbedding
from dualdiffusion.nn.blocks_1d import BlockSettings, ResidualBlock, zeroed
from dualdiffusion.nn.magnitude_preserving import MPFourier, normalize_weights, project_gradients
from dualdiffusion.nn.recomputation import run_block
from dualdiffusion.nn.told import told_along_time

Channels = Annotated[int, Field(ge=0)]


class UNet1D(Module):
    """Backbone F(x; c_noise) of the denoiser: (B, C, F, T) -> (B, C, F, T). T must divide by the product of strides."""

    class Config(Config):
        """Settings of a UNet1D."""

        in_channels: PositiveInt | None = None
        """Latent channels: of a waveform, its audio channels times its patch; null: those of the autoencoder that it is
        trained with (32 without one)."""
        label_dim: Channels | None = None
        """Games; null: as many as the model's labels when it is created. 0: unconditional."""
        concat_channels: Channels = 0
        """Channels along time that are told beside the input; `conditioned.Conditioned` sets it."""
        global_channels: Channels = 0
        """Channels that are told beside the noise level; `conditioned.Conditioned` sets it."""
        cross_channels: Channels = 0
        """Length of the tokens that attention looks at beside its own columns; `conditioned.Conditioned` sets it."""
        model_channels: PositiveInt = 128
        """Channels of the first level."""
        channel_mult: tuple[PositiveInt, ...] = (1, 2, 4, 4)
        """Channels of each level, as multiples of model_channels."""
        strides: tuple[Annotated[int, Field(ge=2)], ...] = (2, 4, 4)
        """Columns of each level that are one of the next, coarser one."""
        num_layers_per_block: PositiveInt = 1
        """Residual blocks of each level on the way down; there is one more on the way up."""
        attn_levels: tuple[Channels, ...] = (3,)
        """Levels with attention, 0 the finest; between the way down and the way up there always is some."""
        channels_per_head: PositiveInt = 64
        norm_groups: PositiveInt = 8
        """Groups of channels that are normalised together."""
        noise_channels: PositiveInt = 64
        """Fourier features of the noise level."""
        emb_channels: PositiveInt | None = None
        """Length of the conditioning vector; null: four times model_channels."""
        noise_bandwidth: Annotated[float, Field(gt=0)] = 4.0
        """Of the Fourier features: noise levels whose c_noise differ by more than 1 / this are told well apart."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        activation_checkpointing: bool = False
        """Compute activations again in the backward pass: about a third slower, far less memory."""

        @model_validator(mode="after")
        def _levels(self) -> UNet1D.Config:
            levels = len(self.channel_mult)
            if len(self.strides) != levels - 1:
                raise ValueError(f"strides: {levels} levels have {levels - 1} strides between them")
            outside = [level for level in self.attn_levels if level >= levels]
            if outside:
                raise ValueError(f"attn_levels: {outside[0]} is not a level; there are {levels}")
            odd = next((width for width in self.widths if width % self.norm_groups), None)
            if odd is not None:
                raise ValueError(f"norm_groups: {odd} channels do not divide into {self.norm_groups} groups")
            return self

        @property
        def widths(self) -> tuple[int, ...]:
            """Channels of each level."""
            return tuple(self.model_channels * multiple for multiple in self.channel_mult)

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.label_dim = settled_label_dim(config.label_dim)
        widths, emb_channels = config.widths, config.emb_channels or 4 * config.model_channels
        settings = BlockSettings(
            emb_channels, config.channels_per_head, config.norm_groups, config.dropout, config.cross_channels
        )
        self.noise_features = MPFourier(config.noise_channels, config.noise_bandwidth)
        self.noise_embedding = nn.Sequential(
            nn.Linear(config.noise_channels, emb_channels), nn.SiLU(), nn.Linear(emb_channels, emb_channels)
        )
        self.label_embedding = LabelEmbedding(self.label_dim, emb_channels) if self.label_dim else None
        self.input = nn.Conv1d(self.in_channels + config.concat_channels, widths[0], 3, padding=1)
        self.encoder, skip_widths = self._build_encoder(settings)
        self.middle = nn.ModuleList(
            [ResidualBlock(widths[-1], widths[-1], settings, attention) for attention in (True, False)]
        )
        self.decoder = self._build_decoder(skip_widths, settings)
        # Zero: the untrained denoiser is the best linear guess, c_skip * x, as in Karras et al. 2023.
        self.output = nn.Sequential(
            nn.GroupNorm(config.norm_groups, widths[0]),
            nn.SiLU(),
            zeroed(nn.Conv1d(widths[0], self.in_channels, 3, padding=1)),
        )
        self.told_embedding = nn.Linear(config.global_channels, emb_channels) if config.global_channels else None

    def _build_encoder(self, settings: BlockSettings) -> tuple[nn.ModuleDict, list[int]]:
        """The layers in order, and the width of every skip connection, that of the input included."""
        config, layers, width = self.config, nn.ModuleDict(), self.config.widths[0]
        skip_widths = [width]
        for level, level_width in enumerate(config.widths):
            if level > 0:
                stride = config.strides[level - 1]
                # Columns overlap, so that a level does not see at which column the one above it begins.
                layers[f"level{level}_down"] = nn.Conv1d(width, width, 2 * stride + 1, stride, padding=stride)
                skip_widths.append(width)
            for i in range(config.num_layers_per_block):
                attention = level in config.attn_levels
                layers[f"level{level}_block{i}"] = ResidualBlock(width, level_width, settings, attention)
                width = level_width
                skip_widths.append(width)
        return layers, skip_widths

    def _build_decoder(self, skip_widths: list[int], settings: BlockSettings) -> nn.ModuleDict:
        config, layers, width = self.config, nn.ModuleDict(), self.config.widths[-1]
        skip_widths = list(skip_widths)
        for level, level_width in reversed(list(enumerate(config.widths))):
            if level < len(config.widths) - 1:
                stride = config.strides[level]
                # Each column is repeated and then smoothed: no column of the finer level is reached by more weights
                # than its neighbours, as it would be by a transposed convolution.
                layers[f"level{level}_up"] = nn.Sequential(
                    nn.Upsample(scale_factor=stride), nn.Conv1d(width, width, 2 * stride - 1, padding=stride - 1)
                )
            for i in range(config.num_layers_per_block + 1):
                # Skip connections are used up from the last to the first, as `forward` does.
                attention = level in config.attn_levels
                in_width = width + skip_widths.pop()
                layers[f"level{level}_block{i}"] = ResidualBlock(in_width, level_width, settings, attention)
                width = level_width
        return layers

    @property
    def in_channels(self) -> int:
        """C, latent channels."""
        return self.config.in_channels or 32

    @property
    def size_multiple(self) -> int:
        """T must be a multiple of this."""
        return math.prod(self.config.strides)

    @property
    def row_multiple(self) -> int:
        """1: any number of rows is taken."""
        return 1

    def embed(self, c_noise: Tensor, conditioning: Conditioning) -> Tensor:
        """What each block is told: (B,) noise levels and the games -> (B, E)."""
        emb = self.noise_embedding(self.noise_features(c_noise))
        if self.label_embedding is not None:
            emb = emb + self.label_embedding(conditioning, emb)
        if self.told_embedding is not None:
            vector = conditioning.vector
            told = emb.new_zeros(len(emb), self.config.global_channels) if vector is None else vector.to(emb.dtype)
            emb = emb + self.told_embedding(told)
        return F.silu(emb)

    def forward(
        self, x: Tensor, c_noise: Tensor, *, conditioning: Conditioning, position: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            x: (B, C, F, T), unit variance.
            c_noise: (B,), the noise level as the preconditioning encodes it.
            position: not looked at, as rows are treated alike.

        Returns:
            (B, C, F, T).
        """
        rows = x.shape[2]
        emb = self.embed(c_noise.to(x.dtype), conditioning).repeat_interleave(rows, 0)
        tokens = _of_rows(conditioning.cross, rows) if self.config.cross_channels else None
        x = torch.cat([x, *told_along_time(x, conditioning, self.config.concat_channels)], dim=1)
        x = self.input(x.transpose(1, 2).flatten(0, 1))  # rows become items
        skips = [x]
        for name, layer in self.encoder.items():
            x = layer(x) if name.endswith("down") else self._run(layer, x, emb, tokens)
            skips.append(x)
        for block in self.middle:
            x = self._run(block, x, emb, tokens)
        for name, layer in self.decoder.items():
            x = layer(x) if name.endswith("up") else self._run(layer, torch.cat([x, skips.pop()], 1), emb, tokens)
        return self.output(x).unflatten(0, (-1, rows)).transpose(1, 2)

    def _run(self, block: nn.Module, *inputs: Tensor | Tokens | None) -> Tensor:
        return run_block(block, *inputs, recompute=self.config.activation_checkpointing and self.training)

    def before_update(self) -> None:
        """Keeps the lengths of the games' vectors out of the update, the only part here that has one length."""
        project_gradients(self)

    def after_update(self) -> None:
        """Brings the games' vectors back to unit variance."""
        normalize_weights(self)


def _of_rows(tokens: Tokens | None, rows: int) -> Tokens | None:
    """The same tokens for every row."""
    if tokens is None or rows == 1:
        return tokens
    return replace(tokens, values=tokens.values.repeat_interleave(rows, 0), mask=tokens.mask.repeat_interleave(rows, 0))
