"""`python -m train overfit`: the first thing to try when something is off."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

from dualdiffusion.config import load_config
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from train.commands.overfit import Overfitting, overfit, scratch_trainer
from train.train_config import TrainConfig


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("module", ["vae", "unet"])
def test_a_network_that_can_learn_learns_one_batch_and_nothing_is_written(
    module: str, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    path = model.path if module == "unet" else tmp_path / "new"
    config = tiny.write_train_config(tmp_path / "train.json", module, path, dataset, micro_batch_size=2)
    before = snapshot(model.path)
    result = tiny.run("-m", "train", "overfit", config, "--steps", 150)
    assert result.returncode == 0, result.stdout + result.stderr
    losses = [float(found) for found in re.findall(r"loss (\d+\.\d+)", result.stdout)]
    assert len(losses) > 5
    assert losses[-1] < 0.6 * losses[0]
    assert "learning works" in result.stdout
    assert snapshot(model.path) == before
    assert not (tmp_path / "new").exists()


def test_a_network_that_cannot_learn_is_told_so_with_what_to_do_next(dataset: Path, tmp_path: Path) -> None:
    config = tiny.write_train_config(tmp_path / "train.json", "vae", tmp_path / "model", dataset)
    result = tiny.run("-m", "train", "overfit", config, "--steps", 20, "--set", "optimizer.learning_rate=1e-9")
    assert result.returncode == 1
    assert "learning does not work" in result.stdout
    assert "optimizer.learning_rate (1e-09)" in result.stdout


def test_weight_decay_spares_gains_as_it_does_in_training(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    """So large a decay that it would halve them at every step, at a rate at which nothing else moves them."""
    settings = {"learning_rate": 1e-6, "settings": {"weight_decay": 5e5}}
    path = tiny.write_train_config(tmp_path / "train.json", "unet", model.path, dataset, optimizer=settings)
    config = load_config(TrainConfig, path, [])
    with scratch_trainer(config) as module_trainer:
        gains = [parameter for parameter in module_trainer.module.parameters() if parameter.ndim < 2]
        assert gains
        for gain in gains:
            gain.data.fill_(1.0)
        overfit(module_trainer, config, 2, lambda step, loss: None)
    for gain in gains:
        torch.testing.assert_close(gain.detach().cpu(), torch.ones(gain.shape), rtol=0, atol=1e-4)


def test_a_loss_that_is_no_number_is_not_called_learning() -> None:
    assert not Overfitting([1.0] * 30 + [math.nan], not_finite=True).works
    assert Overfitting([1.0] + [0.1] * 30, not_finite=False).works


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "1"], ["--steps", "20 or more"]),
        (["--set", "optimizer.learning_rat=1"], ["optimizer.learning_rat", "learning_rate"]),
        (["--set", "dataset=nowhere"], ["nowhere", "not a finished dataset"]),
        (["--set", "model=nowhere"], ["nowhere: has no module 'vae'", "--set model=nowhere"]),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    arguments: list[str], words: list[str], model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    config = tiny.write_train_config(tmp_path / "train.json", "unet", model.path, dataset)
    tiny.assert_one_line_error(tiny.run("-m", "train", "overfit", config, *arguments), *words)


def test_help_needs_no_torch() -> None:
    assert "--steps" in tiny.help_without_torch("train", "overfit")
