"""Rotary position embedding: attention that knows how far apart two positions are.

Su et al. 2021, "RoFormer", equation 34: pairs of channels of queries and keys are turned by an angle that grows with
the position, so that an inner product of two of them depends on the distance of their positions alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Of the slowest pair of channels, against the fastest, which turns by one radian a position.
SLOWEST = 1e-3
# Radians per unit of a format's log-frequency, whose rows have unit variance: an octave is about half a unit, and a
# semitone turns the fastest pair by about one radian.
ROW_SPEEDS = (32.0, 0.5)


def rotated(x: Tensor, position: Tensor) -> Tensor:
    """x (..., positions, channels), an even number of channels, turned by its `position` (positions,): same shape.

    Lengths are kept. The angles are computed in single precision, whatever the type of x.
    """
    pairs = x.shape[-1] // 2
    speed = SLOWEST ** (torch.arange(pairs, device=x.device) / max(1, pairs - 1))
    return turned(x, position.float()[:, None] * speed)


def turned(x: Tensor, angle: Tensor) -> Tensor:
    """x (..., positions, channels), turned by the angles (positions, channels / 2) of its pairs: same shape."""
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def axial_angles(rows: Tensor, columns: int, pairs: int) -> Tensor:
    """Angles of positions in a plane, row by row: (F * T, pairs). Half of the pairs tell rows, the others columns.

    Args:
        rows: (F,) log-frequency of each, at about unit variance: sound is told by interval, not by index.
        columns: T, told by their index.
        pairs: half as many as the channels of a head.
    """
    of_rows = pairs // 2
    by_row = row_angles(rows, of_rows)[:, None].expand(-1, columns, -1)
    by_column = column_angles(columns, pairs - of_rows, rows.device).expand(len(rows), -1, -1)
    return torch.cat([by_row, by_column], dim=-1).flatten(0, 1)


def row_angles(rows: Tensor, pairs: int) -> Tensor:
    """Angles of rows by their log-frequency (F,): (F, pairs)."""
    fast, slow = ROW_SPEEDS
    return rows.float()[:, None] * (fast * (slow / fast) ** _even_steps(pairs, rows.device))


def column_angles(columns: int, pairs: int, device: torch.device) -> Tensor:
    """Angles of positions along time, by their index: (T, pairs)."""
    speed = torch.exp(math.log(SLOWEST) * _even_steps(pairs, device))
    return torch.arange(columns, device=device, dtype=torch.float32)[:, None] * speed


def _even_steps(count: int, device: torch.device) -> Tensor:
    """From 0 to 1: (count,)."""
    return torch.arange(count, device=device, dtype=torch.float32) / max(1, count - 1)
