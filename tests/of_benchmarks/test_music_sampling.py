"""The benchmark of ways of sampling on the tiny model: equal evaluations, and figures for every setting."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from dualdiffusion.model.folder import ModelFolder
from sampling.generator import Generator
from sampling.guidance import PassCounter
from tests.benchmarks import music_sampling
from tests.tiny import assert_one_line_error, run


@pytest.mark.slow
@pytest.mark.parametrize("name", music_sampling.SETTINGS)
def test_a_budget_is_used_as_far_as_whole_steps_go_and_the_count_is_that_of_a_clip(
    model: ModelFolder, name: str
) -> None:
    generator = Generator.load(model, "cpu")
    error = music_sampling.error_of(generator.unet(None))
    data = {"games": {"Castle": 1.0}, "seconds": 0.5, "cfg_scale": 3.0, **music_sampling.SETTINGS[name]}
    request = music_sampling.within(data, 24, error)
    spent = music_sampling.evaluations(request, error)
    more = music_sampling.evaluations(request.model_copy(update={"steps": request.steps + 1}), error)
    assert spent <= 24 < more
    passes: PassCounter = generator.generate(request).passes
    assert passes.evaluations == spent


@pytest.mark.benchmarks
def test_the_command_measures_prints_writes_and_draws(
    model: ModelFolder,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = list(music_sampling.SETTINGS)[:2]
    words = ["--model", model.path, "--dataset", dataset, "--games", "Castle", "Cave", "--seeds", 1, "--seconds", 1]
    words += ["--evaluations", 3, 5, "--only", *names, "--json", tmp_path / "a.json", "--picture", tmp_path / "a.png"]
    monkeypatch.setattr(sys, "argv", ["music_sampling", *map(str, words)])
    assert music_sampling.main() == 0
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [(row["setting"], row["budget"]) for row in rows] == [(name, budget) for budget in (3, 5) for name in names]
    for row in rows:
        assert row["clips"] == 2 and row["evaluations"] <= row["budget"] <= row["passes"]
        assert 0 <= row["class_control"] <= 1 and all(row[figure] > 0 for figure in music_sampling.FIGURES)
    assert Image.open(tmp_path / "a.png").height > 3 * 500


def test_a_folder_that_is_no_model_is_one_line() -> None:
    assert_one_line_error(run("-m", "tests.benchmarks.music_sampling", "--model", "nowhere"), "nowhere")
