"""The network of Dance Diffusion (Harmonai 2022): a deep U-Net in one dimension on raw audio, with attention.

Stable Audio Tools calls it DAU1d, diffusers UNet1DModel. Written from what these are: each level halves the columns by
a fixed cubic filter, and has three residual blocks on the way down and three on the way up, with self-attention after
each where its level has it. The noise level is told as Fourier features beside the input, and nothing else is told.

Shapes: B batch, C channels, F rows, T columns. Rows are items of their own, treated all alike; raw audio has one.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import Config
from dualdiffusion.model.module import Module

# The cubic interpolation kernel of Keys (1981, a = -1/2), twice as wide and half as high: from its middle outwards.
CUBIC = (0.43359375, 0.11328125, -0.03515625, -0.01171875)
# The fixed filters see three columns beyond either end, which are mirrored: so many there have to be at least.
LEAST_COLUMNS = 4


class DanceDiffusion(Module):
    """Backbone F(x; t) of the denoiser: (B, C, F, T) -> (B, C, F, T), unconditional.

    Of a `Velocity` predictor with `"input": "time"` and a sigma_data of 1, it is what it was published as.
    """

    class Config(Config):
        """Settings of a DanceDiffusion; the defaults are those of the published models."""

        in_channels: PositiveInt | None = None
        """Latent channels: of a waveform with a patch of 1, its audio channels; null: those of the autoencoder that it
        is trained with (2 without one)."""
        level_channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128, 256, 256, *([512] * 10))
        """Channels of each level, the finest first. Each has half of the columns of the one before."""
        attn_levels: Annotated[int, Field(ge=0)] = 8
        """So many of the coarsest levels have self-attention, of which the finest never is one."""
        channels_per_head: PositiveInt = 32
        noise_channels: Annotated[int, Field(gt=0, multiple_of=2)] = 16
        """Fourier features of the noise level."""
        kernel_size: PositiveInt = 5
        """Columns that a convolution sees; odd."""

        @field_validator("kernel_size")
        @classmethod
        def _is_odd(cls, size: int) -> int:
            if size % 2 == 0:
                raise ValueError(f"must be odd, not {size}")
            return size

    config: Config
    label_dim = 0

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        widths = config.level_channels
        self.register_buffer("frequencies", torch.randn(config.noise_channels // 2))
        self.register_buffer("kernel", torch.tensor([*reversed(CUBIC), *CUBIC]), persistent=False)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            above = widths[level - 1] if level else self.in_channels
            told = 0 if level else config.noise_channels
            joined = width if level == len(widths) - 1 else 2 * width
            self.encoder.append(self._level(level, (above + told, width, width, width)))
            self.decoder.append(self._level(level, (joined, width, width, above), is_last=level == 0))

    def _level(self, level: int, widths: tuple[int, ...], *, is_last: bool = False) -> nn.ModuleList:
        """Three blocks that go from each of four widths to the next."""
        config = self.config
        return nn.ModuleList(
            [
                Block(before, widths[1], after, config.kernel_size, self._heads(level, after), last=last)
                for before, after, last in zip(widths[:-1], widths[1:], (False, False, is_last), strict=True)
            ]
        )

    def _heads(self, level: int, channels: int) -> int:
        has = level >= max(1, len(self.config.level_channels) - self.config.attn_levels)
        return max(1, channels // self.config.channels_per_head) if has else 0

    @property
    def in_channels(self) -> int:
        """C, latent channels."""
        return self.config.in_channels or 2

    @property
    def size_multiple(self) -> int:
        """T must be a multiple of this."""
        return LEAST_COLUMNS * 2 ** (len(self.config.level_channels) - 1)

    @property
    def row_multiple(self) -> int:
        """1: any number of rows is taken."""
        return 1

    def forward(
        self, x: Tensor, c_noise: Tensor, *, conditioning: Conditioning, position: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            x: (B, C, F, T), unit variance.
            c_noise: (B,), the time of `predictors.Velocity`: 0 is clean and 1 is noise.
            conditioning, position: not looked at, as nothing is told.

        Returns:
            (B, C, F, T).
        """
        rows = x.shape[2]
        angle = 2 * math.pi * c_noise.float()[:, None] * self.frequencies.float()
        told = torch.cat([angle.cos(), angle.sin()], dim=1).to(x.dtype).repeat_interleave(rows, 0)
        x = x.transpose(1, 2).flatten(0, 1)
        x = torch.cat([x, told[..., None].expand(-1, -1, x.shape[-1])], dim=1)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            x = self._halved(x) if level else x
            for block in blocks:
                x = block(x)
            skips.append(x)
        skips.pop()  # of the coarsest level, which goes on as it is
        for level, blocks in reversed(list(enumerate(self.decoder))):
            x = x if level == len(self.decoder) - 1 else torch.cat([x, skips.pop()], dim=1)
            for block in blocks:
                x = block(x)
            x = self._doubled(x) if level else x
        return x.unflatten(0, (-1, rows)).transpose(1, 2)

    def _halved(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T / 2)."""
        return F.conv1d(F.pad(x, (3, 3), "reflect"), self._filters(x), stride=2, groups=x.shape[1])

    def _doubled(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, 2 T)."""
        # Every second of the columns that are filtered is 0, so those between them count twice.
        padded = F.pad(x, (2, 2), "reflect")
        return F.conv_transpose1d(padded, 2 * self._filters(x), stride=2, padding=7, groups=x.shape[1])

    def _filters(self, x: Tensor) -> Tensor:
        """The cubic filter for each channel: (C, 1, 8)."""
        return self.kernel.to(x.dtype).expand(x.shape[1], 1, -1)


class Block(nn.Module):
    """Two convolutions, each normalised over all channels and followed by a GELU, added to the input; then attention.

    Maps (B, C_in, T) to (B, C_out, T).

    Args:
        heads: of the attention; 0: none.
        last: it is the network's last one, which says what it says without normalising it.
    """

    def __init__(
        self, in_channels: int, hidden: int, out_channels: int, kernel_size: int, heads: int, *, last: bool
    ) -> None:
        super().__init__()
        around = kernel_size // 2
        self.project = nn.Conv1d(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None
        self.conv_in = nn.Conv1d(in_channels, hidden, kernel_size, padding=around)
        self.norm_in = nn.GroupNorm(1, hidden)
        self.conv_out = nn.Conv1d(hidden, out_channels, kernel_size, padding=around)
        self.norm_out = None if last else nn.GroupNorm(1, out_channels)
        self.attention = Attention(out_channels, heads) if heads else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, T) -> (B, C_out, T)."""
        y = self.conv_out(F.gelu(self.norm_in(self.conv_in(x))))
        if self.norm_out is not None:
            y = F.gelu(self.norm_out(y))
        y = y + (x if self.project is None else self.project(x))
        return y if self.attention is None else self.attention(y)


class Attention(nn.Module):
    """Each column looks at all others, without knowing where they are: (B, C, T) -> (B, C, T), added to its input."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels do not divide into {heads} attention heads")
        self.heads = heads
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        q, k, v = self.qkv(self.norm(x)).unflatten(1, (3, self.heads, -1)).transpose(-1, -2).unbind(1)
        found = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(found.transpose(-1, -2).flatten(1, 2))
