"""An hourglass transformer on latents or spectrograms (Crowson et al. 2024): fine levels see their neighbourhood, the
coarsest sees everything.

Each level but the last has blocks before and after those of the coarser ones: patches of 2 x 2 positions are merged on
the way down, split on the way up, and blended with what was there. So the cost below the top grows with the length of
the sound, and what is far apart in time meets at the top, in few positions. The keys are those of k-diffusion's
`image_transformer_v2`; blocks are those of the other transformer here (nn/transformer.py).

Shapes: B batch, C latent channels, F frequency rows, T time columns, N positions of a level, D its width.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning, Tokens, settled_label_dim
from dualdiffusion.config import Config
from dualdiffusion.model.module import Module
from dualdiffusion.nn.magnitude_preserving import normalize_weights, project_gradients
from dualdiffusion.nn.neighbourhood import window
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


class Attention(Config):
    """What the positions of a level see."""

    type: Literal["neighborhood", "global", "none"] = "neighborhood"
    """neighborhood: a window around each; global: everything; none: nothing but what is told."""
    d_head: PositiveInt = 64
    """Channels of a head, a multiple of 4 that divides the width of the level."""
    kernel_size: Literal[3, 5, 7] = 7
    """neighborhood: rows and columns of the window."""


class Hourglass(Module):
    """Backbone F(x; c_noise) of the denoiser: (B, C, F, T) -> (B, C, F, T).

    F and T must be multiples of the patch size times 2^(levels - 1).
    """

    class Config(Config):
        """Settings of an hourglass transformer; lists have an entry for each level, the finest first."""

        channels: PositiveInt | None = None
        """Latent channels; null: those of the autoencoder that it is trained with (4 without one)."""
        label_dim: Annotated[int, Field(ge=0)] | None = None
        """Games; null: as many as the model's labels when it is created. 0: unconditional."""
        patch_size: tuple[PositiveInt] | tuple[PositiveInt, PositiveInt] = (1, 1)
        """Latent rows and columns of a position of the finest level; one number: columns, of latents with a single row,
        of which each level merges two."""
        depths: tuple[PositiveInt, ...] = (2, 2, 8)
        """Blocks of each level; below the top, so many on the way up and as many on the way down."""
        widths: tuple[PositiveInt, ...] = (128, 256, 512)
        d_ffs: tuple[PositiveInt, ...] | None = None
        """Width of the gated layers of each level; null: three times the level's."""
        self_attns: tuple[Attention, ...] | None = None
        """What each level sees; null: a neighbourhood of `kernel_size` below the top, and everything there."""
        d_head: PositiveInt = 64
        """Channels of a head where `self_attns` is null."""
        kernel_size: Literal[3, 5, 7] = 7
        """Rows and columns of a neighbourhood where `self_attns` is null."""
        mapping_width: Annotated[int, Field(gt=0, multiple_of=2)] = 256
        """Length of the vector by which blocks are told noise level and games."""
        dropout_rate: tuple[Annotated[float, Field(ge=0, lt=1)], ...] | None = None
        """Of the gated layers of each level; null: none."""
        concat_channels: Channels = 0
        """Channels along time that are told beside the input; `conditioned.Conditioned` sets it."""
        global_channels: Channels = 0
        """Channels that are told beside the noise level; `conditioned.Conditioned` sets it."""
        cross_channels: Channels = 0
        """Length of the tokens that each block looks at; `conditioned.Conditioned` sets it."""
        activation_checkpointing: bool = False
        """Compute activations again in the backward pass: about a third slower, far less memory."""

        @model_validator(mode="after")
        def _levels(self) -> Hourglass.Config:
            for name in ("widths", "d_ffs", "self_attns", "dropout_rate"):
                given = getattr(self, name)
                if given is not None and len(given) != len(self.depths):
                    raise ValueError(f"{name}: has {len(given)} entries, but depths has {len(self.depths)} levels")
            for width, attention in zip(self.widths, self.attentions, strict=True):
                if width % attention.d_head or attention.d_head % 4:
                    raise ValueError(
                        f"d_head: must be a multiple of 4 that divides each width; {width} / {attention.d_head}"
                    )
            return self

        @property
        def attentions(self) -> tuple[Attention, ...]:
            """What each level sees."""
            if self.self_attns is not None:
                return self.self_attns
            below = Attention(d_head=self.d_head, kernel_size=self.kernel_size)
            return (*[below] * (len(self.depths) - 1), Attention(type="global", d_head=self.d_head))

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.label_dim = settled_label_dim(config.label_dim)
        flat = len(config.patch_size) == 1
        self.patch, self.merged = ((1, *config.patch_size), (1, 2)) if flat else (config.patch_size, (2, 2))
        area, factor = math.prod(self.patch), math.prod(self.merged)
        widths, self.attentions = config.widths, config.attentions
        self.vector = ToldVector(self.label_dim, config.mapping_width, config.global_channels)
        # One more input tells the log-frequency of each row itself, where attention tells intervals.
        self.input = linear((self.in_channels + 1 + config.concat_channels) * area, widths[0], bias=True)
        levels = range(len(widths) - 1)
        self.down = nn.ModuleList([self._blocks(level) for level in levels])
        self.merge = nn.ModuleList([linear(widths[i] * factor, widths[i + 1]) for i in levels])
        self.top = self._blocks(len(widths) - 1)
        self.split = nn.ModuleList([linear(widths[i + 1], widths[i] * factor) for i in levels])
        # Share of what comes from the coarser level, against what was there before it.
        self.share = nn.ParameterList([nn.Parameter(torch.full((1,), 0.5)) for _ in levels])
        self.up = nn.ModuleList([self._blocks(level) for level in levels])
        self.output = Ending(widths[0], self.in_channels * area, config.mapping_width)

    def _blocks(self, level: int) -> nn.ModuleList:
        config, width = self.config, self.config.widths[level]
        settings = TransformerSettings(
            emb_channels=config.mapping_width,
            channels_per_head=self.attentions[level].d_head,
            mlp_multiplier=3 if config.d_ffs is None else config.d_ffs[level] / width,
            dropout=0 if config.dropout_rate is None else config.dropout_rate[level],
            cross_channels=config.cross_channels,
        )
        attention = self.attentions[level].type != "none"
        return nn.ModuleList(
            [TransformerBlock(width, settings, attention=attention) for _ in range(config.depths[level])]
        )

    @property
    def in_channels(self) -> int:
        """C, latent channels."""
        return self.config.channels or 4

    @property
    def size_multiple(self) -> int:
        """T must be a multiple of this."""
        return self.patch[1] * self.merged[1] ** (len(self.config.depths) - 1)

    @property
    def rows(self) -> int | None:
        """1 of patches with a single number; None: any number that divides."""
        return 1 if len(self.config.patch_size) == 1 else None

    @property
    def row_multiple(self) -> int:
        """F must be a multiple of this."""
        return self.patch[0] * self.merged[0] ** (len(self.config.depths) - 1)

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
        tokens = conditioning.cross if self.config.cross_channels else None
        told = with_told(x, position, conditioning, self.config.concat_channels)
        position = x.new_zeros(x.shape[2]) if position is None else position
        places, rows = self._places(position, x.shape[2:]), []

        x, size, skips = self.input(patches(told, self.patch)), x.shape[2:], []
        for level, blocks in enumerate(self.down):
            x = self._run(blocks, x, emb, places[level], tokens)
            skips.append(x)
            rows.append(size[0] // self.patch[0] // self.merged[0] ** level)
            x = self.merge[level](patches(_as_plane(x, rows[-1]), self.merged))
        x = self._run(self.top, x, emb, places[-1], tokens)
        for level, blocks in reversed(list(enumerate(self.up))):
            finer = unpatched(self.split[level](x), rows[level], self.merged).flatten(2).transpose(1, 2)
            x = torch.lerp(skips.pop(), finer, self.share[level].to(finer.dtype))
            x = self._run(blocks, x, emb, places[level], tokens)
        return unpatched(self.output(x, emb), size[0], self.patch)

    def _places(self, position: Tensor, size: tuple[int, int]) -> list[Place]:
        """Where the positions of each level stand, and what they see."""
        places = []
        for level, attention in enumerate(self.attentions):
            rows, columns = (n // p // m**level for n, p, m in zip(size, self.patch, self.merged, strict=True))
            pairs = attention.d_head // 2
            if self.patch[0] == self.merged[0] == 1:
                angle, kernel = column_angles(columns, pairs, position.device), (1, attention.kernel_size)
            else:
                angle = axial_angles(position.reshape(rows, -1).mean(dim=1), columns, pairs)
                kernel = (attention.kernel_size, attention.kernel_size)
            seen = window(rows, columns, kernel, position.device) if attention.type == "neighborhood" else None
            places.append(Place(angle, window=seen))
        return places

    def _run(self, blocks: nn.ModuleList, x: Tensor, emb: Tensor, place: Place, tokens: Tokens | None) -> Tensor:
        recompute = self.config.activation_checkpointing and self.training
        for block in blocks:
            x = run_block(block, x, emb, place, tokens, recompute=recompute)
        return x

    def before_update(self) -> None:
        """Keeps the lengths of what takes in the conditions out of the update: see `project_gradients`."""
        project_gradients(self)

    def after_update(self) -> None:
        """Brings what takes in the conditions back to unit variance: see `normalize_weights`."""
        normalize_weights(self)


def _as_plane(x: Tensor, rows: int) -> Tensor:
    """(B, F T, D) -> (B, D, F, T)."""
    return x.transpose(1, 2).unflatten(2, (rows, -1))
