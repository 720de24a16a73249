"""The benchmark of training from a model against training from nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from dualdiffusion.files import read_json
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.benchmarks.start_from import RUNS, compare, samples_to


def test_samples_to_a_loss_are_read_off_the_line_between_points() -> None:
    curve = {100: 4.0, 200: 2.0, 300: 1.0}
    assert samples_to(curve, 3.0) == 150
    assert samples_to(curve, 1.5) == 250
    assert samples_to(curve, 1.0) == 300
    assert samples_to(curve, 9.0) == 100  # at the latest
    assert samples_to(curve, 0.5) is None
    assert samples_to({100: 4.0, 200: 5.0, 300: 2.0}, 4.5) == 100


def test_the_ratio_is_of_the_samples_that_the_other_run_took() -> None:
    scratch, started = {100: 8.0, 200: 5.0, 400: 3.0}, {100: 4.0, 200: 2.0, 400: 1.0}
    figures = compare(dict(zip(RUNS, (scratch, started), strict=True)))
    assert figures["samples_ratio"] == 150 / 400
    assert (figures["final_from_nothing"], figures["final_from_the_model"]) == (3.0, 1.0)
    assert not figures["at_first_point"]


@pytest.mark.benchmarks
@pytest.mark.parametrize("module", ["unet", "vae"])
def test_the_command_trains_both_ways_alike_and_draws_them(
    module: str, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    for game in tiny.GAMES[:2]:  # which the model knows, one of them by another name
        shutil.copytree(dataset / "audio" / game, tmp_path / "music" / game.replace("Cave", "Harbour"))
    config = tiny.write_train_config(tmp_path / "train.json", module, tmp_path / "unused", dataset)
    command = ["-m", "tests.benchmarks.start_from", "--model", model.path, "--music", tmp_path / "music"]
    command += ["--module", module, "--config", config, "--samples", 16, "--points", 2, "--validation-samples", 8]
    command += ["--work", tmp_path / "work", "--min-seconds", 1, "--set", "module_trainer.crop_seconds=0.512"]
    result = tiny.run(*command, "--json", tmp_path / "figures.json", timeout=280)
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    curves = figures["curves"][0]
    assert {run: list(curve) for run, curve in curves.items()} == {run: ["8", "16"] for run in RUNS}
    assert curves[RUNS[0]] != curves[RUNS[1]]
    assert "games it knows: Castle; new games: Harbour" in result.stdout or module == "vae"
    stored = [read_json(path) for path in sorted((tmp_path / "work").glob(f"{module}-*/runs/{module}/config.json"))]
    assert [key for key in stored[0] if stored[0][key] != stored[1][key]] == ["model", "init"]
    assert Image.open(tmp_path / "work" / f"{module}.png").size[0] > 500
