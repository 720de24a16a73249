"""What U-Nets in one dimension are built of: a residual block that is told the noise level, and attention over time.

Plain layers with weights and biases, unlike those of blocks.py. Shapes: B batch, C channels, T columns, E conditioning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualdiffusion.conditioning import Tokens
from dualdiffusion.nn.rotary import rotated


@dataclass(frozen=True)
class BlockSettings:
    """What all blocks of a network have in common."""

    emb_channels: int  # E, length of the conditioning vector
    channels_per_head: int = 64
    norm_groups: int = 8
    dropout: float = 0.0
    cross_channels: int = 0  # attention sees tokens of this length too


def zeroed(layer: nn.Conv1d) -> nn.Conv1d:
    """The layer with weights and bias of 0, so that a residual branch that ends with it changes nothing at first."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Attention(nn.Module):
    """Each column looks at all others, and at the tokens that are told: (B, C, T) -> (B, C, T), added to its input.

    How much two columns see of each other depends on the time between them too (rotary embedding); tokens have no place
    in time.
    """

    def __init__(self, channels: int, settings: BlockSettings) -> None:
        super().__init__()
        self.heads = max(1, channels // settings.channels_per_head)
        if channels % (2 * self.heads):
            raise ValueError(f"{channels} channels do not divide into {self.heads} attention heads of even width")
        self.norm = nn.GroupNorm(settings.norm_groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv1d(channels, channels, 1))
        self.kv_told = nn.Linear(settings.cross_channels, 2 * channels) if settings.cross_channels else None
        self.out_told = zeroed(nn.Conv1d(channels, channels, 1)) if settings.cross_channels else None

    def forward(self, x: Tensor, tokens: Tokens | None = None) -> Tensor:
        """x (B, C, T) -> (B, C, T)."""
        qkv = self.qkv(self.norm(x)).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        q, k, v = qkv.unbind(1)  # each (B, heads, T, channels per head)
        time = torch.arange(x.shape[-1], device=x.device)
        found = F.scaled_dot_product_attention(rotated(q, time), rotated(k, time), v)
        y = x + self.out(_joined(found))
        if tokens is not None and self.kv_told is not None:
            kv = self.kv_told(tokens.values.to(q.dtype)).unflatten(-1, (2, self.heads, -1))
            k, v = kv.permute(2, 0, 3, 1, 4)
            found = F.scaled_dot_product_attention(q, k, v, attn_mask=tokens.mask[:, None, None])
            y = y + self.out_told(_joined(found))
        return y


def _joined(x: Tensor) -> Tensor:
    """(B, heads, T, channels per head) -> (B, C, T)."""
    return x.transpose(-1, -2).flatten(1, 2)


class ResidualBlock(nn.Module):
    """(B, C_in, T) -> (B, C_out, T): normalise, SiLU, convolve, normalise, scale and shift as told, SiLU, convolve.

    Dhariwal and Nichol 2021, section 3: what is told scales and shifts what has just been normalised ("AdaGN").
    """

    def __init__(self, in_channels: int, out_channels: int, settings: BlockSettings, attention: bool = False) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(settings.norm_groups, in_channels)
        self.conv_in = nn.Conv1d(in_channels, out_channels, 3, padding=1)
        self.modulate = nn.Linear(settings.emb_channels, 2 * out_channels)
        self.norm_out = nn.GroupNorm(settings.norm_groups, out_channels)
        self.dropout = nn.Dropout(settings.dropout)
        self.conv_out = zeroed(nn.Conv1d(out_channels, out_channels, 3, padding=1))
        self.project = nn.Conv1d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.attention = Attention(out_channels, settings) if attention else None

    def forward(self, x: Tensor, emb: Tensor, tokens: Tokens | None = None) -> Tensor:
        """x (B, C_in, T), emb (B, E) -> (B, C_out, T)."""
        scale, shift = self.modulate(emb)[..., None].chunk(2, dim=1)
        y = self.norm_out(self.conv_in(F.silu(self.norm_in(x)))) * (1 + scale) + shift
        y = self.project(x) + self.conv_out(self.dropout(F.silu(y)))
        return y if self.attention is None else self.attention(y, tokens)
