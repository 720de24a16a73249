"""Rotary position embedding: attention that knows how far apart two positions are.

Su et al. 2021, "RoFormer", equation 34: pairs of channels of queries and keys are turned by an angle that grows with
the position, so that an inner product of two of them depends on the distance of their positions alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Of the slowest pair of channels, against the fastest, which turns by one radian a position.
SLOWEST = 1e-3


def rotated(x: Tensor, position: Tensor) -> Tensor:
    """x (..., positions, channels), an even number of channels, turned by its `position` (positions,): same shape.

    Lengths are kept. The angles are computed in single precision, whatever the type of x.
    """
    pairs = x.shape[-1] // 2
    speed = SLOWEST ** (torch.arange(pairs, device=x.device) / max(1, pairs - 1))
    angle = position.float()[:, None] * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
