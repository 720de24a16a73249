"""Every backbone is trained by the same commands: its memory is predicted, it resumes, averages, and learns."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from dualdiffusion.config import load_config
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module
from tests import tiny
from tests.benchmarks.memory import measure
from tests.train.test_training import assert_equal, digest, fresh_model, train_until
from train.commands.overfit import overfit, scratch_trainer
from train.memory.preflight import predict
from train.train_config import TrainConfig

BACKBONES = {
    "dit": {"type": "dit.DiT", "width": 64, "depth": 3, "heads": 2, "memory_tokens": 2, "dropout": 0.1},
    "hourglass": {"type": "hourglass.Hourglass", "depths": [1, 2], "widths": [32, 64], "d_head": 16},
}
OPTIMIZER = {"learning_rate": 0.002, "parts": {"*.vector": {"learning_rate": 0.02}}}
each = pytest.mark.parametrize("name", BACKBONES)


def write(folder: Path, name: str, model: ModelFolder, dataset: Path, **changes: object) -> Path:
    """A training config of the tiny model with another backbone."""
    path = fresh_model(model, folder / "model", "unet")
    config = load_config(TrainConfig, tiny.write_train_config(folder / "plain.json", "unet", path, dataset))
    trainer = config.module_trainer.to_json()
    trainer["denoiser"]["backbone"] = BACKBONES[name]
    changes = {"module_trainer": trainer, "optimizer": OPTIMIZER, **changes}
    return tiny.write_train_config(folder / "train.json", "unet", path, dataset, **changes)


@each
@pytest.mark.parametrize("saving", [False, True], ids=["plain", "checkpointing"])
def test_predicted_memory_is_within_a_tenth_of_the_measured(
    name: str, saving: bool, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    saved = f"module_trainer.denoiser.backbone.activation_checkpointing={str(saving).lower()}"
    config = load_config(TrainConfig, write(tmp_path, name, model, dataset), [saved])
    assert predict(config, device_type="cpu").peak == pytest.approx(measure(config), rel=0.1)


@each
def test_it_learns_a_batch_by_heart(name: str, model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    config = load_config(TrainConfig, write(tmp_path, name, model, dataset))
    with scratch_trainer(config) as module_trainer:
        result = overfit(module_trainer, config, 60, lambda step, loss: None)
    assert result.works, (result.first, result.last)


def test_a_transformers_run_with_parts_resumes_bit_for_bit_and_publishes_its_averages(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    paths = []
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
        config = write(tmp_path / name, "dit", model, dataset, total_samples=32)
        path = tmp_path / name / "model"
        if name == "stopped":
            assert train_until(config, path / "runs" / "unet", 16, signal.SIGTERM) == 143
        result = tiny.run("train.py", config)
        assert result.returncode == 0, result.stderr
        paths.append(path)
    assert_equal(digest(paths[0], "unet"), digest(paths[1], "unet"))
    folder = ModelFolder(paths[0])
    raw, average = (load_module(folder, "unet", ema=ema).state_dict() for ema in ("raw", "ema_0.100"))
    assert all(raw[key].shape == average[key].shape for key in raw)
    assert any(not bool((raw[key] == average[key]).all()) for key in raw)
    result = tiny.run("-m", "train", "ema", "--model", paths[0], "--std", 0.07)
    assert result.returncode == 0, result.stderr
