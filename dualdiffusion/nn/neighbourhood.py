"""Neighbourhood attention: every position sees a window of its own around it, exactly, in plain attention kernels.

Hassani et al. 2023, "Neighborhood Attention Transformer", equations 1 to 4: at an edge the window is moved inwards, so
that every position sees as many others. Queries are taken in tiles of 8 x 8. With a halo of half a window around it, a
tile sees all that its queries see, and a mask takes away what each of them does not. The cost is linear in the number
of positions: of a window of 7 x 7, four times the pairs that count.

The first tile begins some positions before the first position, so that neither the first nor the last tile holds so few
that a window which is moved inwards reaches beyond the halo: see `_first`.

Shapes: B batch, H heads, F rows, T columns, W channels per head, S tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8
LARGEST = 7
"""The largest window: the halo of a tile must be less than half of it."""


@dataclass(frozen=True)
class Window:
    """The windows of all positions of a plane: make one with `window`, for all layers on this plane.

    Attributes:
        rows, columns: F and T.
        kernel: rows and columns of a window, odd, and at most `LARGEST`.
        mask: (S, 1, queries of a tile, keys of a tile) bool, what each query sees.
    """

    rows: int
    columns: int
    kernel: tuple[int, int]
    mask: Tensor


def window(rows: int, columns: int, kernel: tuple[int, int], device: torch.device) -> Window:
    """The windows of a plane of `rows` and `columns`; where it is smaller than a window, all of it is seen."""
    of_rows, of_columns = (_seen(n, k, device) for n, k in zip((rows, columns), kernel, strict=True))
    # (row tiles, column tiles, query rows, query columns, key rows, key columns)
    mask = of_rows[:, None, :, None, :, None] & of_columns[None, :, None, :, None, :]
    return Window(rows, columns, kernel, mask.flatten(4, 5).flatten(2, 3).flatten(0, 1)[:, None])


def neighbourhood_attention(q: Tensor, k: Tensor, v: Tensor, window: Window) -> Tensor:
    """Attention of every position to those in its window: (B, H, F T, W) each -> the same shape."""
    batch, heads, _, width = q.shape
    q, k, v = (x.unflatten(2, (window.rows, window.columns)) for x in (q, k, v))
    # All tiles as one batch, and the heads of all samples beside one another: so one mask holds for all of them.
    y = F.scaled_dot_product_attention(
        _tiles(q, window, halo=False), _tiles(k, window), _tiles(v, window), attn_mask=window.mask
    )
    sizes = [_tile(kernel) for kernel in window.kernel]
    counts = [_count(n, kernel) for n, kernel in zip((window.rows, window.columns), window.kernel, strict=True)]
    y = y.reshape(*counts, batch, heads, *sizes, width).permute(2, 3, 0, 4, 1, 5, 6)
    y = y.reshape(batch, heads, counts[0] * sizes[0], counts[1] * sizes[1], width)
    top, left = _first(window.rows, window.kernel[0]), _first(window.columns, window.kernel[1])
    return y[:, :, top : top + window.rows, left : left + window.columns].flatten(2, 3)


def _tiles(x: Tensor, window: Window, *, halo: bool = True) -> Tensor:
    """(B, H, F, T, W) -> (S, B H, positions of a tile, W)."""
    padding = []
    for length, kernel in zip((window.rows, window.columns), window.kernel, strict=True):
        around = kernel // 2 if halo else 0
        before = _first(length, kernel)
        padding.append((before + around, _count(length, kernel) * _tile(kernel) - before - length + around))
    x = F.pad(x, (0, 0, *padding[1], *padding[0]))
    for axis, kernel in zip((2, 3), window.kernel, strict=True):
        x = x.unfold(axis, _tile(kernel) + 2 * (kernel // 2 if halo else 0), _tile(kernel))
    # (B, H, row tiles, column tiles, W, rows, columns)
    return x.permute(2, 3, 0, 1, 5, 6, 4).flatten(4, 5).flatten(2, 3).flatten(0, 1)


def _tile(kernel: int) -> int:
    """Positions of a tile along an axis; along one on which positions see themselves alone, tiles would be waste."""
    return TILE if kernel > 1 else 1


def _first(length: int, kernel: int) -> int:
    """How many positions the first tile begins before the first position.

    A window that is moved inwards at the last position reaches kernel - 1 before it, and the halo kernel // 2 before
    the tile: the last tile needs kernel // 2 + 1 positions, and so does the first.
    """
    rest, halo = length % TILE, kernel // 2
    return TILE - 1 - halo if kernel > 1 and 0 < rest <= halo else 0


def _count(length: int, kernel: int) -> int:
    """Tiles along an axis."""
    return -(-(length + _first(length, kernel)) // _tile(kernel))


def _seen(length: int, kernel: int, device: torch.device) -> Tensor:
    """Along one axis, what each query of each tile sees: (tiles, queries, keys) bool."""
    tile, halo = _tile(kernel), kernel // 2
    start = torch.arange(_count(length, kernel), device=device)[:, None] * tile - _first(length, kernel)
    # Queries in the padding see what the nearest position sees: attention to nothing would not be a number.
    query = (start + torch.arange(tile, device=device)).clamp(0, length - 1)[..., None]
    key = (start - halo + torch.arange(tile + 2 * halo, device=device))[:, None]
    first = (query - halo).clamp(0, max(0, length - kernel))
    return (key >= first) & (key < first + kernel) & (key < length)
