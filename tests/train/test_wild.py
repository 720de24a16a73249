"""Cases of `tests/WILD.md` that concern training: what other people's machines did to their runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import Dataset

from dualdiffusion.data.audio_crops import Crop
from dualdiffusion.model.folder import ModelFolder
from tests.train.memory.test_preflight import make_config
from train.data.loader import build_loader
from train.module_trainers.unet import UNetTrainer
from train.reports import events
from train.reports.metrics import MetricLog
from train.startup.launch import launch


def test_a_clock_that_was_set_back_does_not_turn_the_curves_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard reads event files in the order of the seconds in their names, and follows the last one."""
    for clock, first, last in ((1_800_000_000, 1, 5), (1_799_996_400, 3, 7), (1_799_996_400, 7, 8)):
        monkeypatch.setattr(events.time, "time_ns", lambda clock=clock: clock * 10**9)
        log = MetricLog(tmp_path, samples=first - 1)
        for sample in range(first, last + 1):
            log.scalars({"loss": float(first)}, step=sample, samples=sample)
        log.close()
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert [(point.step, point.value) for point in read.Scalars("loss")] == [
        (1, 1), (2, 1), (3, 3), (4, 3), (5, 3), (6, 3), (7, 7), (8, 7),
    ]  # fmt: skip


def test_a_run_outlives_a_validation_and_demos_for_which_there_is_no_memory(
    model: ModelFolder,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Other programs on the same GPU may have taken it since the run began; what training needs, it has already."""
    whole = make_config("unet", model, dataset, tmp_path / "whole", total_samples=24)
    small = make_config("unet", model, dataset, tmp_path / "small", total_samples=24, demo_every_samples=24)
    assert launch(whole, wait=False) == 0
    step, sizes = UNetTrainer.step, []

    def no_room_for_more_than_one(self: UNetTrainer, batch: object, *, generator: object) -> object:
        if not self.module.training:
            sizes.append(len(batch.indices))
            if sizes[-1] > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 8 GiB.")
        return step(self, batch, generator=generator)

    def no_room(self: UNetTrainer) -> list[object]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.00 GiB.")

    monkeypatch.setattr(UNetTrainer, "step", no_room_for_more_than_one)
    monkeypatch.setattr(UNetTrainer, "demos", no_room)
    assert launch(small, wait=False) == 0
    told = capsys.readouterr().err
    assert "Tried to allocate 2.00 GiB); going on with batches of 2" in told and "with batches of 1" in told
    assert "demos: out of memory (CUDA out of memory. Tried to allocate 4.00 GiB" in told
    assert sizes[:3] == [4, 2, 1] and set(sizes[3:]) == {1}  # what was too much once is not tried again
    losses = [_validation_losses(tmp_path / name / "model/runs/unet/metrics.csv") for name in ("whole", "small")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0]


def _validation_losses(path: Path) -> dict[str, float]:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    return {f"{row[1]} {row[2]}": float(row[3]) for row in rows if row[2].endswith("/loss")}


class Ramp(Dataset[Crop]):
    """Crops that tell their number."""

    def __getitem__(self, index: int) -> Crop:
        return Crop(torch.full((1, 4), float(index)), 0, index)


def test_batches_arrive_where_the_folder_for_temporary_files_has_a_long_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Queues of clusters have such folders: the sockets in which processes hand memory to one another find no room."""
    folder = tmp_path / ("job-" + 80 * "x")
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    loader = build_loader(Ramp(), first=0, batch_size=2, micro_batch_size=2, rank=0, processes=1, workers=1)
    assert [next(loader).data[:, 0, 0].tolist() for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]
    assert "a shorter TMPDIR mends that" in capsys.readouterr().err
