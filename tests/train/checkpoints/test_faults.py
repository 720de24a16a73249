"""Nothing lost: each row of the table of faults is a test that runs the real training command.

What must hold after a fault: a whole checkpoint is there, a person reads one clear line, and the same command again
ends with the weights of a run that nothing ever happened to, to the last bit.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dualdiffusion.files import folder_lock
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.train import forked
from tests.train.test_training import assert_equal, fresh_model, scalars, wait_for
from train.checkpoints.checkpoint import Checkpoints, damage, samples_of
from train.position import Position
from train.update import Update

pytestmark = pytest.mark.timeout(900)  # each starts the command several times, also on a busy machine
TRIES = 24
STEPS = 20  # of the long training, which is killed TRIES times
BATCH = 2
GOLDEN = (5**0.5 - 1) / 2


def write_config(path: Path, model: Path, dataset: Path, **changes: object) -> Path:
    """A training of a few steps of a network of one level that checkpoints after each, and makes no demos."""
    settings = {
        "total_samples": 6 * BATCH,
        "batch_size": BATCH,
        "micro_batch_size": BATCH,
        "log_every_samples": BATCH,
        "checkpoint": {"every_samples": BATCH},
        "validation": {"every_samples": 3 * BATCH, "samples": 2, "batch_size": 2},
        "ema_snapshots": {"stds": [0.05], "every_samples": 3 * BATCH},
    }
    tiny.write_train_config(path, "unet", model, dataset, **{**settings, **changes})
    config = json.loads(path.read_text())
    config["module_trainer"]["demo_games"] = 0
    config["module_trainer"]["denoiser"]["backbone"] |= {"channel_mult": [1], "attn_levels": [0]}
    path.write_text(json.dumps(config))
    return path


def everything(model: Path) -> dict[str, torch.Tensor]:
    """All that training made: published weights, the newest checkpoint with the optimizer's state, and snapshots.

    Without a snapshot that a run made at its end, which came earlier where a test let it end earlier.
    """
    run = model / "runs" / "unet"
    newest = max(run.glob("checkpoints/samples-*"))
    snapshots = [path for path in run.glob("ema_snapshots/samples-*") if int(path.stem[-12:]) % (3 * BATCH) == 0]
    files = [*(model / "unet").glob("[!.]*.safetensors"), *newest.glob("*.safetensors"), *snapshots]
    tensors = {
        f"{file.relative_to(model)}/{name}": tensor for file in files for name, tensor in load_file(file).items()
    }
    optimizer = torch.load(newest / "optimizer.pt", weights_only=True)
    for index, memory in optimizer["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in memory.items()}
    return tensors


def checkpoints(model: Path) -> list[Path]:
    """Whole checkpoints, newest first."""
    found = sorted((model / "runs" / "unet" / "checkpoints").glob("samples-*"), reverse=True)
    return [path for path in found if damage(path) is None]


@pytest.fixture(scope="module")
def short(model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """What a training of six steps makes when nothing happens."""
    folder = tmp_path_factory.mktemp("short")
    path = fresh_model(model, folder / "model", "unet")
    result = forked.run(write_config(folder / "train.json", path, dataset), folder / "log")
    assert result.code == 0, result.output
    return everything(path)


@pytest.fixture
def run_model(model: ModelFolder, tmp_path: Path) -> Path:
    return fresh_model(model, tmp_path / "model", "unet")


@pytest.fixture
def run_config(run_model: Path, dataset: Path, tmp_path: Path) -> Path:
    return write_config(tmp_path / "train.json", run_model, dataset)


@pytest.mark.kills
def test_kills_at_bytes_and_moments_all_over_the_writing_lose_nothing(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    """One training, killed again and again: in the middle of a write, before and after a sync, a rename, a removal.

    Where in a step, multiples of the golden ratio say: so few leave no part of it out, as random ones would.
    """
    changes = {"total_samples": STEPS * BATCH}
    straight = fresh_model(model, tmp_path / "straight", "unet")
    config = write_config(tmp_path / "straight.json", straight, dataset, **changes)
    report = tmp_path / "positions"
    result = forked.run(config, tmp_path / "log", fault=functools.partial(forked.count_to, report, straight))
    assert result.code == 0, result.output
    of_a_step = int(report.read_text()) / STEPS

    path = fresh_model(model, tmp_path / "model", "unet")
    config = write_config(tmp_path / "train.json", path, dataset, **changes)
    seen = advances = 0
    for number in range(TRIES):
        position = int(number * GOLDEN % 1 * 1.7 * of_a_step)
        result = forked.run(config, tmp_path / "log", fault=functools.partial(forked.kill_at, position, path))
        assert result.code == -signal.SIGKILL, result.output
        whole = checkpoints(path)
        newest = samples_of(whole[0]) if whole else 0
        assert newest >= seen  # what was once saved is never lost
        advances += newest > seen
        seen = newest
        if seen >= 2 * BATCH:  # the one before is whole too, or was removed only after a newer one
            assert damage(sorted(whole[0].parent.glob("samples-*"))[-1]) is None
        for file in (path / "unet").glob("*.safetensors"):
            if not file.name.startswith(".tmp-"):
                load_file(file)
    assert 5 < advances < STEPS - 2  # so kills fell everywhere in a step, and all of them before the end
    result = forked.run(config, tmp_path / "log")
    assert result.code == 0, result.output
    assert_equal(everything(straight), everything(path))
    left = [file for file in path.rglob("*") if file.name.startswith((".tmp-", ".old-"))]
    assert [file for file in left if "checkpoints" in file.parts] == []


@pytest.mark.kills
@pytest.mark.parametrize("share", [0.02, 0.3, 0.55, 0.8, 0.99])
def test_a_disk_that_is_full_anywhere_in_a_checkpoint_is_one_line_and_the_one_before_is_whole(
    share: float, run_model: Path, run_config: Path, tmp_path: Path, short: dict[str, torch.Tensor]
) -> None:
    assert forked.run(run_config, tmp_path / "log", f"total_samples={2 * BATCH}").code == 0
    before = checkpoints(run_model)
    size = sum(file.stat().st_size for file in before[0].iterdir())
    fault = functools.partial(forked.full_for, run_model, ("checkpoints",), int(share * size))
    result = forked.run(run_config, tmp_path / "log", fault=fault)
    assert result.code == 3
    errors = [line for line in result.lines if "error" in line.lower()]
    assert errors == [result.lines[-1]]
    assert "the disk is full while writing" in errors[0]
    assert "samples-000000000006" in errors[0]
    assert "Traceback" not in result.output
    assert checkpoints(run_model) == before
    assert not list((run_model / "runs" / "unet" / "checkpoints").glob(".tmp-*"))  # gave back what it had taken
    assert forked.run(run_config, tmp_path / "log").code == 0
    assert_equal(short, everything(run_model))


@contextlib.contextmanager
def small_disk(path: Path, size: int) -> Iterator[Path]:
    """A file system in memory of `size` bytes."""
    path.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True)
    if mount.returncode:
        pytest.skip("cannot mount a small tmpfs here: needs root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.kills
def test_a_training_on_a_disk_that_really_fills_up_goes_on_when_there_is_room(
    model: ModelFolder, dataset: Path, tmp_path: Path, short: dict[str, torch.Tensor]
) -> None:
    with small_disk(tmp_path / "disk", 64 << 20) as disk:
        path = fresh_model(model, disk / "model", "unet")
        config = write_config(tmp_path / "train.json", path, dataset)
        assert forked.run(config, tmp_path / "log", f"total_samples={2 * BATCH}").code == 0
        ballast, free = disk / "ballast", shutil.disk_usage(disk).free
        of_checkpoint = sum(file.stat().st_size for file in checkpoints(path)[0].iterdir())
        ballast.write_bytes(bytes(free - int(0.9 * of_checkpoint)))
        before = checkpoints(path)
        result = forked.run(config, tmp_path / "log")
        assert result.code == 3, result.output
        assert "the disk is full while writing" in result.lines[-1]
        assert "Traceback" not in result.output
        assert checkpoints(path) == before
        ballast.unlink()
        assert forked.run(config, tmp_path / "log").code == 0
        assert_equal(short, everything(path))


def test_a_disk_that_is_full_for_the_logs_alone_costs_a_warning_each_and_training_goes_on(
    run_model: Path, run_config: Path, tmp_path: Path, short: dict[str, torch.Tensor]
) -> None:
    names = ("tfevents", "metrics.csv")
    fault = functools.partial(forked.full_for, run_model, names, 5000)
    result = forked.run(run_config, tmp_path / "log", fault=fault)
    assert result.code == 0, result.output
    for what in ("TensorBoard", "metrics.csv"):
        assert sum(f"warning: {what} cannot be written" in line for line in result.lines) == 1
    assert "Traceback" not in result.output
    assert_equal(short, everything(run_model))
    run = run_model / "runs" / "unet"
    assert all(len(line.split(",")) == 4 for line in (run / "metrics.csv").read_text().splitlines())
    events = EventAccumulator(str(run))
    events.Reload()  # what was written before is whole
    assert events.Tags()["tensors"]


def interrupt(*numbers: signal.Signals, samples: int) -> None:
    """Signals the process itself: the first in the step after `samples` samples, the second while it then saves."""
    backward, save = Update.backward, Checkpoints.save

    def first(self: Update, batches: object, position: Position, first: int) -> object:
        if position.samples == samples:
            os.kill(os.getpid(), numbers[0])
        return backward(self, batches, position, first)

    def second(self: object, state: object) -> object:
        if state.loop["samples"] == samples + BATCH and len(numbers) > 1:
            Checkpoints._put_in_place = lambda *_: os.kill(os.getpid(), numbers[1]) or time.sleep(60)
        return save(self, state)

    Update.backward, Checkpoints.save = first, second


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_saves_after_the_step_and_ends_with_its_code(
    number: signal.Signals, run_model: Path, run_config: Path, tmp_path: Path, short: dict[str, torch.Tensor]
) -> None:
    fault = functools.partial(interrupt, number, samples=2 * BATCH)
    result = forked.run(run_config, tmp_path / "log", "checkpoint.every_samples=1000", fault=fault)
    assert result.code == 128 + number
    assert [samples_of(path) for path in checkpoints(run_model)] == [3 * BATCH]
    assert f"{number.name}: saving after this step" in result.output
    assert result.lines[-1] == f"unet: stopped after {3 * BATCH} of {6 * BATCH} samples"
    assert forked.run(run_config, tmp_path / "log").code == 0
    assert_equal(short, everything(run_model))


@pytest.mark.kills
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_leaves_at_once_in_the_middle_of_saving_and_the_checkpoint_before_is_whole(
    number: signal.Signals, run_model: Path, run_config: Path, tmp_path: Path, short: dict[str, torch.Tensor]
) -> None:
    fault = functools.partial(interrupt, number, number, samples=2 * BATCH)
    result = forked.run(run_config, tmp_path / "log", fault=fault)
    assert result.code == 128 + number
    assert [samples_of(path) for path in checkpoints(run_model)] == [2 * BATCH, BATCH]
    assert forked.run(run_config, tmp_path / "log").code == 0
    assert_equal(short, everything(run_model))


def start(command: list[object], log: Path) -> subprocess.Popen[bytes]:
    """A command with a process group of its own, as a shell gives to what is typed in a terminal."""
    with open(log, "wb") as output:
        return subprocess.Popen(
            list(map(str, command)), cwd=tiny.ROOT, stdout=output, stderr=output, start_new_session=True
        )


def members(group: int) -> list[int]:
    """Process ids of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, owner = path.read_text().rpartition(")")[2].split()[:3]
            if int(owner) == group and state != "Z":
                found.append(int(path.parent.name))
    return found


@pytest.mark.kills
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_to_all_processes_spares_those_that_read_data_until_the_checkpoint_is_saved(
    number: signal.Signals, run_model: Path, dataset: Path, tmp_path: Path
) -> None:
    """Ctrl-C in a terminal, or the end of a batch job: also while the reading processes have only just started."""
    changes = {"total_samples": 1_000_000, "checkpoint": {"every_samples": 1_000_000}, "num_workers": 1}
    config = write_config(tmp_path / "train.json", run_model, dataset, **changes)
    process = start([sys.executable, "train.py", config], tmp_path / "log")
    wait_for(lambda: (run_model / "runs" / "unet" / "config.json").exists())
    wait_for(lambda: len(members(process.pid)) >= 3)  # with a reading process, which imports torch for seconds
    os.killpg(process.pid, number)
    assert process.wait(timeout=150) == 128 + number, (tmp_path / "log").read_text()
    assert len(checkpoints(run_model)) == 1
    output = (tmp_path / "log").read_text()
    assert output.count("saving after this step") == 1
    assert "Traceback" not in output
    wait_for(lambda: not members(process.pid))


@pytest.mark.kills
@pytest.mark.parametrize(
    ("number", "whom"), [(signal.SIGTERM, "launcher"), (signal.SIGINT, "everyone")], ids=["SIGTERM", "ctrl-c"]
)
def test_a_signal_to_a_launcher_of_two_processes_saves_once(
    number: signal.Signals, whom: str, run_model: Path, dataset: Path, tmp_path: Path
) -> None:
    """With several processes the launcher repeats what the terminal has already sent: that is no second Ctrl-C."""
    changes = {"total_samples": 1_000_000, "checkpoint": {"every_samples": 1_000_000}, "micro_batch_size": 1}
    config = write_config(tmp_path / "train.json", run_model, dataset, **changes)
    command = [Path(sys.executable).with_name("torchrun"), "--standalone", "--nproc-per-node", 2, "train.py", config]
    process = start(command, tmp_path / "log")
    wait_for(lambda: "loss/total" in _text(run_model / "runs" / "unet" / "metrics.csv"), seconds=240)
    (os.killpg if whom == "everyone" else os.kill)(process.pid, number)
    process.wait(timeout=150)
    wait_for(lambda: not members(process.pid))
    output = (tmp_path / "log").read_text()
    assert len(checkpoints(run_model)) == 1, output
    assert output.count("saving after this step") == output.count("unet: stopped after") == 1


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["optimizer.pt", "manifest.json", "progress.json"])
def test_a_damaged_newest_checkpoint_is_passed_over_and_what_is_lost_is_said(
    damaged: str, run_model: Path, run_config: Path, tmp_path: Path, short: dict[str, torch.Tensor]
) -> None:
    result = forked.run(run_config, tmp_path / "log", f"total_samples={4 * BATCH}", "checkpoint.every_samples=4")
    assert result.code == 0, result.output
    newest, older = checkpoints(run_model)
    with open(newest / damaged, "r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) // 2)
    result = forked.run(run_config, tmp_path / "log", "checkpoint.keep=2")
    assert result.code == 0, result.output
    (line,) = [line for line in result.lines if newest.name in line]
    assert damaged in line
    assert line.endswith(f"going on from {older.name}; lost and trained again: 4 samples, 2 steps")
    assert_equal(short, everything(run_model))
    # The damaged one did not take the place of a whole one.
    assert [samples_of(path) for path in checkpoints(run_model)] == [6 * BATCH, 5 * BATCH]


def test_a_loss_that_is_once_not_finite_costs_that_step_and_nothing_else(
    run_model: Path, run_config: Path, tmp_path: Path
) -> None:
    """Weights and averages are those of the step before; the next steps have the samples and noise they always had."""
    results = []
    for kind in ("loss nan", "loss inf", "gradient nan", "gradient inf"):
        folder = tmp_path / kind
        shutil.copytree(run_model, folder)
        fault = functools.partial(forked.break_loss, (2 * BATCH,), kind)
        result = forked.run(run_config, tmp_path / "log", f"model={folder}", f"total_samples={3 * BATCH}", fault=fault)
        assert result.code == 0, result.output
        what, value = kind.split()
        assert f"step 3: the {what} is not finite ({value}); skipped, 1 in a row" in result.output
        whole = checkpoints(folder)
        assert [samples_of(path) for path in whole] == [3 * BATCH, 2 * BATCH]
        for name in ("unet", "ema_0.100", "ema_0.050"):
            before, after = (load_file(path / f"{name}.safetensors") for path in whole)
            assert_equal(before, after)
        assert forked.run(run_config, tmp_path / "log", f"model={folder}").code == 0  # which goes on from there
        results.append(everything(folder))
    for other in results[1:]:
        assert_equal(results[0], other)


def test_losses_that_stay_not_finite_lead_back_to_a_checkpoint_and_on_with_other_noise(
    run_model: Path, run_config: Path, tmp_path: Path, short: dict[str, torch.Tensor]
) -> None:
    samples = tuple(range(3 * BATCH, 6 * BATCH, BATCH))
    fault = functools.partial(forked.break_loss, samples, "loss nan", True)
    result = forked.run(run_config, tmp_path / "log", "max_skipped_steps=1", fault=fault)
    assert result.code == 0, result.output
    assert result.output.count("skipped, ") == 2
    assert "going back to a checkpoint, 1 of at most 3 times" in result.output
    assert "going on from sample 4 of 12" in result.output  # as no step after the one at sample 6 was finite
    losses = scalars(run_model / "runs" / "unet")["loss/total"]
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 6]  # each step once
    ours = everything(run_model)
    assert all(bool(tensor.isfinite().all()) for tensor in ours.values())
    assert not torch.equal(short["optimizer/0/exp_avg"], ours["optimizer/0/exp_avg"])


def test_losses_that_are_never_finite_again_end_in_one_line_and_the_good_checkpoints_stay(
    run_model: Path, run_config: Path, tmp_path: Path, short: dict[str, torch.Tensor]
) -> None:
    fault = functools.partial(forked.break_loss, tuple(range(3 * BATCH, 100, BATCH)), "gradient inf")
    result = forked.run(run_config, tmp_path / "log", "max_skipped_steps=1", "max_rollbacks=2", fault=fault)
    assert result.code == 2
    assert result.output.count("going back to a checkpoint") == 2
    assert result.lines[-1].startswith("error: unet: the loss stopped being finite 3 times")
    assert "Traceback" not in result.output
    assert len(checkpoints(run_model)) == 2


def test_two_trainings_on_one_folder_the_second_is_refused_with_the_process_id_of_the_first(
    run_model: Path, run_config: Path, tmp_path: Path, short: dict[str, torch.Tensor]
) -> None:
    with folder_lock(run_model):  # what a training holds from its start to its end
        result = forked.run(run_config, tmp_path / "log")
        assert result.code == 2
        assert result.lines[-1].startswith(f"error: {run_model}: process {os.getpid()} is already at work")
        assert len(result.lines) == 1
    assert forked.run(run_config, tmp_path / "log").code == 0
    assert_equal(short, everything(run_model))
