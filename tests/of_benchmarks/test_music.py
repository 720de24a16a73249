"""The benchmarks of music and of class control, on the tiny model; the corpus that they compose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dualdiffusion import audio
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from sampling.evaluation.distances import KernelMatrices, gaussian_kernel
from sampling.evaluation.measures import GENERATED, THROUGH_VAE
from sampling.evaluation.music.figures import OF_CORPUS, OF_FORMAT
from tests import tiny
from tests.benchmarks import corpus
from tests.benchmarks.corpus import built_in_dataset
from tests.benchmarks.music import AT_LEAST, AT_MOST, TEXTS, figures

FAST = ("--seconds", 1, "--set", "phase_iterations=1", "steps=2")


def evaluation() -> dict[str, Any]:
    def shares(beat: float, sharpness: float, onsets: float) -> dict[str, Any]:
        values = {"beat": beat, "sharpness": sharpness, "onsets": onsets}
        return {"measures": {name: {"value": value} for name, value in values.items()}}

    sets = {
        GENERATED: {"kad": {"value": 1.0}, "kad_biased": 2.4},
        THROUGH_VAE: {"kad": {"value": -0.1}, "kad_biased": 1.6},
    }
    return {
        "music": {"kept": {OF_CORPUS: shares(0.5, 0.1, 0.2), OF_FORMAT: shares(0.3, 0.6, 0.7)}},
        "distances": {"mel_statistics": {"sets": sets}},
        "class_control": {"generated": {"accuracy": {"value": 0.9}}},
        "copies": {"flagged": 3, "more_alike_than_training_tracks": 1},
    }


def test_each_figure_is_a_share_of_what_its_goal_is_stated_against() -> None:
    found = figures(evaluation(), 7.5)
    assert found == {
        "beat_ratio": 0.5,
        "sharpness_ratio": 0.6,
        "onset_ratio": 0.7,
        "class_control": 0.9,
        "kad_ratio": pytest.approx(1.5),
        "copies": 1,
        "seconds_per_clip": 7.5,
    }
    assert set(found) == set(TEXTS) == set(AT_LEAST) | set(AT_MOST)


def test_the_biased_kernel_distance_is_never_negative_and_tends_to_the_unbiased_one() -> None:
    kernel, generator = gaussian_kernel(2.0), torch.Generator().manual_seed(0)

    def distances(count: int, shift: float) -> tuple[float, float]:
        x, y = torch.randn(2, count, 1, 4, generator=generator, dtype=torch.float64)
        matrices = KernelMatrices.of(x + shift, y, kernel, [0] * count, [0] * count)
        return matrices.mmd2_biased(), matrices.mmd2()

    few = [distances(8, 0.0) for _ in range(20)]
    assert min(biased for biased, _ in few) > 0 > min(unbiased for _, unbiased in few)
    biased, unbiased = distances(400, 1.0)
    assert biased == pytest.approx(unbiased, rel=0.05)
    x = torch.randn(5, 2, 3, generator=generator, dtype=torch.float64)
    assert KernelMatrices.of(x, x, kernel, [0] * 5, [0] * 5).mmd2_biased() == pytest.approx(0, abs=1e-12)


@pytest.mark.benchmarks
def test_the_command_measures_a_model_prints_goals_and_writes_its_figures(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    base = ("-m", "tests.benchmarks.music", "--model", model.path, "--dataset", dataset, "--clips", 2, *FAST)
    result = tiny.run(*base, "--json", tmp_path / "out.json", "--picture", tmp_path / "out.png")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert set(found) == {*TEXTS, "evaluation"}
    music = found["evaluation"]["music"]["stages"]
    ratio = music[GENERATED]["sharpness"]["value"] / music["training through the format"]["sharpness"]["value"]
    assert found["sharpness_ratio"] == pytest.approx(ratio)
    assert found["seconds_per_clip"] > 0
    assert found["kad_ratio"] > 0.1  # of random weights, and through a VAE of such
    assert "missed" in result.stdout
    assert "at least 0.85" in result.stdout
    assert (tmp_path / "out.png").stat().st_size > 1000


@pytest.mark.benchmarks
def test_class_control_alone_says_what_the_whole_evaluation_says(
    model: ModelFolder, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dataset = tiny.make_dataset(tmp_path_factory.mktemp("long") / "dataset", seconds=9.0)
    command = ("-m", "tests.benchmarks.class_control", "--model", model.path, "--dataset", dataset, "--clips", 2)
    result = tiny.run(*command, "--steps", 2, "--json", tmp_path / "out.json")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["corpus_accuracy"] == 1  # one pitch per game
    assert found["corpus_clips"] == len(tiny.GAMES)
    assert found["generated_clips"] == 2 * len(tiny.GAMES)
    assert found["chance"] == pytest.approx(1 / 3)
    assert {len(row["heard_as"]) for row in found["games"].values()} == {2}
    right = sum(row["accuracy"] for row in found["games"].values()) / len(tiny.GAMES)
    assert found["generated_accuracy"] == pytest.approx(right)


def test_wrong_options_are_told_before_anything_is_composed(model: ModelFolder, tmp_path: Path) -> None:
    base = ("-m", "tests.benchmarks.music", "--model", model.path, "--work", tmp_path / "work")
    tiny.assert_one_line_error(tiny.run(*base, "--clips", 1), "--clips", "2 or more")
    tiny.assert_one_line_error(tiny.run(*base, "--held-out-seed", 0), "--held-out-seed 0", "--corpus-seed")
    assert not (tmp_path / "work").exists()
    with pytest.raises(UserError, match=r"none of the built-in games .*Castle.*--dataset"):
        built_in_dataset(["Mine"], 8000, tmp_path, seed=0, held_out_seed=1, tracks=2)


@pytest.mark.benchmarks
def test_the_composed_corpus_holds_out_tracks_of_another_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: object) -> None:
        result = tiny.run("-m", "dataset_processing", *words)  # a fork: it need not import everything anew
        assert result.returncode == 0, result.stderr

    monkeypatch.setattr(corpus, "_run", run)

    def compose() -> Path:
        lengths = {"tracks": 2, "held_out_tracks": 1, "track_seconds": 12.0}
        return built_in_dataset(["Mine", "Cave"], 8000, tmp_path / "work", seed=0, held_out_seed=5, **lengths)

    folder = compose()
    dataset = DatasetFolder(folder)
    splits = {split: dataset.tracks(split) for split in ("train", "validation")}
    assert [track.game for track in splits["train"]] == ["Castle", "Castle", "Cave", "Cave"]
    assert [track.game for track in splits["validation"]] == ["Castle", "Cave"]
    assert dataset.labels().names == ["Castle", "Cave"]
    heard = set()
    for track in (*splits["train"], *splits["validation"]):
        samples, rate = audio.read(track.path, frames=4000)
        assert rate == track.sample_rate == 8000
        heard.add(samples.numpy().tobytes())
    assert len(heard) == 6
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.flac")}
    assert compose() == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.flac")} == times
