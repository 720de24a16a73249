"""How networks take in what they are told: as further input channels, and those without convolutions as one vector.

Shapes: B batch, C channels, E length of the vector, F frequency rows, T time columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.nn.blocks import LabelEmbedding
from dualdiffusion.nn.magnitude_preserving import MPConv, MPFourier, mp_silu, mp_sum

NOISE_BANDWIDTH = 4.0
LABEL_SHARE = 0.5  # of the games, against the noise level
TOLD_SHARE = 0.3  # of what else is told, against both


class ToldVector(nn.Module):
    """Noise level, games and what is told beside them, as one vector of about unit magnitude.

    Its layers keep magnitudes: `project_gradients` and `normalize_weights` are for them.

    Args:
        label_dim: games; 0: none.
        channels: E, even.
        global_channels: of what else is told; 0: nothing.
    """

    def __init__(self, label_dim: int, channels: int, global_channels: int) -> None:
        super().__init__()
        self.global_channels = global_channels
        self.noise_features = MPFourier(channels, NOISE_BANDWIDTH)
        self.noise_embedding = MPConv(channels, channels, ())
        self.label_embedding = LabelEmbedding(label_dim, channels) if label_dim else None
        self.told_embedding = MPConv(global_channels, channels, ()) if global_channels else None

    def forward(self, c_noise: Tensor, conditioning: Conditioning) -> Tensor:
        """Noise levels (B,) and what is told -> (B, E)."""
        # The non-linearity comes once, after the sum: a mix of games must reach it as a mix.
        emb = self.noise_embedding(self.noise_features(c_noise))
        if self.label_embedding is not None:
            emb = mp_sum(emb, self.label_embedding(conditioning, emb), LABEL_SHARE)
        if self.told_embedding is not None:
            vector = conditioning.vector
            told = emb.new_zeros(len(emb), self.global_channels) if vector is None else vector.to(emb.dtype)
            emb = mp_sum(emb, self.told_embedding(told), TOLD_SHARE)
        return mp_silu(emb)


def with_told(x: Tensor, position: Tensor | None, conditioning: Conditioning, concat_channels: int) -> Tensor:
    """x (B, C, F, T), each row's log-frequency and what is told along time: (B, C + 1 + concat_channels, F, T).

    Args:
        position: (F,) log-frequency of each row; None is all 0.
    """
    rows = torch.zeros_like(x[:, :1])
    if position is not None:
        rows = rows + position.to(x.dtype)[:, None]
    return torch.cat([x, rows, *told_along_time(x, conditioning, concat_channels)], dim=1)


def told_along_time(x: Tensor, conditioning: Conditioning, concat_channels: int) -> list[Tensor]:
    """What is told beside x (B, C, F, T), mostly the same in all rows: nothing, or one tensor (B, channels, F, T)."""
    if not concat_channels:
        return []
    if conditioning.concat is None:  # untold
        return [x.new_zeros(len(x), concat_channels, *x.shape[2:])]
    concat = conditioning.concat.to(x.dtype)
    return [concat if concat.ndim == 4 else concat[:, :, None].expand(-1, -1, x.shape[2], -1)]
