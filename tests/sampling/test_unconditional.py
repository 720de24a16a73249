"""A model without games, a denoiser of label_dim 0, through every door: none is asked for, and none has to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import dualdiffusion
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from sampling.generator import Generator
from sampling.output.clips import read_settings
from sampling.request import Request
from tests import tiny
from tests.sampling.conftest import Command

SHORT = {"seconds": 0.5, "steps": 2, "phase_iterations": 2}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny.make_model(tmp_path_factory.mktemp("plain") / "plain", label_dim=0)


def test_the_folder_says_whether_clips_are_of_games(plain: ModelFolder, model: ModelFolder, tmp_path: Path) -> None:
    assert model.asks_for_games() and not plain.asks_for_games()
    assert ModelFolder(tmp_path).asks_for_games()  # it has no denoiser yet
    told = ModelFolder(tmp_path / "told")
    told.config_path("unet").parent.mkdir(parents=True)
    tempo = {"type": "conditioned.Conditioned", "backbone": {"label_dim": 0}, "conditioners": {"tempo": {}}}
    told.config_path("unet").write_text(json.dumps({"backbone": tempo}))
    assert told.asks_for_games()  # as they say which tempo is usual


def test_a_notebook_asks_for_no_game_and_guidance_takes_one_pass(plain: ModelFolder) -> None:
    model = dualdiffusion.load(plain.path)
    clip = model.generate(cfg_scale=3, **SHORT)
    assert torch.equal(clip.audio, model.generate({}, cfg_scale=1, **SHORT).audio)
    assert torch.equal(clip.audio, model.generate({"Castle": 1}, **SHORT).audio)  # which it is not told
    assert clip.result.passes.passes == clip.result.passes.evaluations > 0
    assert repr(clip).startswith("<clip: no game, seed 0")
    with pytest.raises(UserError, match="unknown game 'Castel'"):
        model.generate({"Castel": 1}, **SHORT)


def test_a_model_of_games_is_not_played_without_one(model: ModelFolder) -> None:
    for ask in (
        lambda: dualdiffusion.load(model.path).generate(**SHORT),
        lambda: Generator.load(model).generate(Request(games={}, **SHORT)),
    ):
        with pytest.raises(UserError, match=r"^games: at least one game needs a weight other than 0$"):
            ask()


def test_long_clips_loops_and_in_painting_need_no_game(plain: ModelFolder, tmp_path: Path) -> None:
    generator = Generator.load(plain)
    generator.window_columns = 4
    clip = dualdiffusion.load(plain.path).generate(**SHORT).save(tmp_path / "source.flac")
    for changes in ({"seconds": 1.5}, {"loop": True}, {"source": {"path": str(clip)}, "inpaint": ((0.1, 0.3),)}):
        result = generator.generate(Request(games={}, **{**SHORT, **changes}))
        assert result.audio.isfinite().all() and result.audio.abs().max() > 0


def test_the_command_line_asks_for_no_game(command: Command, plain: ModelFolder, tmp_path: Path) -> None:
    words = ["--model", plain.path, "--seconds", 0.5, "--steps", 2, "--out", tmp_path]
    made = command(*words)
    assert made.returncode == 0, made.stderr
    clip = tmp_path / "clip-seed0.flac"
    assert read_settings(clip)[0].games == {}
    again = command("--from", clip, "--out", tmp_path / "again")
    assert "identical to" in again.stdout, again.stderr
    tiny.assert_one_line_error(command(*words, "--each-game"), "--each-game", "is told no games")


def test_an_evaluation_measures_all_but_class_control(
    command: Command, plain: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    words = [
        "--dataset",
        dataset,
        "--games",
        "Castle",
        "Cave",
        "--clips",
        2,
        "--seconds",
        1.5,
        "--steps",
        2,
        "--resamples",
        20,
    ]
    words += ["--json", tmp_path / "all.json", "--picture", tmp_path / "all.png", "--clips-dir", tmp_path / "clips"]
    done = command("evaluate", "--model", plain.path, *words, "--embedding", "mel_statistics")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "all.json").read_text())
    assert figures["class_control"]["generated"] is None
    assert figures["class_control"]["validation"]["clips"] > 0
    assert "the model is told no games" in " ".join(figures["notes"])
    assert len(list((tmp_path / "clips").glob("clip-seed*.flac"))) == 4  # as many as of two games
    assert figures["distances"]["mel_statistics"]["sets"]["generated"]["clips"] == 4
