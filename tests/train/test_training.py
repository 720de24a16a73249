"""The real training command on tiny data: it creates, resumes bit-exactly, refuses, and reports."""

from __future__ import annotations

import csv
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.train import forked
from train.checkpoints.checkpoint import damage


def digest(model: Path, module: str) -> dict[str, torch.Tensor]:
    """Published weights of a module, raw and averaged."""
    files = sorted((model / module).glob("*.safetensors"))
    assert len(files) == 2
    return {f"{file.stem}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """metrics.csv by metric."""
    table: dict[str, list[tuple[int, float]]] = {}
    with open(run / "metrics.csv", newline="") as file:
        for row in csv.DictReader(file):
            table.setdefault(row["metric"], []).append((int(row["step"]), float(row["value"])))
    return table


def fresh_model(model: ModelFolder, path: Path, module: str) -> Path:
    """A copy of the tiny model that lacks `module`, in a folder of its own."""
    if module == "vae":
        return path  # the training command creates everything
    shutil.copytree(model.path, path)
    shutil.rmtree(path / module)
    index = json.loads((path / "model_index.json").read_text())
    index["modules"].pop(module)
    (path / "model_index.json").write_text(json.dumps(index))
    return path


@pytest.fixture(scope="module", params=["vae", "unet"])
def straight(
    request: pytest.FixtureRequest, model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A module trained in one go: (name, model folder)."""
    folder = tmp_path_factory.mktemp("straight")
    path = fresh_model(model, folder / "model", request.param)
    config = tiny.write_train_config(folder / "train.json", request.param, path, dataset)
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    return request.param, path


def test_a_run_leaves_a_model_that_loads_and_logs_what_was_promised(straight: tuple[str, Path]) -> None:
    module, path = straight
    run = path / "runs" / module
    assert json.loads((path / "model_index.json").read_text())["modules"][module]["ema"] in {"raw", "ema_0.100"}
    assert json.loads((run / "config.json").read_text())["total_samples"] == 48
    names = set(scalars(run))
    assert {"loss/total", "learning_rate", "gradient/norm", "validation/raw/loss", "validation/ema_0.100/loss"} <= names
    assert any(name.startswith("validation/raw/loss_by_game/") for name in names)
    events = EventAccumulator(str(run))
    events.Reload()
    tags = events.Tags()
    assert names <= set(tags["scalars"])
    assert len(tags["audio"]) >= 1
    assert any("spectrogram" in tag for tag in tags["images"])
    assert any("config" in tag for tag in tags["tensors"])
    if module == "unet":
        assert any(name.startswith("loss_by_sigma/") for name in names)
    else:
        assert {"loss/spectral/real", "loss/spectral/imag", "loss/kl", "latents/snr"} <= names
        weights = load_file(path / "vae" / "vae.safetensors")
        assert not torch.equal(weights["latents_std"], torch.ones(4))  # measured at the end


def test_the_weights_really_moved_and_stayed_normalised(straight: tuple[str, Path]) -> None:
    module, path = straight
    weights = load_file(path / module / f"{module}.safetensors")
    gains = [float(tensor.abs().max()) for name, tensor in weights.items() if name.endswith("gain")]
    assert max(gains) > 1e-3
    for name, tensor in weights.items():
        if name.endswith(".weight") and tensor.ndim == 4:
            rms = tensor.flatten(1).square().mean(dim=1).sqrt()
            assert torch.allclose(rms, torch.ones_like(rms), atol=1e-2), name


def test_the_same_command_again_finds_nothing_to_do(straight: tuple[str, Path]) -> None:
    module, path = straight
    before = digest(path, module)
    result = tiny.run("train.py", path.parent / "train.json")
    assert result.returncode == 0
    assert "nothing to do" in result.stdout
    assert_equal(before, digest(path, module))


def train_until(config: Path, run: Path, samples: int, number: signal.Signals) -> int:
    """Starts training and sends a signal once the checkpoint of `samples` samples is there; returns the exit code."""
    fault = functools.partial(forked.signal_when, run / f"checkpoints/samples-{samples:012d}", number)
    return forked.run(config, config.with_suffix(".log"), fault=fault).code


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGKILL, 0), (signal.SIGTERM, 1)], ids=str)
def test_a_run_that_was_stopped_and_resumed_equals_one_that_was_not(
    straight: tuple[str, Path], model: ModelFolder, dataset: Path, tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    """Weights, averages, optimizer, data order and noise: if any of these moved, the weights would differ."""
    module, expected = straight
    path = fresh_model(model, tmp_path / "model", module)
    config = tiny.write_train_config(tmp_path / "train.json", module, path, dataset, num_workers=workers)
    code = train_until(config, path / "runs" / module, 16, number)
    assert code == (-9 if number == signal.SIGKILL else 143)
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    assert "going on from sample" in result.stdout
    assert_equal(digest(expected, module), digest(path, module))
    run, reference = scalars(path / "runs" / module), scalars(expected / "runs" / module)
    assert run["validation/raw/loss"] == reference["validation/raw/loss"]


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(
    straight: tuple[str, Path], dataset: Path, tmp_path: Path
) -> None:
    module, expected = straight
    shutil.copytree(expected, tmp_path / "model")
    checkpoints = sorted((tmp_path / "model" / "runs" / module / "checkpoints").iterdir())
    target = checkpoints[-1] / f"{module}.safetensors"
    target.write_bytes(target.read_bytes()[:-1] + b"x")
    assert damage(checkpoints[-1]) == f"{module}.safetensors is damaged"
    assert damage(checkpoints[-2]) is None
    config = tiny.write_train_config(tmp_path / "train.json", module, tmp_path / "model", dataset)
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    assert "is damaged" in result.stderr
    assert f"going on from {checkpoints[-2].name}" in result.stderr
    assert_equal(digest(expected, module), digest(tmp_path / "model", module))


def test_training_goes_to_the_launcher_and_back(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    config = tiny.write_train_config(tmp_path / "train.json", "unet", path, dataset, total_samples=8)
    launcher = Path(sys.executable).with_name("accelerate")
    options = ["--cpu", "--num_processes", "2", "--mixed_precision", "bf16"]
    command = [launcher, "launch", *options, "train.py", config]
    result = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    assert (path / "unet" / "unet.safetensors").exists()
    if shutil.which("mpirun") is None:  # without which accelerate starts a single one on a CPU
        assert "one process trains, not 2" in result.stdout
    assert "accelerate's own mixed_precision, bf16, is not used" in result.stdout


@pytest.mark.parametrize("module", ["vae", "unet"])
def test_a_validation_on_training_tracks_is_called_that(
    module: str, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    small = shutil.copytree(dataset, tmp_path / "dataset")
    (small / "validation.jsonl").write_text("")
    path = fresh_model(model, tmp_path / "model", module)
    config = tiny.write_train_config(tmp_path / "train.json", module, path, small, total_samples=4)
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    assert "validation is on training tracks" in result.stdout
    assert scalars(path / "runs" / module)["validation/on_training_tracks"] == [(1, 1.0)]
    plan = tiny.run("train.py", config, "--dry-run")
    assert "on training tracks: none is held out" in plan.stdout


def test_a_checkpoint_is_saved_on_request(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    changes = {"total_samples": 1_000_000, "checkpoint": {"every_samples": 1_000_000}}
    config = tiny.write_train_config(tmp_path / "train.json", "unet", path, dataset, **changes)
    run = path / "runs" / "unet"
    result = forked.run(config, tmp_path / "log", fault=functools.partial(ask_to_save, run))
    assert result.code == -signal.SIGKILL, result.output
    assert [damage(path) for path in run.glob("checkpoints/samples-*")] == [None]
    assert not (run / "save_now").exists()


def ask_to_save(run: Path) -> None:
    """As soon as there are losses, asks for a checkpoint; where that is, the training is killed."""

    def ask() -> None:
        (run / "save_now").touch()
        forked.when(lambda: list(run.glob("checkpoints/samples-*")), lambda: os.kill(os.getpid(), signal.SIGKILL))

    forked.when((run / "metrics.csv").exists, ask)


def test_several_unets_may_share_one_vae(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    config = tiny.write_train_config(tmp_path / "train.json", "unet", tmp_path / "other", dataset, total_samples=4)
    result = tiny.run("train.py", config, "--set", f"module_trainer.autoencoder={model.path}")
    assert result.returncode == 0, result.stderr
    assert ModelFolder(tmp_path / "other").fingerprint("vae") == model.fingerprint("vae")
    assert (tmp_path / "other" / "unet" / "unet.safetensors").exists()


@pytest.mark.kills
def test_a_killed_launcher_ends_the_training_which_saves_first(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    config = tiny.write_train_config(tmp_path / "train.json", "unet", path, dataset, total_samples=1_000_000)
    launcher = subprocess.Popen(
        [Path(sys.executable).with_name("accelerate"), "launch", "train.py", config],
        cwd=tiny.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    run = path / "runs" / "unet"
    wait_for(lambda: list(run.glob("checkpoints/samples-*")))
    launcher.kill()
    launcher.wait()
    child = int((run / "pid").read_text())
    wait_for(lambda: not running(child))
    newest = sorted(run.glob("checkpoints/samples-*"))[-1]
    assert damage(newest) is None


def wait_for(condition: object, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()


def test_a_loss_that_is_not_finite_changes_nothing_and_ends_with_one_line(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    config = tiny.write_train_config(
        tmp_path / "train.json", "unet", path, dataset, max_skipped_steps=2, optimizer={"learning_rate": 1e30}
    )
    result = tiny.run("train.py", config)
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert any("skipped, 3 in a row" in line for line in lines)
    assert lines[-1].startswith("error: unet: the loss")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["dataset=missing"], ["missing", "is not a finished dataset", "python -m dataset_processing run"]),
        (["optimizer.learning_rat=1"], ["did you mean optimizer.learning_rate"]),
        (["model=empty"], ["has no module 'vae'", "accelerate launch train.py"]),
        (["module_trainer.crop_seconds=500"], ["crop_seconds"]),
        (["model=README.md"], ["README.md", "File exists"]),
        (["module_trainer.denoiser.backbone.in_channels=8"], ["in_channels: is 8, but the VAE has 4"]),
        (["module_trainer.sigma.sigma_min=500"], ["sigma_min: 500.0 must be below sigma_max"]),
        (['optimizer.settings={"beta": 1}'], ["optimizer.settings: AdamW"]),
        (["module_trainer.denoiser.backbone.channel_mult=[1,1,1,1]"], ["channel_mult", "multiple of 8 latent rows"]),
        (["module_trainer.denoiser.backbone.mlp_groups=3"], ["do not divide into 3 groups"]),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line_with_exit_code_2(
    model: ModelFolder, dataset: Path, tmp_path: Path, change: list[str], words: list[str]
) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    config = tiny.write_train_config(tmp_path / "train.json", "unet", path, dataset)
    change = [
        text.replace("=missing", f"={tmp_path}/missing").replace("=empty", f"={tmp_path}/empty") for text in change
    ]
    tiny.assert_one_line_error(tiny.run("train.py", config, "--set", *change), *words)


def test_a_model_with_other_settings_is_not_trained_over(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(model.path, tmp_path / "model")
    config = tiny.write_train_config(tmp_path / "train.json", "unet", tmp_path / "model", dataset)
    result = tiny.run("train.py", config, "--set", "module_trainer.denoiser.backbone.model_channels=16")
    tiny.assert_one_line_error(result, "other settings", "model_channels: 8, now 16")


def test_latents_of_another_vae_are_refused_with_the_command_that_encodes(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    other = tiny.make_model(tmp_path / "other", seed=1)
    config = tiny.write_train_config(tmp_path / "train.json", "unet", other.path, dataset)
    result = tiny.run("train.py", config)
    words = [other.fingerprint("vae"), "latents of other VAEs", model.fingerprint("vae"), "--steps encode"]
    tiny.assert_one_line_error(result, *words)


@pytest.mark.parametrize("module", ["vae", "unet"])
def test_a_dry_run_shows_the_plan_and_writes_nothing(module: str, tmp_path: Path) -> None:
    changes = [f"model={tmp_path}/none", "dataset=nowhere"]
    result = tiny.run("train.py", f"config/train/{module}_base.json", "--dry-run", "--set", *changes)
    assert result.returncode == 0, result.stderr
    for word in (
        "parameters",
        "GFLOP",
        "predicted memory",
        "shape of latents",
        '"total_samples"',
        "nowhere is none yet",
    ):
        assert word in result.stdout
    assert not (tmp_path / "none").exists()


def test_help_answers_at_once_without_importing_torch() -> None:
    code = (
        "import sys, runpy; sys.argv = ['train.py', '--help']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    result = tiny.run("-c", code)
    assert result.returncode == 0, result.stderr
    assert "--dry-run" in result.stdout
