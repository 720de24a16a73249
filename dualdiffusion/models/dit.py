"""A diffusion transformer on latents: a sequence of patches that all see one another (Peebles and Xie 2023).

- each block told noise level and games by gates that start at zero, so that the untrained network gives 0;
- positions told by rotary embedding along both axes, rows by their log-frequency;
- normed queries and keys, and root mean square norms;
- learned memory tokens beside the patches, and all four routes by which more can be told.

Shapes: B batch, C latent channels, F frequency rows, T time columns, N positions of the sequence.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning, Tokens, settled_label_dim
from dualdiffusion.config import Config
from dualdiffusion.model.module import Module
from dualdiffusion.nn.magnitude_preserving import normalize_weights, project_gradients
from dualdiffusion.nn.recomputation import run_block
from dualdiffusion.nn.rotary import axial_angles, column_angles
from dualdiffusion.nn.told import ToldVector, with_told
from dualdiffusion.nn.transformer import (
    Ending,
    Place,
    TransformerBlock,
    TransformerSettings,
    linear,
    patches,
    unpatched,
)

Channels = Annotated[int, Field(ge=0)]


class DiT(Module):
    """Backbone F(x; c_noise) of the denoiser: (B, C, F, T) -> (B, C, F, T). F and T must divide by the patch."""

    class Config(Config):
        """Settings of a diffusion transformer."""

        channels: PositiveInt | None = None
        """Latent channels; null: those of the autoencoder that it is trained with (4 without one)."""
        label_dim: Annotated[int, Field(ge=0)] | None = None
        """Games; null: as many as the model's labels when it is created. 0: unconditional."""
        patch: tuple[PositiveInt] | tuple[PositiveInt, PositiveInt] = (2, 2)
        """Latent rows and columns of a position of the sequence; one number: columns, of latents with a single row.
        Half the size makes four times as many positions, and attention sixteen times as dear."""
        width: Annotated[int, Field(gt=0, multiple_of=2)] = 384
        depth: PositiveInt = 12
        """Blocks."""
        heads: PositiveInt = 6
        """Of attention; each has width / heads channels, which must be a multiple of 4."""
        mlp_multiplier: PositiveFloat = 3.0
        """Width of the gated layer of each block, as a multiple."""
        memory_tokens: Annotated[int, Field(ge=0)] = 0
        """Learned positions without a place, in which attention may keep what holds for all of the sequence."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        concat_channels: Channels = 0
        """Channels along time that are told beside the input; `conditioned.Conditioned` sets it."""
        global_channels: Channels = 0
        """Channels that are told beside the noise level; `conditioned.Conditioned` sets it."""
        cross_channels: Channels = 0
        """Length of the tokens that each block looks at; `conditioned.Conditioned` sets it."""
        prepend_channels: Channels = 0
        """Length of the tokens that stand before the sequence; `conditioned.Conditioned` sets it."""
        activation_checkpointing: bool = False
        """Compute activations again in the backward pass: about a third slower, far less memory."""

        @model_validator(mode="after")
        def _heads(self) -> DiT.Config:
            if self.width % (4 * self.heads):
                raise ValueError(f"heads: each needs a multiple of 4 channels; {self.heads} x 4 must divide width")
            return self

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.label_dim = settled_label_dim(config.label_dim)
        self.patch = (1, *config.patch) if len(config.patch) == 1 else config.patch
        settings = TransformerSettings(
            emb_channels=config.width,
            channels_per_head=config.width // config.heads,
            mlp_multiplier=config.mlp_multiplier,
            dropout=config.dropout,
            cross_channels=config.cross_channels,
        )
        area = math.prod(self.patch)
        self.vector = ToldVector(self.label_dim, config.width, config.global_channels)
        # One more input tells the log-frequency of each row itself, where attention tells intervals.
        self.input = linear((self.in_channels + 1 + config.concat_channels) * area, config.width, bias=True)
        self.memory = nn.Parameter(torch.randn(config.memory_tokens, config.width)) if config.memory_tokens else None
        self.prepended = linear(config.prepend_channels, config.width, bias=True) if config.prepend_channels else None
        self.blocks = nn.ModuleList([TransformerBlock(config.width, settings) for _ in range(config.depth)])
        self.output = Ending(config.width, self.in_channels * area, config.width)

    @property
    def in_channels(self) -> int:
        """C, latent channels."""
        return self.config.channels or 4

    @property
    def size_multiple(self) -> int:
        """T must be a multiple of this."""
        return self.patch[1]

    @property
    def rows(self) -> int | None:
        """1 of patches with a single number; None: any number that divides."""
        return 1 if len(self.config.patch) == 1 else None

    @property
    def row_multiple(self) -> int:
        """F must be a multiple of this."""
        return self.patch[0]

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
        emb = self.vector(c_noise.to(x.dtype), conditioning)
        told = with_told(x, position, conditioning, self.config.concat_channels)
        sequence, seen = self._with_prefix(self.input(patches(told, self.patch)), conditioning)
        place = self._place(x, position, sequence.shape[1], seen)
        tokens = conditioning.cross if self.config.cross_channels else None
        recompute = self.config.activation_checkpointing and self.training
        for block in self.blocks:
            sequence = run_block(block, sequence, emb, place, tokens, recompute=recompute)
        count = x.shape[2] * x.shape[3] // math.prod(self.patch)
        return unpatched(self.output(sequence[:, -count:], emb), x.shape[2], self.patch)

    def _with_prefix(self, sequence: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor | None]:
        """The sequence with memory and what is told before it, and which of its positions count: (B, N) or None."""
        before, seen = [], None
        if self.prepended is not None and conditioning.prepend is not None:
            told: Tokens = conditioning.prepend
            before.append(self.prepended(told.values.to(sequence.dtype)))
            others = sequence.shape[1] + self.config.memory_tokens
            seen = torch.cat([told.mask, told.mask.new_ones(len(told.mask), others)], dim=1)
        if self.memory is not None:
            before.append(self.memory.to(sequence.dtype).expand(len(sequence), -1, -1))
        return torch.cat([*before, sequence], dim=1), seen

    def _place(self, x: Tensor, position: Tensor | None, length: int, seen: Tensor | None) -> Place:
        """Where the patches stand; what comes before them, of the sequence of `length`, stands nowhere."""
        rows, columns = x.shape[2] // self.patch[0], x.shape[3] // self.patch[1]
        pairs = self.config.width // self.config.heads // 2
        if len(self.config.patch) == 1:
            angle = column_angles(columns, pairs, x.device)
        else:
            position = x.new_zeros(x.shape[2]) if position is None else position
            angle = axial_angles(position.reshape(rows, -1).mean(dim=1), columns, pairs)
        angle = torch.cat([angle.new_zeros(length - len(angle), pairs), angle])
        return Place(angle, None if seen is None else seen[:, None, None])

    def before_update(self) -> None:
        """Keeps the lengths of what takes in the conditions out of the update: see `project_gradients`."""
        project_gradients(self)

    def after_update(self) -> None:
        """Brings what takes in the conditions back to unit variance: see `normalize_weights`."""
        normalize_weights(self)
