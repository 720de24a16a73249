"""The edm2 UNet on latents of spectrograms, after Karras et al. 2023 (config G) with changes of our own.

- attention by scaled-dot-product kernels, its inputs modulated by the conditioning vector;
- wider grouped layers around each block's non-linearity;
- label mixes instead of one-hot labels, with a learned embedding for "no label";
- a constant channel, and a channel that tells the log-frequency of each row;
- optionally attention that knows the time between two columns;
- magnitudes kept at any depth, in decoder blocks and at the edges too (`pixel_norm` in nn/blocks.py).

Shapes: B batch, C latent channels, F frequency rows, T time columns.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning, Tokens, settled_label_dim
from dualdiffusion.config import Config
from dualdiffusion.model.module import Module
from dualdiffusion.nn.blocks import BlockSettings, DecoderBlock, EncoderBlock, LabelEmbedding
from dualdiffusion.nn.magnitude_preserving import (
    MPConv,
    MPFourier,
    double,
    halve,
    mp_silu,
    mp_sum,
    normalize_weights,
    project_gradients,
)
from dualdiffusion.nn.recomputation import run_block
from dualdiffusion.nn.told import told_along_time

Share = Annotated[float, Field(ge=0, le=1)]


class UNet(Module):
    """Backbone F(x; c_noise) of the denoiser: (B, C, F, T) -> (B, C, F, T). F and T must divide by 2^(levels - 1)."""

    class Config(Config):
        """Settings of a UNet."""

        in_channels: PositiveInt | None = None
        """Latent channels; null: those of the autoencoder that it is trained with (4 without one)."""
        label_dim: Annotated[int, Field(ge=0)] | None = None
        """Games; null: as many as the model's labels when it is created. 0: unconditional."""
        concat_channels: Annotated[int, Field(ge=0)] = 0
        """Channels along time that are told beside the input; `conditioned.Conditioned` sets it."""
        global_channels: Annotated[int, Field(ge=0)] = 0
        """Channels that are told beside the noise level; `conditioned.Conditioned` sets it."""
        cross_channels: Annotated[int, Field(ge=0)] = 0
        """Length of the tokens that attention looks at beside its own positions; `conditioned.Conditioned` sets it."""
        model_channels: PositiveInt = 256
        """Channels of the first level."""
        channel_mult: tuple[PositiveInt, ...] = (1, 2, 3, 4, 5)
        """Channels of each level, as multiples of model_channels."""
        noise_channels: PositiveInt | None = None
        """Fourier features of the noise level; null: model_channels."""
        emb_channels: PositiveInt | None = None
        """Length of the conditioning vector; null: the channels of the widest level."""
        num_layers_per_block: PositiveInt = 2
        attn_levels: tuple[Annotated[int, Field(ge=0)], ...] = (3, 4)
        """Levels with self-attention, 0 the finest; between encoder and decoder there always is some."""
        channels_per_head: PositiveInt = 64
        attn_rotary: bool = False
        """Tell attention the time between two columns, by rotary embedding: rhythm is a matter of distances."""
        attention_position: Literal["none", "frequency"] = "none"
        """frequency: tell attention the interval between two rows too, which a format with even frequencies lacks."""
        attention_axes: Literal["joint", "alternate"] = "joint"
        """joint: attention sees all positions; alternate: those of its column, and then those of its row, which is far
        cheaper at fine levels, or with many rows."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        label_balance: Share = 0.5
        """Share of the label, against the noise level, in the conditioning vector."""
        told_balance: Share = 0.3
        """Share of what is told beside the noise level, against noise level and label."""
        concat_balance: Share = 0.5
        """Share of the skip connection in the decoder's inputs."""
        res_balance: Share = 0.3
        attn_balance: Share = 0.3
        mlp_multiplier: PositiveInt = 2
        """Width of the layers around each non-linearity, as a multiple."""
        mlp_groups: PositiveInt = 8
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
        self.label_dim = settled_label_dim(config.label_dim)
        widths = [config.model_channels * multiple for multiple in config.channel_mult]
        noise_channels = config.noise_channels or config.model_channels
        emb_channels = config.emb_channels or max(widths)
        settings = BlockSettings(
            emb_channels=emb_channels,
            channels_per_head=config.channels_per_head,
            dropout=config.dropout,
            res_balance=config.res_balance,
            attn_balance=config.attn_balance,
            concat_balance=config.concat_balance,
            mlp_multiplier=config.mlp_multiplier,
            mlp_groups=config.mlp_groups,
            rotary=config.attn_rotary,
            row_position=config.attention_position == "frequency",
            attention_axes=config.attention_axes,
            cross_channels=config.cross_channels,
            pixel_norm=True,
        )
        self.noise_features = MPFourier(noise_channels, config.noise_bandwidth)
        self.noise_embedding = MPConv(noise_channels, emb_channels, ())
        self.label_embedding = LabelEmbedding(self.label_dim, emb_channels) if self.label_dim else None

        # Two more inputs: a constant, which stands for the biases that magnitude-preserving layers lack, and the row's
        # log-frequency, as a convolution cannot tell the rows apart.
        inputs = self.in_channels + 2 + config.concat_channels
        self.input = MPConv(inputs, widths[0], (3, 3), even_edges=True)
        self.encoder, skip_widths = self._build_encoder(widths, settings)
        self.middle = nn.ModuleList(
            [DecoderBlock(widths[-1], widths[-1], settings, attention) for attention in (True, False)]
        )
        self.decoder = self._build_decoder(widths, skip_widths, settings)
        self.output = MPConv(widths[0], self.in_channels, (3, 3), even_edges=True)
        # Zero: the untrained denoiser is the best linear guess, c_skip * x, as in Karras et al. 2023.
        self.output_gain = nn.Parameter(torch.zeros(()))
        self.told_embedding = MPConv(config.global_channels, emb_channels, ()) if config.global_channels else None

    def _build_encoder(self, widths: list[int], settings: BlockSettings) -> tuple[nn.ModuleDict, list[int]]:
        """The blocks in order, and the width of every skip connection, that of the input included."""
        blocks, width, skip_widths = nn.ModuleDict(), widths[0], [widths[0]]
        for level, level_width in enumerate(widths):
            attention = level in self.config.attn_levels
            if level > 0:
                blocks[f"level{level}_halved"] = EncoderBlock(width, width, settings)
                skip_widths.append(width)
            for i in range(self.config.num_layers_per_block):
                blocks[f"level{level}_block{i}"] = EncoderBlock(width, level_width, settings, attention)
                width = level_width
                skip_widths.append(width)
        return blocks, skip_widths

    def _build_decoder(self, widths: list[int], skip_widths: list[int], settings: BlockSettings) -> nn.ModuleDict:
        blocks, width, skip_widths = nn.ModuleDict(), widths[-1], list(skip_widths)
        for level, level_width in reversed(list(enumerate(widths))):
            attention = level in self.config.attn_levels
            if level < len(widths) - 1:
                blocks[f"level{level}_doubled"] = DecoderBlock(width, width, settings)
            for i in range(self.config.num_layers_per_block + 1):
                # Skip connections are used up from the last to the first, as `forward` does.
                in_width = width + skip_widths.pop()
                blocks[f"level{level}_block{i}"] = DecoderBlock(in_width, level_width, settings, attention)
                width = level_width
        return blocks

    @property
    def in_channels(self) -> int:
        """C, latent channels."""
        return self.config.in_channels or 4

    @property
    def size_multiple(self) -> int:
        """F and T must be multiples of this."""
        return 2 ** (len(self.config.channel_mult) - 1)

    def embed(self, c_noise: Tensor, conditioning: Conditioning) -> Tensor:
        """The conditioning vector of each block: (B,) noise levels and the games -> (B, emb_channels)."""
        # The non-linearity comes once, after the sum: a mix of games must reach it as a mix.
        emb = self.noise_embedding(self.noise_features(c_noise))
        if self.label_embedding is not None:
            emb = mp_sum(emb, self.label_embedding(conditioning, emb), self.config.label_balance)
        if self.told_embedding is not None:
            vector = conditioning.vector
            told = emb.new_zeros(len(emb), self.config.global_channels) if vector is None else vector.to(emb.dtype)
            emb = mp_sum(emb, self.told_embedding(told), self.config.told_balance)
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
        tokens = conditioning.cross if self.config.cross_channels else None
        ones = torch.ones_like(x[:, :1])
        rows = torch.zeros_like(ones) if position is None else ones * position.to(x.dtype)[:, None]
        x = torch.cat([x, ones, rows, *told_along_time(x, conditioning, self.config.concat_channels)], dim=1)

        x = self.input(x)
        skips = [x]
        for name, block in self.encoder.items():
            x = halve(x) if name.endswith("halved") else x
            x = self._run(block, x, emb, tokens, self._rows(position, x))
            skips.append(x)
        for block in self.middle:
            x = self._run(block, x, emb, None, tokens, self._rows(position, x))
        for name, block in self.decoder.items():
            doubled = name.endswith("doubled")
            x, skip = (double(x), None) if doubled else (x, skips.pop())
            x = self._run(block, x, emb, skip, tokens, self._rows(position, x))
        return self.output(x, gain=self.output_gain)

    def _rows(self, position: Tensor | None, x: Tensor) -> Tensor | None:
        """The log-frequency of each row of a level, where attention is told it: the mean of the rows it stands for."""
        if self.config.attention_position == "none" or position is None:
            return None
        return position.reshape(x.shape[2], -1).mean(dim=1)

    def _run(self, block: nn.Module, *inputs: Tensor | Tokens | None) -> Tensor:
        return run_block(block, *inputs, recompute=self.config.activation_checkpointing and self.training)

    def before_update(self) -> None:
        """Keeps the filters' lengths out of the update: see `project_gradients`."""
        project_gradients(self)

    def after_update(self) -> None:
        """Brings the filters back to unit variance: see `normalize_weights`."""
        normalize_weights(self)
