"""`python -m sampling likelihood`: odd tracks, games that are heard, and memorising."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.loaded import load_model
from sampling.command.likelihood import Weighed, summary, told
from sampling.likelihood import log_likelihood
from tests.sampling.conftest import Command
from tests.tiny import GAMES, assert_one_line_error


def weighed(split: str, *nats: float, heard: str | None = "Castle") -> list[Weighed]:
    return [Weighed(f"{split} {i}", "Castle", split, value, heard, 0.0) for i, value in enumerate(nats)]


def test_a_track_far_below_the_others_of_its_split_is_odd() -> None:
    result = summary(weighed("train", -1.0, -1.1, -0.9, -1.05, -4.0) + weighed("validation", -4.0, -4.1))
    assert result["odd"] == ["train 4"]
    assert "odd: train 4 (Castle): -4.0000" in list(told(result))


@pytest.mark.parametrize(
    ("train", "validation", "verdict"),
    [
        ((-1.0, -1.1, -0.9), (-2.0, -2.1, -1.9), "memorising"),
        ((-1.0, -1.1, -0.9), (-1.0, -1.2, -0.8), "not seen"),
        ((-2.0, -2.1, -1.9), (-1.0, -1.1, -0.9), "not seen"),
        ((-1.0, -1.1, -0.9), (-2.0,), "unknown"),
        ((), (), "unknown"),
    ],
)
def test_training_tracks_that_are_clearly_likelier_are_memorised(
    train: tuple[float, ...], validation: tuple[float, ...], verdict: str
) -> None:
    result = summary(weighed("train", *train) + weighed("validation", *validation))
    assert result["verdict"] == verdict
    assert list(told(result))


def test_games_that_are_heard_are_counted_and_a_model_without_games_hears_none() -> None:
    heard = weighed("train", -1.0, -1.1) + weighed("train", -1.0, heard="Cave")
    assert summary(heard)["games_heard_right"] == pytest.approx(2 / 3)
    assert summary(weighed("train", -1.0, heard=None))["games_heard_right"] is None


def test_the_command_weighs_tracks_of_both_splits_under_every_game(
    command: Command, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    words = ("likelihood", model.path, dataset, "--seconds", 0.5, "--steps", 2, "--tracks", 3)
    result = command(*words, "--json", tmp_path / "found.json")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert [track["split"] for track in found["tracks"]] == ["train"] * 3 + ["validation"] * 3
    assert {track["heard"] for track in found["tracks"]} <= set(GAMES)
    assert all(track["margin"] >= 0 for track in found["tracks"])
    assert all((track["margin"] == 0) == (track["heard"] == track["game"]) for track in found["tracks"])
    assert found["verdict"] in ("memorising", "not seen")
    assert result.stdout.count("audio/") >= 6 and "games: heard right in" in result.stdout
    # The figure of one track, by the function that is tested on data whose density is known.
    loaded, folder = load_model(model, device="cpu"), DatasetFolder(dataset)
    track = folder.tracks("train")[0]
    from safetensors.torch import load_file

    latents = load_file(folder.latents_path(track, model.fingerprint("vae")))["latents"][0].float()
    first = (latents.shape[-1] - 8) // 2
    position = loaded.vae.latent_position(loaded.format.position())
    labels = Conditioning(torch.eye(len(GAMES))[[track.game_id]])
    x = latents[None, :, :, first : first + 8]
    expected = log_likelihood(loaded.denoiser, x, labels, position=position, steps=2)
    assert found["tracks"][0]["nats"] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--steps", 1), "--steps 1"),
        (("--seconds", "nan"), "--seconds nan"),
        (("--tracks", 0), "--tracks"),
        (("--ema", "none"), "no EMA 'none'"),
    ],
)
def test_what_cannot_be_weighed_is_one_line(
    command: Command, model: ModelFolder, dataset: Path, changes: tuple[object, ...], message: str
) -> None:
    assert_one_line_error(command("likelihood", model.path, dataset, *changes), message)


def test_a_track_is_weighed_under_its_game_whatever_number_its_dataset_gives_it(
    command: Command, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    other = tmp_path / "dataset"
    shutil.copytree(dataset, other)
    for path in (other / "train.jsonl", other / "validation.jsonl"):
        path.write_text(re.sub(r'"game_id": \d+', '"game_id": 0', path.read_text()))
    found = []
    for number, folder in enumerate((dataset, other)):
        words = ("--seconds", 0.5, "--steps", 2, "--tracks", 3, "--json", tmp_path / f"{number}.json")
        assert command("likelihood", model.path, folder, *words).returncode == 0
        found.append(json.loads((tmp_path / f"{number}.json").read_text())["tracks"])
    assert found[0] == found[1]


def test_latents_of_another_model_are_refused_with_the_remedy(
    command: Command, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset, tmp_path / "dataset")
    shutil.rmtree(tmp_path / "dataset" / "latents")
    result = command("likelihood", model.path, tmp_path / "dataset", "--seconds", 0.5)
    assert_one_line_error(result, "encode")
