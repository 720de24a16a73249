"""Products with banded matrices are those of dense ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dualdiffusion.dsp import banded
from dualdiffusion.dsp.banded import Banded
from dualdiffusion.formats.mel_spectrogram import MelSpectrogram


def filters(rows: int, columns: int, width: int, *, empty: int = 0) -> Tensor:
    """Triangles that move on from row to row; the last rows are 0."""
    centers = torch.linspace(0, columns - 1, rows - empty, dtype=torch.float64)
    triangles = (1 - (torch.arange(columns) - centers[:, None]).abs() / width).clamp(min=0)
    return torch.cat([triangles, triangles.new_zeros(empty, columns)])


@pytest.mark.parametrize(
    "matrix",
    [
        filters(256, 225, 5),
        filters(225, 256, 5),
        filters(256, 225, 5, empty=110),
        filters(7, 12, 2),  # too few for parts
        torch.zeros(64, 9, dtype=torch.float64),
        torch.rand(40, 30, dtype=torch.float64),  # nothing is saved
    ],
)
@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_a_product_is_that_of_the_dense_matrix(matrix: Tensor, lead: tuple[int, ...]) -> None:
    x = torch.rand(*lead, matrix.shape[1], dtype=torch.float64)
    product = Banded(matrix)(x)
    assert product.shape == (*lead, len(matrix))
    assert torch.allclose(product, x @ matrix.T, rtol=1e-12, atol=1e-12)


def test_a_part_of_a_larger_tensor_is_multiplied_like_a_whole_one() -> None:
    matrix, larger = filters(64, 20, 3), torch.rand(4, 5, 33, dtype=torch.float64)
    assert torch.allclose(Banded(matrix)(larger[:, 1:3, 7:27]), larger[:, 1:3, 7:27] @ matrix.T)


def test_most_of_a_spectrograms_filters_is_never_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = MelSpectrogram(MelSpectrogram.Config())._transform(10)
    multiplied = []
    mm = torch.mm
    monkeypatch.setattr(banded.torch, "mm", lambda a, b, out: (multiplied.append(b.numel()), mm(a, b, out=out)))
    transform.to_bands(torch.rand(1, 10, transform.filters.shape[1]))
    assert sum(multiplied) < transform.filters.numel() / 4
