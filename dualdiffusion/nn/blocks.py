"""The residual block of the edm2-style UNet and VAE. Shapes: B batch, C channels, F frequency, T time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualdiffusion.nn.magnitude_preserving import MPConv, mp_dropout, mp_silu, mp_sum, normalize, resample


@dataclass(frozen=True)
class BlockSettings:
    """What all blocks of a network have in common."""

    emb_channels: int  # length of the conditioning vector; 0: not conditioned
    channels_per_head: int = 64
    dropout: float = 0.0
    res_balance: float = 0.3  # share of the residual branch
    attn_balance: float = 0.3  # share of the attention branch
    mlp_multiplier: int = 2  # width of the layers around the non-linearity
    mlp_groups: int = 8  # groups of these layers: wider at the same cost
    clip: float = 256.0  # activations are clipped to +-clip, for half precision


class Modulation(nn.Module):
    """Per-channel gain from the conditioning vector, 1 at initialisation: (B, emb) -> (B, C, 1, 1)."""

    def __init__(self, emb_channels: int, channels: int) -> None:
        super().__init__()
        self.linear = MPConv(emb_channels, channels, ())
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, emb: Tensor) -> Tensor:
        return (self.linear(emb, gain=self.gain) + 1)[:, :, None, None]


class CosineAttention(nn.Module):
    """Self-attention over all positions with unit-length queries and keys (EDM2, config G), on (B, C, F, T).

    The common input of q, k and v is modulated by the conditioning vector where there is one.
    """

    def __init__(self, channels: int, settings: BlockSettings) -> None:
        super().__init__()
        self.heads = max(1, channels // settings.channels_per_head)
        if channels % self.heads:
            raise ValueError(f"{channels} channels do not divide into {self.heads} attention heads")
        self.qkv = MPConv(channels, channels * 3, (1, 1))
        self.out = MPConv(channels, channels, (1, 1))
        self.modulate = Modulation(settings.emb_channels, channels) if settings.emb_channels else None

    def forward(self, x: Tensor, emb: Tensor | None) -> Tensor:
        batch, channels, *space = x.shape
        qkv = self.qkv(x if self.modulate is None else x * self.modulate(emb))
        # Each (B, heads, positions, channels per head).
        qkv = qkv.reshape(batch, 3, self.heads, channels // self.heads, -1).transpose(-1, -2)
        q, k, v = normalize(qkv, dim=(-1,)).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(-1, -2).reshape(batch, channels, *space))


class Block(nn.Module):
    """Residual block with optional resampling, conditioning and attention (EDM2, figure 21, config G).

    Encoder blocks resample and normalise first; decoder blocks take the skip connection last. Both change the channel
    count by a 1x1 convolution on the main path.

    Args:
        flavor: "enc" or "dec".
        resample_mode: "keep", "up" or "down".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        settings: BlockSettings,
        *,
        flavor: str,
        resample_mode: str = "keep",
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.settings, self.flavor, self.resample_mode = settings, flavor, resample_mode
        self.out_channels = out_channels
        hidden, groups = out_channels * settings.mlp_multiplier, settings.mlp_groups
        self.conv_skip = MPConv(in_channels, out_channels, (1, 1)) if in_channels != out_channels else None
        self.conv_res0 = MPConv(out_channels if flavor == "enc" else in_channels, hidden, (3, 3), groups)
        self.modulate = Modulation(settings.emb_channels, hidden) if settings.emb_channels else None
        self.conv_res1 = MPConv(hidden, out_channels, (3, 3), groups)
        self.attention = CosineAttention(out_channels, settings) if attention else None

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        # Main branch.
        x = resample(x, self.resample_mode)
        if self.flavor == "enc":
            if self.conv_skip is not None:
                x = self.conv_skip(x)
            x = normalize(x, dim=(1,))

        # Residual branch.
        y = self.conv_res0(mp_silu(x))
        if self.modulate is not None:
            y = y * self.modulate(emb)
        y = mp_dropout(mp_silu(y), self.settings.dropout, self.training)
        y = self.conv_res1(y)

        # Connect the branches.
        if self.flavor == "dec" and self.conv_skip is not None:
            x = self.conv_skip(x)
        x = mp_sum(x, y, self.settings.res_balance)
        if self.attention is not None:
            x = mp_sum(x, self.attention(x, emb), self.settings.attn_balance)
        return x.clamp(-self.settings.clip, self.settings.clip)
