"""What the edm2-style UNet and VAE are built of: two residual blocks, and how they are told the game and noise level.

Both follow configuration G of Karras et al. 2023 (figure 21 and appendix B), with our changes: grouped wide layers,
modulated attention, variance-preserving dropout. Shapes: B batch, C channels, E conditioning, F frequency, T time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning, Tokens
from dualdiffusion.nn.magnitude_preserving import (
    MPConv,
    mp_cat_factors,
    mp_dropout,
    mp_silu,
    mp_sum,
    unit_magnitude,
)
from dualdiffusion.nn.rotary import axial_angles, rotated, row_angles, turned


@dataclass(frozen=True)
class BlockSettings:
    """What all blocks of a network have in common."""

    emb_channels: int  # E, length of the conditioning vector; 0: not conditioned
    channels_per_head: int = 64
    dropout: float = 0.0
    res_balance: float = 0.3  # share of the residual branch
    attn_balance: float = 0.3  # share of the attention branch
    concat_balance: float = 0.5  # share of the skip connection in a decoder block's input
    mlp_multiplier: int = 2  # width of the layers around the non-linearity
    mlp_groups: int = 8  # groups of these layers: wider at the same cost
    clip: float = 256.0  # activations are clipped to +-clip, for half precision
    rotary: bool = False  # attention is told how far apart two columns are
    row_position: bool = False  # attention is told how far apart two rows are, in log-frequency
    attention_axes: Literal["joint", "alternate"] = "joint"  # see CosineAttention
    cross_channels: int = 0  # attention sees tokens of this length too
    pixel_norm: bool = False  # magnitudes are kept at any depth and to the edges: see Block and edge_gain


class LabelEmbedding(nn.Module):
    """Mixes of games as unit-magnitude vectors: (B, label_dim) -> (B, E), linear in the mix.

    "No label" is one more label with a vector of its own, which is trained by dropping labels. A dropped label keeps
    the expected magnitude, and the unconditional model is trained as truly as every game.

    Other parts of a model may know more games, or fewer. Of a mix with games that this embedding does not know, the
    others remain, at the length of the whole mix; without any game that it knows, the mix is "no label" too.
    """

    label_columns: ClassVar[Sequence[str]] = ("vectors.weight",)  # where room for new games is made: see label_growth

    def __init__(self, label_dim: int, emb_channels: int) -> None:
        super().__init__()
        self.label_dim = label_dim
        self.vectors = MPConv(label_dim + 1, emb_channels, ())

    def forward(self, conditioning: Conditioning, like: Tensor) -> Tensor:
        """`like` (B, ...) gives batch size, device and type."""
        batch, labels, kept = len(like), conditioning.labels, conditioning.labels_kept
        if labels is None:
            labels, kept = like.new_zeros(batch, self.label_dim), like.new_zeros(batch)
        labels = _known(labels.to(like.dtype), self.label_dim)
        told = labels.any(dim=1) if kept is None else labels.any(dim=1) & (kept > 0)
        kept = told.to(like.dtype)
        mix = torch.cat([labels * kept[:, None], 1 - kept[:, None]], dim=1)
        # A one-hot row has magnitude 1 / sqrt(its length); the layer expects 1.
        return self.vectors(mix * math.sqrt(mix.shape[1]))


def _known(labels: Tensor, label_dim: int) -> Tensor:
    """Mixes (B, games) of the first `label_dim` games alone, each of its old length where it has any of them."""
    if labels.shape[1] <= label_dim:
        return F.pad(labels, (0, label_dim - labels.shape[1]))
    known = labels[:, :label_dim]
    # A shorter row would be a weaker game than any that the network was trained on.
    share = known.norm(dim=1, keepdim=True) / labels.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return torch.where(share > 0, known / share.clamp(min=1e-12), 0)


class Modulation(nn.Module):
    """Per-channel gain from the conditioning vector, 1 at initialisation: (B, E) -> (B, C, 1, 1)."""

    def __init__(self, emb_channels: int, channels: int) -> None:
        super().__init__()
        self.linear = MPConv(emb_channels, channels, ())
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, emb: Tensor) -> Tensor:
        """(B, E) -> (B, C, 1, 1)."""
        return (self.linear(emb, gain=self.gain) + 1)[:, :, None, None]


class CosineAttention(nn.Module):
    """Self-attention over all positions of (B, C, F, T), with q, k, v and the output of unit magnitude.

    The common input of q, k and v is modulated by the conditioning vector where there is one.

    An average of the values of N unrelated positions has a magnitude of about sqrt(e / N) at initialisation, when the
    logits are unit normal, and of 1 where the positions agree. As neither the data nor the stage of training says
    which, no constant can correct it, so each position is brought back to unit magnitude over all heads together. A
    head that averages unrelated positions still counts less than one that has found what it looks for. (A gain of
    the branch that starts at zero would keep magnitudes only as long as it is zero.)

    With `settings.rotary`, how much two columns see of each other depends on the time between them too: what sounds
    now is told by what sounded a beat ago.

    With `settings.row_position`, it depends on the interval between two rows as well.

    With `settings.attention_axes` "alternate", each position looks along its column first, and then, at what all have
    found so, along its row: at F + T positions in place of F T. With one row that is the same.

    With `settings.cross_channels`, each position also looks at tokens that are told, which have no place in time: what
    it finds there is added to what it finds in the others, by a gain that starts at 0.
    """

    def __init__(self, channels: int, settings: BlockSettings) -> None:
        super().__init__()
        self.heads = max(1, channels // settings.channels_per_head)
        self.rotary, self.row_position = settings.rotary, settings.row_position
        self.alternates = settings.attention_axes == "alternate"
        if channels % self.heads:
            raise ValueError(f"{channels} channels do not divide into {self.heads} attention heads")
        self.qkv = MPConv(channels, channels * 3, (1, 1))
        self.out = MPConv(channels, channels, (1, 1))
        self.modulate = Modulation(settings.emb_channels, channels) if settings.emb_channels else None
        self.kv_told = MPConv(settings.cross_channels, channels * 2, ()) if settings.cross_channels else None
        self.told_gain = nn.Parameter(torch.zeros(())) if settings.cross_channels else None

    def forward(
        self, x: Tensor, emb: Tensor | None, tokens: Tokens | None = None, rows: Tensor | None = None
    ) -> Tensor:
        """x (B, C, F, T), emb (B, E) or None, log-frequency of rows (F,) -> (B, C, F, T), of unit magnitude."""
        batch, channels, *space = x.shape
        qkv = self.qkv(x, modulation=None if self.modulate is None else self.modulate(emb))
        # Each (B, heads, positions, channels per head).
        qkv = qkv.reshape(batch, 3, self.heads, channels // self.heads, -1).transpose(-1, -2)
        # Cosine attention: with q and k of unit magnitude no logit can grow beyond the root of a head's width.
        q, k, v = unit_magnitude(qkv, -1).unbind(1)
        told = None if tokens is None or self.kv_told is None else self._look_at(tokens, q)
        if self.row_position:
            angle = self._angles(x.new_zeros(space[0]) if rows is None else rows, space[1], q.shape[-1] // 2)
            q, k = turned(q, angle), turned(k, angle)
        elif self.rotary:
            time = torch.arange(space[1], device=x.device).repeat(space[0])
            q, k = rotated(q, time), rotated(k, time)
        both = self.alternates and space[0] > 1
        y = _along_both(q, k, v, space[0]) if both else F.scaled_dot_product_attention(q, k, v)
        y = y if told is None else y + self.told_gain * told
        y = y.transpose(-1, -2).reshape(batch, channels, *space)
        return self.out(unit_magnitude(y, 1))

    def _angles(self, rows: Tensor, columns: int, pairs: int) -> Tensor:
        if self.rotary:
            return axial_angles(rows, columns, pairs)
        return row_angles(rows, pairs).repeat_interleave(columns, dim=0)

    def _look_at(self, tokens: Tokens, q: Tensor) -> Tensor:
        """What queries (B, heads, positions, W) find in the tokens that hold: same shape."""
        batch, heads, _, width = q.shape
        kv = self.kv_told(tokens.values.to(q.dtype).flatten(0, 1)).reshape(batch, -1, 2, heads, width)
        k, v = unit_magnitude(kv, -1).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=tokens.mask[:, None, None])


def _along_both(q: Tensor, k: Tensor, v: Tensor, rows: int) -> Tensor:
    """Attention along columns, and of what that gives along rows: (B, H, F T, W) each -> the same shape."""
    heads = q.shape[1]
    q, k, v = (x.unflatten(2, (rows, -1)) for x in (q, k, v))

    def attended(*parts: Tensor) -> Tensor:  # along the last axis but one of (B, H, n, m, W)
        return F.scaled_dot_product_attention(*(x.flatten(1, 2) for x in parts)).unflatten(1, (heads, -1))

    v = attended(*(x.transpose(2, 3) for x in (q, k, v))).transpose(2, 3)
    return attended(q, k, v).flatten(2, 3)


class ResidualBranch(nn.Module):
    """SiLU, wide layer, modulation, SiLU, dropout, narrow layer: (B, C_in, F, T) -> (B, C_out, F, T)."""

    def __init__(self, in_channels: int, out_channels: int, settings: BlockSettings) -> None:
        super().__init__()
        hidden = out_channels * settings.mlp_multiplier
        self.dropout = settings.dropout
        self.widen = MPConv(in_channels, hidden, (3, 3), settings.mlp_groups, settings.pixel_norm)
        self.modulate = Modulation(settings.emb_channels, hidden) if settings.emb_channels else None
        self.narrow = MPConv(hidden, out_channels, (3, 3), settings.mlp_groups, settings.pixel_norm)

    def forward(self, x: Tensor, emb: Tensor | None, **joined: Tensor) -> Tensor:
        """`joined`: `skip` and `modulation` of the first layer, see MPConv."""
        x = self.widen(x, silu=True, **joined)
        modulation = None if self.modulate is None else self.modulate(emb)
        if self.dropout == 0 or not self.training:
            return self.narrow(x, modulation=modulation, silu=True)
        # Dropout stands between SiLU and convolution, which the recomputing convolution has no place for.
        x = mp_silu(x if modulation is None else x * modulation)
        return self.narrow(mp_dropout(x, self.dropout, training=True))


class Block(nn.Module):
    """What encoder and decoder blocks share: a residual branch, and attention where asked.

    With `pixel_norm`, every pixel of the output is brought to unit magnitude. The paper does that at the start of
    encoder blocks alone. But mp_silu makes what is larger than 1 larger still and what is smaller smaller, so that
    magnitudes drift away from 1: over 24 decoder blocks, to between 0.2 on latents of two rows and 1.4 on 16 x 16.
    """

    def __init__(self, in_channels: int, out_channels: int, settings: BlockSettings, attention: bool = False) -> None:
        super().__init__()
        self.settings = settings
        self.project = MPConv(in_channels, out_channels, (1, 1)) if in_channels != out_channels else nn.Identity()
        self.attention = CosineAttention(out_channels, settings) if attention else None

    def _attend(self, x: Tensor, emb: Tensor | None, tokens: Tokens | None, rows: Tensor | None) -> Tensor:
        if self.attention is not None:
            x = mp_sum(x, self.attention(x, emb, tokens, rows), self.settings.attn_balance)
        if self.settings.pixel_norm:
            return unit_magnitude(x, 1)
        return x.clamp(-self.settings.clip, self.settings.clip)


class EncoderBlock(Block):
    """Changes the width first, and brings every pixel back to unit magnitude: (B, C_in, F, T) -> (B, C_out, F, T)."""

    def __init__(self, in_channels: int, out_channels: int, settings: BlockSettings, attention: bool = False) -> None:
        super().__init__(in_channels, out_channels, settings, attention)
        self.residual = ResidualBranch(out_channels, out_channels, settings)

    def forward(
        self, x: Tensor, emb: Tensor | None = None, tokens: Tokens | None = None, rows: Tensor | None = None
    ) -> Tensor:
        """x (B, C_in, F, T), emb (B, E) or None, log-frequency of rows (F,) -> (B, C_out, F, T)."""
        x = unit_magnitude(self.project(x), 1)
        return self._attend(mp_sum(x, self.residual(x, emb), self.settings.res_balance), emb, tokens, rows)


class DecoderBlock(Block):
    """Changes the width last, so that the residual branch sees all of its input, skip connections included."""

    def __init__(self, in_channels: int, out_channels: int, settings: BlockSettings, attention: bool = False) -> None:
        super().__init__(in_channels, out_channels, settings, attention)
        self.residual = ResidualBranch(in_channels, out_channels, settings)

    def forward(
        self,
        x: Tensor,
        emb: Tensor | None = None,
        skip: Tensor | None = None,
        tokens: Tokens | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """With `skip`, the input is mp_cat(x, skip), of which the backward pass needs no copy."""
        joined = {}
        if skip is not None:
            joined = {"skip": skip, "modulation": mp_cat_factors(x, skip, self.settings.concat_balance)}
        residual = self.residual(x, emb, **joined)
        return self._attend(mp_sum(self.project(x, **joined), residual, self.settings.res_balance), emb, tokens, rows)
