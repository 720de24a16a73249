"""What the page reads of the files that the commands write."""

from __future__ import annotations

import csv
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from train.module_trainer import Demo as TrainingDemo
from train.reports.metrics import CSV_HEADER, MetricLog
from webui.learn import progress
from webui.learn.demos import Demos
from webui.learn.reading import Reading
from webui.models.curves import MOST_POINTS, Curves

STARTED = 1000.0


def demo(name: str, value: float = 0.5) -> TrainingDemo:
    audio = torch.full((2, 4000), value)
    return TrainingDemo(name, audio, 8000, {"spectrogram": np.zeros((8, 8, 3), np.uint8)})


def test_curves_grow_with_the_file_and_follow_a_step_back(tmp_path: Path) -> None:
    log = MetricLog(tmp_path, 0)
    log.scalars({"loss/total": 2.0, "gradient/norm": 1.0}, step=1, samples=8)
    curves = Curves(tmp_path / "metrics.csv")
    curves.read()
    assert curves.to_json() == {"loss": [(8, 2.0)], "validation": {}}
    log.scalars({"loss/total": 1.0}, step=2, samples=16)
    log.scalars({"validation/ema_0.100/loss": 1.5, "validation/raw/loss": 1.7}, step=2, samples=16)
    log.scalars({"validation/raw/loss_by_game/Castle": 9.0}, step=2, samples=16)
    curves.read()
    assert curves.samples == 16
    assert curves.to_json() == {
        "loss": [(8, 2.0), (16, 1.0)],
        "validation": {"ema_0.100": [(16, 1.5)], "raw": [(16, 1.7)]},
    }
    log.close()
    again = MetricLog(tmp_path, 8)  # a run that was killed goes on from its checkpoint
    again.scalars({"loss/total": 0.5}, step=2, samples=16)
    again.close()
    curves.read()
    assert curves.to_json()["loss"] == [(8, 2.0), (16, 0.5)]


def test_half_lines_numbers_that_are_none_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    curves = Curves(path)
    curves.read()
    assert curves.samples is None
    path.write_text(f"{','.join(CSV_HEADER)}\n1,8,loss/total,nan\n2,16,loss/total,1.5\nnonsense\n3,24,loss/to")
    curves.read()
    assert curves.to_json()["loss"] == [(16, 1.5)]
    with open(path, "a") as file:
        file.write("tal,1.0\n")
    curves.read()
    assert curves.to_json()["loss"] == [(16, 1.5), (24, 1.0)]


def test_long_curves_are_thinned(tmp_path: Path) -> None:
    with open(tmp_path / "metrics.csv", "w", newline="") as file:
        csv.writer(file).writerows([CSV_HEADER, *([n, n, "loss/total", n % 2] for n in range(10_000))])
    curves = Curves(tmp_path / "metrics.csv")
    curves.read()
    points = curves.to_json()["loss"]
    assert 200 < len(points) <= MOST_POINTS and points[-1][0] == 9999
    assert all(abs(value - 0.5) < 0.1 for _, value in points)


def test_demos_are_found_as_they_appear_and_can_be_heard(tmp_path: Path) -> None:
    demos = Demos(tmp_path)
    assert demos.read() == []
    log = MetricLog(tmp_path, 0)
    log.scalars({"loss/total": 2.0}, step=1, samples=8)
    log.demo(demo("Castle/cfg2"), 8)
    assert [(found.name, found.samples) for found in demos.read()] == [("Castle/cfg2", 8)]
    log.demo(demo("Cave/cfg2"), 16)
    found = demos.read()
    assert [(each.name, each.samples) for each in found] == [("Castle/cfg2", 8), ("Cave/cfg2", 16)]
    sound = demos.sound(found[1].id)
    assert sound is not None and sound.startswith(b"RIFF")
    assert demos.sound("1-2") is None and demos.sound("../../etc/passwd") is None
    log.close()


def test_demos_of_samples_that_were_lost_are_gone(tmp_path: Path) -> None:
    log = MetricLog(tmp_path, 0)
    for samples in (8, 16):
        log.demo(demo("Castle/cfg2"), samples)
    log.close()
    again = MetricLog(tmp_path, 8)
    again.demo(demo("Castle/cfg2", 0.1), 16)
    again.close()
    demos = Demos(tmp_path)
    found = demos.read()
    assert [each.samples for each in found] == [8, 16]
    assert found[1].file != found[0].file


def test_a_damaged_event_file_takes_no_other_with_it(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.0000000001.host").write_bytes(b"\xff" * 4000)
    log = MetricLog(tmp_path, 0)
    log.demo(demo("Castle/cfg2"), 8)
    log.close()
    assert [found.name for found in Demos(tmp_path).read()] == ["Castle/cfg2"]


def dataset_state(step: str, done: int, total: int) -> str:
    steps = ["scan", "convert", "split"]
    return json.dumps({"steps": steps, "step": step, "done": done, "total": total, "started": STARTED, "time": 0})


def test_progress_of_a_dataset_with_the_time_left(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    assert progress.of_dataset(path)["text"] == "looking at the files"
    path.write_text(dataset_state("convert", 10, 40))
    told = progress.of_dataset(path, now=STARTED + 20)
    assert told["left"] == pytest.approx(60)
    assert told["fraction"] == pytest.approx((1 + 0.25) / 3)
    assert [step["status"] for step in told["steps"]] == ["done", "running", "waiting"]
    path.write_text("{")
    assert progress.of_dataset(path)["fraction"] is None


LOG = """
$ python train.py a
train vae: 900/4800 samples  loss 0.5000  10.0 samples/s  20 s of audio/s  390 s left

$ python train.py a
vae: goes on at 400 samples
train vae: 480/4800 samples  loss 0.4000  8.0 samples/s  16 s of audio/s  540 s left
"""


def test_progress_of_a_training_is_that_of_its_last_command(tmp_path: Path) -> None:
    (tmp_path / "vae.log").write_text(LOG)
    (tmp_path / "config.json").write_text('{"total_samples": 4800}')
    told = progress.of_training(tmp_path / "vae.log", tmp_path, samples=520)
    assert told["samples"] == 520 and told["fraction"] == pytest.approx(520 / 4800)
    assert told["left"] == pytest.approx((4800 - 520) / 8)
    assert progress.of_training(tmp_path / "none", tmp_path / "none", None)["fraction"] is None


def test_the_line_is_the_one_that_the_training_prints(capsys: pytest.CaptureFixture[str]) -> None:
    from train.reports import progress_line

    with progress_line.TrainingProgress("vae", 0, 100, 1.0) as bar:
        bar._last_line -= 100
        bar.update(50, 0.25)
    assert progress.LINE.search(capsys.readouterr().out)


def test_pages_that_look_at_once_see_each_point_once(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "vae" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{n},{n},loss/total,1.0\n" for n in range(200)))
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # a switch of threads wherever there may be one
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(10):
                reading = Reading(SimpleNamespace(model=tmp_path))  # type: ignore[arg-type]
                told = list(pool.map(lambda _, reading=reading: reading.curves()["vae"], range(8)))
                assert {len(each["loss"]) for each in told} == {200}
    finally:
        sys.setswitchinterval(usual)
