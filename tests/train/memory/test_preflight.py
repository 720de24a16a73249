"""Predicted memory is what is measured; `--auto-batch` takes what fits and changes no result; no memory is one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dualdiffusion.config import load_config
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module
from tests import tiny
from tests.benchmarks.memory import measure
from tests.train.test_training import fresh_model, scalars
from train.checkpoints.checkpoint import damage
from train.memory.auto_batch import (
    available_memory,
    choose_micro_batch,
    fits,
    remedies,
    warn_if_too_large,
    with_micro_batch,
)
from train.memory.preflight import MemoryTracker, predict, validated_bytes
from train.startup.launch import launch
from train.train_config import TrainConfig
from train.trainer import Trainer

BACKBONE = "module_trainer.denoiser.backbone."


def make_config(
    module: str, model: ModelFolder, dataset: Path, folder: Path, *changes: str, **settings: object
) -> TrainConfig:
    path = fresh_model(model, folder / "model", module)
    file = tiny.write_train_config(folder / "train.json", module, path, dataset, **settings)
    return load_config(TrainConfig, file, changes)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_tracker_knows_what_is_alive_at_every_moment(device: str) -> None:
    kib = 256  # float32 values
    with MemoryTracker() as tracker:
        a = torch.zeros(4 * kib, device=device)
        b = a + 1
        assert tracker.live == tracker.peak == 8 * 1024
        view = b.view(2, -1)[0]
        del b
        assert tracker.live == 8 * 1024  # the view keeps all of its storage
        del view
        assert tracker.live == 4 * 1024
        a.add_(1)
        c = torch.zeros(kib, device=device)
        assert (tracker.live, tracker.peak) == (5 * 1024, 8 * 1024)
        del c


@pytest.mark.parametrize(
    ("module", "changes"),
    [
        ("unet", ["micro_batch_size=4"]),
        ("unet", ["micro_batch_size=2", "optimizer.type=SGD", "optimizer.settings={}"]),
        ("unet", ["micro_batch_size=4", f"{BACKBONE}activation_checkpointing=true"]),
        ("vae", ["micro_batch_size=2"]),
    ],
)
def test_the_prediction_is_within_a_tenth_of_what_a_real_step_allocates(
    module: str, changes: list[str], model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    wider = [f"{BACKBONE}model_channels=32", f"{BACKBONE}mlp_groups=8"] if module == "unet" else []
    config = make_config(module, model, dataset, tmp_path, *changes, *wider)
    predicted = predict(config, device_type="cpu").peak
    assert predicted == pytest.approx(measure(config), rel=0.1)


def test_what_reduces_memory_reduces_the_prediction(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    config = make_config("unet", model, dataset, tmp_path, "micro_batch_size=4")

    def need(*changes: str) -> int:
        changed = load_config(TrainConfig, tmp_path / "train.json", ["micro_batch_size=4", *changes])
        return predict(changed, device_type="cuda").peak

    plain = predict(config, device_type="cuda")
    assert plain.peak > plain.weights + plain.gradients + plain.optimizer + plain.averages + plain.beside
    assert plain.optimizer == pytest.approx(2 * plain.weights, rel=0.01)  # Adam's two moments
    assert plain.averages == pytest.approx(2 * plain.weights, rel=0.01)  # ema_stds 0.1, snapshots 0.05 and 0.1
    assert need("micro_batch_size=2") < plain.peak
    assert need(f"{BACKBONE}activation_checkpointing=true") < plain.peak
    assert need("mixed_precision=bf16") < plain.peak
    assert predict(config, device_type="cuda", processes=2).gradients == 2 * plain.gradients


def test_an_optimizer_that_looks_at_values_is_predicted_too(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    changes = ["optimizer.type=Adafactor", "optimizer.settings={}"]
    memory = predict(make_config("unet", model, dataset, tmp_path, *changes), device_type="cpu")
    assert 0 < memory.optimizer < memory.weights  # rows and columns alone


def test_a_search_tries_the_validation_once_as_no_micro_batch_changes_it(
    model: ModelFolder, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("unet", model, dataset, tmp_path, "batch_size=2", "micro_batch_size=null")
    alone = [predict(with_micro_batch(config, size), device_type="cpu").need for size in (2, 1)]
    calls: list[str] = []

    def counted(config: TrainConfig, device_type: str) -> int:
        calls.append(device_type)
        return validated_bytes(config, device_type)

    monkeypatch.setattr("train.memory.auto_batch.validated_bytes", counted)
    monkeypatch.setattr("train.memory.preflight.validated_bytes", counted)
    assert [fit.bytes for fit in fits(config, 0, device_type="cpu")] == alone
    assert calls == ["cpu"]


def test_the_search_finds_the_largest_micro_batch_of_the_table(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    # The smallest validation, which would else need more than the smallest micro batches.
    changes = ("batch_size=6", "micro_batch_size=null", "validation.batch_size=1")
    config = make_config("unet", model, dataset, tmp_path, *changes)
    table = fits(config, 0, device_type="cpu")
    assert [fit.micro_batch_size for fit in table] == [6, 3, 2, 1]
    assert [fit.bytes for fit in table] == sorted((fit.bytes for fit in table), reverse=True)
    for fit in table[::2]:
        assert choose_micro_batch(config, int(fit.bytes / 0.9) + 1, device_type="cpu").micro_batch_size == (
            fit.micro_batch_size
        )
    with pytest.raises(UserError, match="one sample at a time needs"):
        choose_micro_batch(config, table[-1].bytes, device_type="cpu")


def test_auto_batch_takes_what_fits_and_trains_to_the_same_losses(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    results = []
    for name, gib in (("small", None), ("large", 4)):
        folder = tmp_path / name
        folder.mkdir()
        # Dropout draws its masks for a micro batch.
        changes = [f"{BACKBONE}dropout=0", "total_samples=16", "micro_batch_size=null", "validation.batch_size=1"]
        config = make_config("unet", model, dataset, folder, *changes)
        if gib is None:
            gib = fits(config, 0, device_type="cpu")[1].bytes / 0.9 / 2**30 + 1e-6  # room for two, of four
        result = tiny.run("train.py", folder / "train.json", "--auto-batch", "--memory", gib, "--set", *changes)
        assert result.returncode == 0, result.stderr
        run = folder / "model" / "runs" / "unet"
        micro = json.loads((run / "config.json").read_text())["micro_batch_size"]
        assert f"micro_batch_size {micro} of batch_size 4: predicted to need" in result.stdout
        results.append((micro, scalars(run)))
    assert [micro for micro, _ in results] == [2, 4]
    small, large = (metrics for _, metrics in results)
    for name in ("loss/total", "validation/raw/loss", "gradient/norm"):
        assert [step for step, _ in small[name]] == [step for step, _ in large[name]]
        assert [v for _, v in small[name]] == pytest.approx([v for _, v in large[name]], rel=1e-4)


def test_a_dry_run_with_auto_batch_shows_which_micro_batches_fit(tmp_path: Path) -> None:
    changes = [f"model={tmp_path}/none", f"dataset={tmp_path}/none", "batch_size=2"]
    result = tiny.run(
        "train.py", "config/train/unet_tiny.json", "--dry-run", "--auto-batch", "--memory", "0.04", "--set", *changes
    )
    assert result.returncode == 0, result.stderr
    rows = re.findall(r"│ (\d+) +│ ([\d.]+) GiB +│ (yes|no)", result.stdout)
    assert [row[0] for row in rows] == ["2", "1"]
    assert not (tmp_path / "none").exists()
    tiny.assert_one_line_error(tiny.run("train.py", "x.json", "--memory", "-1"), "--memory -1", "above 0")


def test_out_of_memory_is_one_line_and_the_last_checkpoint_is_whole(
    model: ModelFolder, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("unet", model, dataset, tmp_path, total_samples=48)
    step = Trainer.train_step

    def fails_at_32(trainer: Trainer, batches: Any) -> None:
        if trainer.position.samples >= 32:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
        step(trainer, batches)

    monkeypatch.setattr(Trainer, "train_step", fails_at_32)
    with pytest.raises(UserError) as caught:
        launch(config, wait=False, auto_batch=True, memory_gib=4)  # no smaller one: 32 samples were trained on
    message = str(caught.value)
    for word in ("Tried to allocate 2.00 GiB", "predicted to need", "micro_batch_size=", "activation_checkpointing"):
        assert word in message
    assert "\n" not in message
    newest = sorted((tmp_path / "model/runs/unet/checkpoints").glob("samples-*"))[-1]
    assert newest.name.endswith("32")
    assert damage(newest) is None


def test_a_first_step_without_memory_is_tried_with_the_next_smaller_micro_batch(
    model: ModelFolder, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    config = make_config("unet", model, dataset, tmp_path, total_samples=8)
    step = Trainer.train_step

    def needs_one(trainer: Trainer, batches: Any) -> None:
        if trainer.update.micro_batch_size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        step(trainer, batches)

    monkeypatch.setattr(Trainer, "train_step", needs_one)
    assert launch(config, wait=False, auto_batch=True, memory_gib=4) == 0
    text = capsys.readouterr().out
    assert [f"micro_batch_size {size} instead" in text for size in (2, 1)] == [True, True]
    assert json.loads((tmp_path / "model/runs/unet/config.json").read_text())["micro_batch_size"] == 1


def test_too_little_memory_is_told_before_the_run_with_what_helps(
    model: ModelFolder,
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config("unet", model, dataset, tmp_path, "validation.batch_size=1", "micro_batch_size=2")
    helping: list[str] = []
    monkeypatch.setattr(
        "train.memory.auto_batch.remedies",
        lambda *given, **named: helping.append(remedies(*given, **named)) or helping[0],
    )
    warn_if_too_large(config, 2**40)
    assert capsys.readouterr().out == ""
    warn_if_too_large(config, 2**10)
    (line,) = capsys.readouterr().out.splitlines()
    for word in ("will probably run out", "micro_batch_size=1 (", "activation_checkpointing=true (", "crop_seconds="):
        assert word in line
    assert line.endswith(helping[0])


def test_available_memory_is_the_machines_or_the_control_groups(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4096 kB\nMemAvailable: 2048 kB\n")
    assert available_memory(tmp_path) == 2048 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for name, text in (("max", "1000000\n"), ("current", "700000\n"), ("stat", "anon 1\ninactive_file 50000\n")):
        (group / f"memory.{name}").write_text(text)
    assert available_memory(tmp_path) == 350_000
    (group / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) == 2048 * 1024


def test_the_control_group_of_the_process_and_all_above_it_count(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemAvailable: 2048 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/elsewhere\n0::/user.slice/job: 1/step\n")
    root = tmp_path / "sys/fs/cgroup"  # of a machine: sets no limit, and has no such files
    above, own, other = root / "user.slice", root / "user.slice/job: 1/step", root / "elsewhere"
    for group, limit in ((above, "900000"), (own, "max"), (other, "1")):
        group.mkdir(parents=True)
        for name, text in (("max", limit), ("current", "200000"), ("stat", "inactive_file 50000")):
            (group / f"memory.{name}").write_text(f"{text}\n")
    assert available_memory(tmp_path) == 750_000
    (own / "memory.max").write_text("400000\n")
    assert available_memory(tmp_path) == 250_000
    (own / "memory.max").write_text("1000000\n")
    assert available_memory(tmp_path) == 750_000
    (own / "memory.max").write_text("1\n")
    assert available_memory(tmp_path) == 0
    (tmp_path / "proc/self/cgroup").write_text("0::/../../elsewhere\n")
    assert available_memory(tmp_path) == 2048 * 1024


@pytest.mark.parametrize("module", ["unet", "vae"])
def test_without_a_working_compiler_training_goes_on_and_one_line_says_why(
    module: str,
    model: ModelFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(function: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: none of g++\nis there")

    monkeypatch.setattr(torch, "compile", broken)
    net = load_module(model, module)
    net.enable_compile()
    (line,) = capsys.readouterr().out.splitlines()
    assert "compile: does not work on this machine (InvalidCxxCompiler: none of g++)" in line
    assert all(part._compiled_call_impl is None for part in net.modules())
