"""Transformers are trained by the same commands as the UNet: their memory is predicted, they learn, processes share
their batches, and averages of any width are made of them afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from dualdiffusion.config import load_config
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.benchmarks.memory import measure
from tests.train import forked
from tests.train.averages.test_ema_post_hoc import difference
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


@pytest.mark.slow
@each
def test_it_learns_a_batch_by_heart(name: str, model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    config = load_config(TrainConfig, write(tmp_path, name, model, dataset))
    with scratch_trainer(config) as module_trainer:
        result = overfit(module_trainer, config, 40, lambda step, loss: None)
    assert result.works, (result.first, result.last)


@each
def test_two_processes_train_what_one_trains_and_an_average_is_made_afterwards(
    name: str, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    """The global batch is the same, however it is shared; the average of a width that nobody followed agrees with one
    that was followed."""
    told = {"batch_size": 4, "total_samples": 64, "ema_stds": [0.15], "checkpoint": {"every_samples": 32}}
    without = "module_trainer.denoiser.backbone.dropout=0"  # its noise differs between processes
    options = [without] if "dropout" in BACKBONES[name] else []
    alone = write(tmp_path / "one", name, model, dataset, micro_batch_size=2, **told)
    shared = write(tmp_path / "two", name, model, dataset, micro_batch_size=1, **told)
    result = forked.run(alone, tmp_path / "log", *options)
    assert result.code == 0, result.output
    for result in forked.run_together(shared, tmp_path / "log", *options, processes=2):
        assert result.code == 0, result.output

    one, two = (ModelFolder(tmp_path / folder / "model") for folder in ("one", "two"))
    weights, same = (load_file(folder.weights_path("unet", "raw")) for folder in (one, two))
    assert weights.keys() == same.keys()
    for key, tensor in weights.items():
        assert difference(same[key], tensor) < 1e-3, key

    made = tiny.run("-m", "train", "ema", "--model", two.path, "--module", "unet", "--std", 0.15)
    assert made.returncode == 0, made.stderr
    followed, after = (load_file(two.weights_path("unet", f"ema_0.150{end}")) for end in ("", "_posthoc"))
    assert followed.keys() == after.keys()
    for key, tensor in followed.items():
        assert difference(after[key], tensor) < 0.01, key
