"""Going on: bit-exactly with everything that has a state, soundly after a change, and alike with several processes."""

from __future__ import annotations

import functools
import json
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dualdiffusion.files import read_jsonl, write_jsonl
from dualdiffusion.model.folder import ModelFolder
from tests.train import forked
from tests.train.checkpoints.test_faults import BATCH, checkpoints, everything, interrupt, write_config
from tests.train.checkpoints.test_growing_labels import more_games
from tests.train.test_training import assert_equal, fresh_model, scalars
from train.checkpoints.changes import dataset_differences
from train.checkpoints.checkpoint import samples_of
from train.module_trainer import StepOutput
from train.reports.metrics import MetricAverages, StepMetrics, merged

pytestmark = pytest.mark.timeout(900)  # each starts the command several times, also on a busy machine
STATEFUL = {
    "total_samples": 48,
    "batch_size": 4,
    "micro_batch_size": 2,
    "num_workers": 2,
    "log_every_samples": 8,
    "checkpoint": {"every_samples": 8},
    "validation": {"every_samples": 24, "samples": 4, "batch_size": 4},
    "ema_stds": [0.05, 0.1],
    "ema_snapshots": {"stds": [0.1, 0.2], "every_samples": 12},
    "optimizer": {"learning_rate": 0.01, "gradient_noise": {}},
}


def stateful_config(path: Path, model: Path, dataset: Path, **changes: object) -> Path:
    write_config(path, model, dataset, **{**STATEFUL, **changes})
    config = json.loads(path.read_text())
    config["module_trainer"]["sigma"] = {"distribution": "adaptive", "warmup_samples": 8, "update_samples": 8}
    path.write_text(json.dumps(config))
    return path


def test_everything_with_a_state_goes_on_bit_exactly_after_a_kill_and_a_signal(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    """Accumulation, several averages, snapshots, an adaptive density past its warm-up, gradient noise, two workers.

    The straight run reads its data itself, so that the number of workers is seen to change nothing as well.
    """
    straight = fresh_model(model, tmp_path / "straight", "unet")
    config = stateful_config(tmp_path / "straight.json", straight, dataset, num_workers=0)
    result = forked.run(config, tmp_path / "log")
    assert result.code == 0, result.output

    path = fresh_model(model, tmp_path / "model", "unet")
    config = stateful_config(tmp_path / "train.json", path, dataset)
    for number, samples, code, saved in (
        (signal.SIGKILL, 20, -signal.SIGKILL, 16),
        (signal.SIGTERM, 32, 128 + signal.SIGTERM, 36),
    ):
        fault = functools.partial(interrupt, number, samples=samples)
        result = forked.run(config, tmp_path / "log", fault=fault)
        assert result.code == code, result.output
        assert samples_of(checkpoints(path)[0]) == saved
    result = forked.run(config, tmp_path / "log")
    assert result.code == 0, result.output
    expected, ours = everything(straight), everything(path)
    assert_equal(expected, ours)
    names = set(expected)
    for part in (
        "ema_0.050",
        "ema_0.200",
        "ema_snapshots/",
        "module_trainer.safetensors/cdf",
        "optimizer/0/exp_avg_sq",
    ):
        assert any(part in name for name in names), part


@pytest.fixture(scope="module")
def stopped(model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a training that was stopped after three steps."""
    folder = tmp_path_factory.mktemp("stopped")
    path = fresh_model(model, folder / "model", "unet")
    result = forked.run(write_config(folder / "c.json", path, dataset), folder / "log", f"total_samples={3 * BATCH}")
    assert result.code == 0, result.output
    return path


@pytest.fixture
def again(stopped: Path, dataset: Path, tmp_path: Path) -> Path:
    """The config of a copy of it, in `tmp_path / "model"`."""
    shutil.copytree(stopped, tmp_path / "model")
    return write_config(tmp_path / "train.json", tmp_path / "model", dataset)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["batch_size=4", "micro_batch_size=4"], ["batch_size: 2, now 4", "micro_batch_size: 2, now 4"]),
        (["batch_size=1", "micro_batch_size=1"], ["batch_size: 2, now 1"]),
        (["micro_batch_size=1"], ["micro_batch_size: 2, now 1"]),
        (["seed=5"], ["seed: 0, now 5"]),
        (["ema_stds=[0.05]"], ["ema_stds: [0.1], now [0.05]"]),
        (["optimizer.learning_rate=0.002"], ["optimizer.learning_rate: 0.01, now 0.002"]),
    ],
)
def test_a_changed_setting_is_told_and_training_goes_on_to_its_end(
    overrides: Sequence[str], told: Sequence[str], again: Path, tmp_path: Path
) -> None:
    result = forked.run(again, tmp_path / "log", *overrides)
    assert result.code == 0, result.output
    for difference in told:
        assert f"unet: changed since the last run: {difference}" in result.lines
    assert f"going on from sample {3 * BATCH} of {6 * BATCH}" in result.output
    # The larger batch begins at a sample that it does not divide, and ends at the first multiple past the end.
    last = samples_of(checkpoints(tmp_path / "model")[0])
    size = {"batch_size=4": 4, "batch_size=1": 1}.get(overrides[0], BATCH)
    assert last == (14 if size == 4 else 12)
    losses = scalars(tmp_path / "model" / "runs" / "unet")["loss/total"]
    assert losses[-1][0] == 3 + -(-3 * BATCH // size)  # steps count updates, whatever their size was
    assert all(bool(tensor.isfinite().all()) for tensor in everything(tmp_path / "model").values())


def test_another_optimizer_or_an_average_that_training_began_without_is_refused(again: Path, tmp_path: Path) -> None:
    for override, words in (
        ("optimizer.type=Adam", "is of AdamW, not Adam; keep it"),
        ("ema_stds=[0.2]", "has no ema_0.200; keep ema_stds as they were"),
    ):
        result = forked.run(again, tmp_path / "log", override)
        assert result.code == 2
        assert result.lines[-1].startswith("error: ")
        assert words in result.lines[-1]


def test_a_dataset_that_grew_is_told_and_trained_on(again: Path, dataset: Path, tmp_path: Path) -> None:
    larger = more_games(dataset, tmp_path / "larger")
    result = forked.run(again, tmp_path / "log", f"dataset={larger}", "total_samples=14")
    assert result.code == 0, result.output
    assert "unet: changed since the last run: dataset: 6 tracks, now 8: 2 added" in result.lines
    assert "Harbour" in result.output


def test_a_dataset_that_lost_a_track_is_told_and_trained_on(again: Path, dataset: Path, tmp_path: Path) -> None:
    smaller = tmp_path / "smaller"
    shutil.copytree(dataset, smaller)
    write_jsonl(smaller / "train.jsonl", read_jsonl(smaller / "train.jsonl")[1:])
    result = forked.run(again, tmp_path / "log", f"dataset={smaller}")
    assert result.code == 0, result.output
    assert "unet: changed since the last run: dataset: 6 tracks, now 5: 1 removed" in result.lines


def test_a_dataset_whose_games_have_other_ids_is_refused(again: Path, dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    info = json.loads((other / "dataset_info.json").read_text())
    info["games"] = [{**game, "id": game["id"] - 1} for game in info["games"][1:]]  # the first was removed
    (other / "dataset_info.json").write_text(json.dumps(info))
    result = forked.run(again, tmp_path / "log", f"dataset={other}")
    assert result.code == 2
    assert "game 'Cave' has id 0, but" in result.lines[-1]


def test_latents_of_another_vae_are_told() -> None:
    tracks = {"a": 1.0, "b": 2.0}
    same = {"vae": "0" * 16, "tracks": tracks}
    assert dataset_differences(same, same) == []
    (line,) = dataset_differences(same, {"vae": "1" * 16, "tracks": tracks})
    assert line.startswith(f"latents: of VAE {'0' * 16}, now of {'1' * 16}")
    (line,) = dataset_differences(same, {"vae": "0" * 16, "tracks": {"a": 1.0, "b": 3.0, "c": 1.0}})
    assert line == "dataset: 2 tracks, now 3: 1 added, 1 of another length"


# Several processes.


def test_metrics_of_several_processes_merge_to_those_of_one() -> None:
    """Also where a range of noise levels is empty in one of them, and where they hold different numbers of values."""
    values = torch.arange(6.0)
    outputs = [
        StepOutput(part, part, {"loss/total": part, "loss_by_sigma/low": part[part < 2], "histogram/x": part})
        for part in (values[:2], values[2:5], values[5:])
    ]
    processes = [StepMetrics() for _ in outputs]
    for process, output in zip(processes, outputs, strict=True):
        process.note([output.metrics])
    alone = StepMetrics()
    alone.note([output.metrics for output in outputs])
    averages, distributions = merged([process.take() for process in processes])
    assert averages == merged([alone.take()])[0] == {"loss/total": 2.5, "loss_by_sigma/low": 0.5}
    assert distributions["histogram/x"].tolist() == values.tolist()
    assert merged([process.take() for process in processes]) == ({}, {})
    assert MetricAverages().take() == {}


def histogram(run: Path) -> list[tuple[int, float, list[float], list[float]]]:
    """ln(sigma) of all updates of a run: sample number, how many values, and the bins."""
    events = EventAccumulator(str(run), size_guidance={"histograms": 0})
    events.Reload()
    found = [(event.step, event.histogram_value) for event in events.Histograms("histogram/ln_sigma")]
    return [(step, h.num, list(h.bucket_limit), list(h.bucket)) for step, h in found]


def test_two_processes_log_what_one_logs_and_log_it_once(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    """The global batch's losses and noise levels, and not the share of the main process."""
    changes = {"batch_size": 4, "micro_batch_size": 2, "total_samples": 16, "log_every_samples": 4}
    dropout = "module_trainer.denoiser.backbone.dropout=0"
    one, two = (fresh_model(model, tmp_path / name, "unet") for name in ("one", "two"))
    alone = forked.run(write_config(tmp_path / "1.json", one, dataset, **changes), tmp_path / "log", dropout)
    assert alone.code == 0, alone.output
    config = write_config(tmp_path / "2.json", two, dataset, **{**changes, "micro_batch_size": 1})
    results = forked.run_together(config, tmp_path / "log", dropout, processes=2)
    assert [result.code for result in results] == [0, 0], [result.output for result in results]

    expected, ours = (scalars(path / "runs" / "unet") for path in (one, two))
    for log in (expected, ours):
        log.pop("train/gradient_noise_scale", None)  # on one device only
    assert expected.keys() == ours.keys()
    assert {"loss/total", "gradient/norm", "learning_rate"} <= ours.keys()
    for name, rows in expected.items():
        assert [step for step, _ in ours[name]] == [step for step, _ in rows], name
        values = [[value for _, value in log[name]] for log in (expected, ours)]
        assert values[1] == pytest.approx(values[0], rel=1e-5 if name != "gradient/norm" else 1e-4), name
    levels = [histogram(path / "runs" / "unet") for path in (one, two)]
    assert levels[0] == levels[1]
    assert [count for _, count, *_ in levels[1]] == [4, 4, 4, 4]
    assert len(list((two / "runs" / "unet").glob("events.*"))) == 1
    told = "".join(result.output for result in results)
    assert told.count("unet: 2 processes share each batch") == 1
    assert told.count("unet: trained on 16 samples") == 1
