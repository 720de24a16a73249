"""Crops of latents are read as slices: the same numbers as from the whole file, in whatever layout, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dualdiffusion.data import latent_crops
from dualdiffusion.data.latent_crops import CropReader, LatentsHeader, write_latents
from dualdiffusion.errors import UserError
from tests import tiny
from tests.benchmarks import data_loading


def write(path: Path, *, columns: int, seed: int = 0) -> Path:
    latents = torch.randn(3, 2, 4, columns, generator=torch.Generator().manual_seed(seed))
    write_latents(path, latents, LatentsHeader("a", "b", "c", ({},) * 3, (columns,) * 3))
    return path


@pytest.mark.parametrize("gap", [0, latent_crops.LARGEST_GAP], ids=["row by row", "at once"])
def test_crops_are_what_the_whole_file_holds_there_and_stay_so_when_the_next_one_is_read(
    gap: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent_crops, "LARGEST_GAP", gap)
    paths = [write(tmp_path / f"{i}.safetensors", columns=20 + 17 * i, seed=i) for i in range(3)]
    reader = CropReader()
    places = [(path, v, start, 8) for path in paths for v in range(3) for start in (0, 5, 12)] + [(paths[0], 2, 0, 20)]
    crops = [reader.read(*place) for place in places]
    for crop, (path, variation, start, columns) in zip(crops, places, strict=True):
        assert crop.dtype == torch.float32
        assert torch.equal(crop, load_file(path)["latents"][variation, :, :, start : start + columns].float())


def test_a_file_that_is_encoded_again_counts_from_the_next_crop_on(tmp_path: Path) -> None:
    path, reader = write(tmp_path / "x.safetensors", columns=20), CropReader()
    first = reader.read(path, 1, 3, 8)
    write(path, columns=40, seed=1)
    second = reader.read(path, 1, 3, 8)
    assert not torch.equal(first, second)
    assert torch.equal(second, load_file(path)["latents"][1, :, :, 3:11].float())


def test_files_that_are_missing_cut_off_or_too_short_are_one_line_with_the_remedy(tmp_path: Path) -> None:
    path, reader = write(tmp_path / "x.safetensors", columns=20), CropReader()
    with pytest.raises(UserError, match="no such file; encode again"):
        reader.read(tmp_path / "y.safetensors", 0, 0, 8)
    for variation, start in ((3, 0), (0, 13)):
        with pytest.raises(UserError, match=r"damaged latents .* encode again"):
            reader.read(path, variation, start, 8)
    content = path.read_bytes()
    for length in (0, 4, 60, len(content) - 8):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"damaged latents .* encode again"):
            reader.read(path, 2, 12, 8)


def test_the_benchmark_reads_the_same_crops_in_all_ways_and_says_what_training_needs(tmp_path: Path) -> None:
    data = data_loading.make_latents(tmp_path, tracks=3, columns=40, crop=8)
    crops = [[read(data, index) for index in range(6)] for read in data_loading.WAYS.values()]
    for same in zip(*crops, strict=True):
        assert all(torch.equal(crop, same[0]) for crop in same)
    figures = data_loading.measure_reading(data, samples=4)
    assert figures["ratio_to_whole_files"] > 0
    assert set(figures["milliseconds"]) == {
        f"{way}, {state}" for way in data_loading.WAYS for state in ("warm", "cold")
    }


def test_impossible_arguments_of_the_benchmark_are_one_line() -> None:
    tiny.assert_one_line_error(tiny.run("-m", "tests.benchmarks.data_loading", "--need", "0"), "--need")
