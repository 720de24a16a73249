"""What transformers are built of: blocks of attention and a gated layer, told the conditioning vector by adaLN.

Written from the papers: adaptive layer norm whose gates start at zero (Peebles and Xie 2023, section 3.2), here on root
mean squares (Zhang and Sennrich 2019); normed queries and keys (Henry et al. 2020); GEGLU (Shazeer 2020, equation 6).
These are plain layers, which want learning rates about ten times smaller than magnitude-preserving ones.

Shapes: B batch, N positions of a sequence, D width, E conditioning, H heads, W channels per head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualdiffusion.conditioning import Tokens
from dualdiffusion.nn.magnitude_preserving import unit_magnitude
from dualdiffusion.nn.neighbourhood import Window, neighbourhood_attention
from dualdiffusion.nn.rotary import turned


@dataclass(frozen=True)
class TransformerSettings:
    """What all blocks of a network have in common."""

    emb_channels: int  # E, length of the conditioning vector
    channels_per_head: int = 64
    mlp_multiplier: float = 3.0  # width of the gated layer, as a multiple of D
    dropout: float = 0.0
    cross_channels: int = 0  # length of the tokens that attention sees too; 0: none


@dataclass(frozen=True)
class Place:
    """Where the positions of a sequence stand, and what they see of one another.

    Attributes:
        angle: (N, W / 2) of the rotary embedding; 0 for what has no place.
        mask: (B, 1, 1, N) bool, the positions that can be seen; None: all.
        window: what each position sees around it; None: all of the sequence.
    """

    angle: Tensor
    mask: Tensor | None = None
    window: Window | None = None


def linear(inputs: int, outputs: int, *, zero: bool = False, bias: bool = False) -> nn.Linear:
    """A layer that keeps unit variance at initialisation, or one that gives 0."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=0.0 if zero else 1 / math.sqrt(inputs))
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Modulation(nn.Module):
    """`count` vectors for each sample from the conditioning vector, all 0 at initialisation: (B, E) -> (B, 1, D) each.

    By them x becomes rms_norm(x) (1 + scale) + shift, and what a branch adds is multiplied with a gate.
    """

    def __init__(self, emb_channels: int, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.linear = linear(emb_channels, width * count, zero=True, bias=True)

    def forward(self, emb: Tensor) -> tuple[Tensor, ...]:
        """(B, E) -> `count` times (B, 1, D)."""
        return self.linear(emb)[:, None].chunk(self.count, dim=-1)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Root mean square norm of x (B, N, D), scaled and shifted by (B, 1, D)."""
    return torch.addcmul(shift, unit_magnitude(x, -1), 1 + scale)


class HeadNorm(nn.Module):
    """Queries or keys (B, H, N, W) of unit magnitude times a learned gain of each head.

    No logit can grow without bound, whatever the weights do.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, N, W) -> the same shape."""
        return unit_magnitude(x, -1) * self.gain.to(x.dtype)[:, None, None]


def heads_of(width: int, channels_per_head: int) -> int:
    """How many heads a width has.

    Raises:
        ValueError: it does not divide.
    """
    if width % channels_per_head or channels_per_head % 4:
        raise ValueError(f"a width of {width} does not divide into heads of {channels_per_head}, a multiple of 4")
    return width // channels_per_head


class SelfAttention(nn.Module):
    """Attention of a sequence to itself, all heads' queries, keys and values from one matrix."""

    def __init__(self, width: int, settings: TransformerSettings) -> None:
        super().__init__()
        self.heads = heads_of(width, settings.channels_per_head)
        self.qkv = linear(width, width * 3)
        self.norm_q, self.norm_k = HeadNorm(self.heads), HeadNorm(self.heads)
        self.out = linear(width, width)

    def forward(self, x: Tensor, place: Place) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = turned(self.norm_q(q), place.angle), turned(self.norm_k(k), place.angle)
        if place.window is not None:
            y = neighbourhood_attention(q, k, v, place.window)
        elif place.mask is not None:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=place.mask)
        else:
            y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """What a sequence finds in tokens that are told, which have no place in it; nothing at initialisation."""

    def __init__(self, width: int, settings: TransformerSettings) -> None:
        super().__init__()
        self.heads = heads_of(width, settings.channels_per_head)
        self.q, self.kv = linear(width, width), linear(settings.cross_channels, width * 2)
        self.norm_q, self.norm_k = HeadNorm(self.heads), HeadNorm(self.heads)
        self.out = linear(width, width, zero=True)

    def forward(self, x: Tensor, tokens: Tokens) -> Tensor:
        """x (B, N, D) and tokens (B, S, cross_channels), of which one holds at least -> (B, N, D)."""
        q = self.q(unit_magnitude(x, -1)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(tokens.values.to(x.dtype)).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = tokens.mask[:, None, None]
        y = F.scaled_dot_product_attention(self.norm_q(q), self.norm_k(k), v, attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))


class GatedLayer(nn.Module):
    """GEGLU: one half of a wide layer, multiplied with the GELU of the other, and made narrow again."""

    def __init__(self, width: int, settings: TransformerSettings) -> None:
        super().__init__()
        hidden = round(width * settings.mlp_multiplier)
        self.dropout = settings.dropout
        self.widen, self.narrow = linear(width, hidden * 2), linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        value, gate = self.widen(x).chunk(2, dim=-1)
        return self.narrow(F.dropout(value * F.gelu(gate), self.dropout, self.training))


class TransformerBlock(nn.Module):
    """Attention, then the gated layer, each added by a gate that the conditioning vector opens; the identity at first.

    Between the two it looks at the tokens that are told, where there are any.
    """

    def __init__(self, width: int, settings: TransformerSettings, *, attention: bool = True) -> None:
        super().__init__()
        self.modulation = Modulation(settings.emb_channels, width, 6 if attention else 3)
        self.attention = SelfAttention(width, settings) if attention else None
        self.cross = CrossAttention(width, settings) if settings.cross_channels else None
        self.layer = GatedLayer(width, settings)

    def forward(self, x: Tensor, emb: Tensor, place: Place, tokens: Tokens | None = None) -> Tensor:
        """x (B, N, D), emb (B, E) -> (B, N, D)."""
        *of_attention, shift, scale, gate = self.modulation(emb)
        if self.attention is not None:
            first_shift, first_scale, first_gate = of_attention
            x = x + first_gate * self.attention(modulated(x, first_shift, first_scale), place)
        if self.cross is not None and tokens is not None:
            x = x + self.cross(x, tokens)
        return x + gate * self.layer(modulated(x, shift, scale))


class Ending(nn.Module):
    """The last layer, modulated too, which gives 0 at initialisation: (B, N, D) -> (B, N, channels)."""

    def __init__(self, width: int, channels: int, emb_channels: int) -> None:
        super().__init__()
        self.modulation = Modulation(emb_channels, width, 2)
        self.linear = linear(width, channels, zero=True, bias=True)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """x (B, N, D), emb (B, E) -> (B, N, channels)."""
        return self.linear(modulated(x, *self.modulation(emb)))


def patches(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Rectangles of `size` as a sequence, row by row: (B, C, F, T) -> (B, F T / (p q), C p q)."""
    (batch, channels, rows, columns), (p, q) = x.shape, size
    x = x.reshape(batch, channels, rows // p, p, columns // q, q)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(batch, (rows // p) * (columns // q), channels * p * q)


def unpatched(x: Tensor, rows: int, size: tuple[int, int]) -> Tensor:
    """Undoes `patches`: (B, F T / (p q), C p q) -> (B, C, F, T), of `rows` F."""
    batch, (p, q) = len(x), size
    x = x.reshape(batch, rows // p, -1, x.shape[-1] // (p * q), p, q)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(batch, x.shape[3], rows, -1)
