"""The benchmark of what the parts of training bring, on the tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from dualdiffusion.config import load_config
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.benchmarks.learning import BASELINE, CONFIG, EMA, RAW, VARIANTS, mean_curve, overrides
from train.train_config import TrainConfig

CHANGED = "without learned log-variance"


def test_the_mean_over_seeds_is_taken_where_all_have_a_value() -> None:
    assert mean_curve([{10: 1.0, 20: 2.0}, {10: 3.0, 30: 1.0}]) == {10: 2.0}


def test_every_run_differs_from_the_others_in_a_valid_setting() -> None:
    configs = [load_config(TrainConfig, tiny.ROOT / CONFIG, overrides(name, 9600)).to_json() for name in VARIANTS]
    assert all(a != b for i, a in enumerate(configs) for b in configs[:i])


@pytest.mark.benchmarks
def test_the_command_prints_a_table_draws_a_picture_and_trains_nothing_twice(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    config = tiny.write_train_config(tmp_path / "train.json", "unet", tmp_path / "unused", dataset)
    command = ["-m", "tests.benchmarks.learning", "--model", model.path, "--dataset", dataset, "--config", config]
    command += ["--samples", 16, "--seeds", 1, "--points", 2, "--validation-samples", 8, "--work", tmp_path / "work"]
    command += ["--only", CHANGED]
    result = tiny.run(*command, "--json", tmp_path / "figures.json")
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())["runs"]
    assert set(figures) == {BASELINE, CHANGED}
    assert all(set(kinds) == {RAW, EMA} for kinds in figures.values())
    assert list(figures[BASELINE][RAW]["mean"]) == ["8", "16"]
    assert figures[BASELINE][RAW]["last"] != figures[CHANGED][RAW]["last"]  # the setting arrived
    assert CHANGED in result.stdout
    assert Image.open(tmp_path / "work" / "learning.png").size[0] > 500
    assert "nothing to do" in tiny.run(*command).stdout
