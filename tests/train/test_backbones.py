"""Transformers are trained by the same commands as the UNet: their memory is predicted, and they learn."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualdiffusion.config import load_config
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.benchmarks.memory import measure
from tests.train.test_training import fresh_model
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


@pytest.mark.parametrize(("name", "saving"), [("dit", False), ("hourglass", True)])
def test_predicted_memory_is_within_a_tenth_of_the_measured(
    name: str, saving: bool, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    """With parts of the network in optimizers of their own, and with activations that are computed again."""
    saved = f"module_trainer.denoiser.backbone.activation_checkpointing={str(saving).lower()}"
    config = load_config(TrainConfig, write(tmp_path, name, model, dataset), [saved])
    assert predict(config, device_type="cpu").peak == pytest.approx(measure(config), rel=0.1)


@each
def test_it_learns_a_batch_by_heart(name: str, model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    config = load_config(TrainConfig, write(tmp_path, name, model, dataset))
    with scratch_trainer(config) as module_trainer:
        result = overfit(module_trainer, config, 40, lambda step, loss: None)
    assert result.works, (result.first, result.last)
