"""Products with banded matrices: those of filters, each of which weighs a few neighbouring bins."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

BLOCKS, FEWEST_ROWS = 8, 16
"""A matrix is taken in so many parts, of at least so many rows; more would cost as much in calls as they save."""


class Banded:
    """x -> x @ matrix.T, for a matrix whose rows are 0 but for neighbouring columns, which move on from row to row.

    A few rows at a time are multiplied with the columns that they have: of a spectrogram's filters, a dense product
    would be nine tenths zeros. On a GPU, where one large product is quicker than some small ones, it stays dense.

    Args:
        matrix: (R, C).
    """

    def __init__(self, matrix: Tensor) -> None:
        self.rows = len(matrix)
        count = 1 if matrix.is_cuda else max(1, min(BLOCKS, self.rows // FEWEST_ROWS))
        edges = [round(self.rows * part / count) for part in range(count + 1)]
        self._blocks = [(slice(start, end), *_columns(matrix[start:end])) for start, end in pairwise(edges)]

    def __call__(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., R)."""
        out = x.new_empty(*x.shape[:-1], self.rows)
        flat_x, flat_out = x.reshape(-1, x.shape[-1]), out.view(-1, self.rows)
        for rows, columns, block in self._blocks:
            torch.mm(flat_x[:, columns], block, out=flat_out[:, rows])
        return out


def _columns(rows: Tensor) -> tuple[slice, Tensor]:
    """The columns of some rows that are not all 0, and what stands there, transposed."""
    if rows.is_cuda:
        return slice(None), rows.T.contiguous()
    used = rows.any(dim=0).nonzero()
    columns = slice(int(used.min()), int(used.max()) + 1) if len(used) else slice(0, 0)
    return columns, rows[:, columns].T.contiguous()
