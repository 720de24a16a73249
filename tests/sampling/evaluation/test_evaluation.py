"""What an evaluation hears of clips, and the real command."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import pytest
import torch

from dualdiffusion import audio
from dualdiffusion.data.dataset_folder import Track
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_jsonl
from dualdiffusion.model.folder import ModelFolder
from sampling.evaluation import command
from sampling.evaluation.classifier import NearestCentroid
from sampling.evaluation.clips import excerpts, spread, through_the_vae
from sampling.evaluation.embeddings import build_embedding, embedding_names
from sampling.evaluation.measures import GENERATED, THROUGH_VAE, TRAINING, distance_figures
from sampling.evaluation.sound import FIGURES, sound_figures
from sampling.generator import Generator
from tests import tiny
from tests.sampling.evaluation.draws import features_of, normal, seeded

RATE = 16000


# Sets of clips


def test_a_set_of_the_same_distribution_is_not_told_from_training_and_a_shifted_one_is() -> None:
    reference, training = features_of(normal(24, 4, 0, frames=2)), features_of(normal(24, 4, 1, frames=2))
    for shift, differs in ((0.0, False), (1.0, True)):
        made = features_of(normal(24, 4, 2, frames=2, shift=shift))
        sets = {GENERATED: made, TRAINING: training, THROUGH_VAE: made}
        figures = distance_figures(reference, sets, "e", draws=60, seed=0)
        assert figures == distance_figures(reference, sets, "e", draws=60, seed=0)
        row = figures["sets"][GENERATED]
        for key in ("frechet", "kad", "kid"):
            above = row["above_training"][key]
            assert (above["low"] > 0) == differs, key
            assert above["low"] < above["value"] < above["high"]
        assert (row["kad"]["low"] > 0) == differs
        assert not figures["shrunk"]
        assert row["frechet_extrapolated"] < row["frechet_biased"]


def test_the_classifier_tells_clusters_apart_whatever_the_scale_of_a_feature() -> None:
    centres = torch.tensor([[0.0, 0.0], [1.0, 1000.0], [2.0, 0.0]])
    classes = torch.arange(60) % 3
    noise = torch.randn(60, 2, generator=seeded()) * torch.tensor([0.1, 300.0])
    classifier = NearestCentroid(centres[classes] + noise, classes, 3)
    assert classifier(centres).tolist() == [0, 1, 2]


def test_excerpts_lie_side_by_side_and_are_spread_over_the_tracks() -> None:
    def track(name: str, seconds: float) -> Track:
        return Track(Path(name), name, "Castle", 0, seconds, 100, 2)

    found = excerpts([track("a", 5.5), track("b", 1.5), track("c", 4.0)], 2.0, 10)
    assert [(e.track.file_name, e.start, e.frames) for e in found["Castle"]] == [
        ("a", 0, 200),
        ("a", 200, 200),
        ("c", 0, 200),
        ("c", 200, 200),
    ]
    assert excerpts([track("b", 1.5)], 2.0, 10) == {}
    assert [e.track.file_name for e in excerpts([track("a", 5.5), track("c", 4.0)], 2.0, 2)["Castle"]] == ["a", "c"]
    assert spread(list(range(100)), 4) == [12, 37, 62, 87]


# Embeddings and sound


@pytest.fixture(scope="module")
def generator(model: ModelFolder) -> Generator:
    return Generator.load(model)


@pytest.mark.parametrize("name", embedding_names())
def test_every_embedding_gives_finite_frames_of_its_dimension_that_tell_sounds_apart(
    name: str, generator: Generator
) -> None:
    embedding = build_embedding(name, generator)
    assert embedding.name == name
    time = torch.arange(3 * tiny.SAMPLE_RATE) / tiny.SAMPLE_RATE
    noise = 0.1 * torch.randn(2, len(time), generator=seeded())
    low, high = (0.3 * torch.sin(2 * torch.pi * f * time).expand(2, -1) + noise for f in (200, 2000))
    with torch.inference_mode():
        frames = [embedding(clip, tiny.SAMPLE_RATE) for clip in (low, high, low + 0.001 * noise, 0 * low)]
    frames = [x[None] if x.ndim == 1 else x for x in frames]
    assert {x.shape for x in frames} == {(3, embedding.dim)}
    assert all(bool(x.isfinite().all()) for x in frames)
    assert float((frames[0] - frames[1]).norm()) > 3 * float((frames[0] - frames[2]).norm())


def test_a_clip_through_the_vae_keeps_its_length_and_is_no_longer_itself(generator: Generator) -> None:
    clip = 0.1 * torch.randn(2, 8001, generator=seeded())
    decoded = through_the_vae(generator, clip, "Cave", 1)
    assert decoded.shape == clip.shape
    assert bool(decoded.isfinite().all())
    assert not torch.allclose(decoded, clip, atol=1e-2)


def test_the_figures_of_a_sine_are_what_they_must_be() -> None:
    time = torch.arange(2 * RATE) / RATE
    sine = 0.5 * torch.sin(2 * torch.pi * 1000 * time)
    found = dict(zip(FIGURES, sound_figures(torch.stack([sine, sine / 2]), RATE).tolist(), strict=True))
    assert found["peak"] == pytest.approx(20 * math.log10(0.5), abs=0.01)
    assert found["side_to_mid"] == pytest.approx(20 * math.log10(0.25 / 0.75), abs=0.01)
    assert found["correlation"] == pytest.approx(1)
    assert found["silence"] == 0
    assert found["centroid"] == pytest.approx(1000, abs=2)
    assert found["bandwidth"] < 20
    assert found["loudness"] == pytest.approx(audio.loudness_lufs(torch.stack([sine, sine / 2]), RATE))
    half = torch.cat([sine, 0 * sine]).expand(1, -1)
    mono = dict(zip(FIGURES, sound_figures(half, RATE).tolist(), strict=True))
    assert mono["silence"] == pytest.approx(0.5, abs=0.02)
    assert math.isnan(mono["side_to_mid"])
    assert math.isnan(mono["correlation"])
    silent = sound_figures(torch.zeros(2, RATE), RATE)
    assert silent[list(FIGURES).index("silence")] == 1
    assert not bool(silent[[0, 1, 2, 3, 5, 6]].isfinite().any())


# The command


FAST = ["--clips", "2", "--seconds", "1", "--steps", "2", "--set", "phase_iterations=1", "--resamples", "20"]


def arguments(*given: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return parser.parse_args(list(map(str, given)))


def test_the_command_measures_prints_and_writes(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    base = ("-m", "sampling.evaluation", "--model", model.path, "--dataset", dataset, *FAST)
    result = tiny.run(*base, "--json", tmp_path / "out.json", "--clips-dir", tmp_path / "clips")
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["fingerprint"] == f"{model.fingerprint('vae')}-{model.fingerprint('unet')}"
    assert set(figures["distances"]) == set(embedding_names())
    assert figures["class_control"]["validation"]["accuracy"]["value"] == 1  # one pitch per game
    assert figures["class_control"]["generated"]["clips"] == 2 * len(tiny.GAMES)
    assert len(figures["copies"]["clips"]) == 2 * len(tiny.GAMES)
    for rows in figures["distances"].values():
        sets = rows["sets"]
        assert sets[GENERATED]["kad"]["value"] > sets[TRAINING]["kad"]["high"]  # random weights make no music
    assert figures["settings"]["request"]["steps"] == 2
    assert len(list((tmp_path / "clips").glob("*.flac"))) == 2 * len(tiny.GAMES)
    seeds = {clip["clip"] for clip in figures["nearest"]["vae_latents"]["clips"]}
    assert {"Castle, seed 0", "Cave, seed 1", "Circuit, seed 2", "Castle, seed 3"} <= seeds
    assert "too few" in result.stdout
    for word in ("KAD", "Frechet", "chance 33%", "correlation", "loudness", "3 tracks only"):
        assert word in result.stdout, word


def test_a_model_that_gives_back_its_training_music_is_caught(
    model: ModelFolder, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memorised(generator: Generator, request: object, **settings: object) -> object:
        game = next(iter(request.games))  # type: ignore[attr-defined]
        samples, _ = audio.read(dataset / "audio" / game / "0.flac", start=6500, frames=tiny.SAMPLE_RATE)
        return argparse.Namespace(audio=0.5 * samples)

    # Other music than tones, which are all alike: noise that swells differently in every track.
    for index, path in enumerate(sorted((dataset / "audio").rglob("*.flac"))):
        samples, rate = audio.read(path)
        envelope = torch.rand(1, 40, generator=seeded(index)).repeat_interleave(samples.shape[1] // 40, dim=1)
        copy = tmp_path / "dataset" / path.relative_to(dataset)
        copy.parent.mkdir(parents=True, exist_ok=True)
        noise = 0.3 * torch.randn(2, envelope.shape[1], generator=seeded(100 + index))
        audio.write_flac(copy, noise * envelope, rate)
    for name in ("train.jsonl", "validation.jsonl", "dataset_info.json"):
        (tmp_path / "dataset" / name).write_text((dataset / name).read_text())
    dataset = tmp_path / "dataset"
    monkeypatch.setattr(Generator, "generate", memorised)
    given = arguments("--model", model.path, "--dataset", dataset, *FAST, "--embedding", "mel_statistics")
    given.json = tmp_path / "out.json"
    assert command.run(given) == 0
    copies = json.loads(given.json.read_text())["copies"]
    assert copies["flagged"] == 2 * len(tiny.GAMES)
    for clip in copies["clips"]:
        assert clip["track"] == f"audio/{clip['clip'].split(',')[0]}/0.flac"
        assert clip["track_seconds"] == pytest.approx(6500 / tiny.SAMPLE_RATE, abs=0.05)


def test_too_little_memory_for_a_clip_is_told_with_the_remedy(
    model: ModelFolder, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")

    monkeypatch.setattr("sampling.batch.Batch.results", full)
    given = ["--model", model.path, "--dataset", dataset, *FAST, "--embedding", "mel_statistics"]
    with pytest.raises(UserError, match=r"out of memory at 1 s .*; ask for a shorter clip"):
        command.run(arguments(*given))


def test_one_game_and_two_clips_are_enough_to_run_and_too_few_to_conclude(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    given = ["--model", model.path, "--dataset", dataset, *FAST, "--games", "Cave", "--seconds", "2"]
    out = tmp_path / "out.json"
    assert command.run(arguments(*given, "--embedding", "mel_statistics", "--json", out)) == 0
    notes = " ".join(json.loads(out.read_text())["notes"])
    for words in ("2 generated clips are too few", "one game", "regularised", "1 track only"):
        assert words in notes
    with pytest.raises(UserError, match="validation split gives only one clip of 4 s"):
        command.run(arguments(*given, "--seconds", "4"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "nowhere"], ["nowhere: no such model folder"]),
        (["--dataset", "nowhere"], ["nowhere", "not a finished dataset"]),
        (["--clips", "1"], ["--clips", "2 or more"]),
        (["--seconds", "0.5"], ["--seconds", "1 or more"]),
        (["--seconds", "100"], ["no track of 100 s", "--seconds"]),
        (["--seconds", "nan"], ["--seconds"]),
        (["--embedding", "mel_statistic"], ["no such embedding", "nearest: mel_statistics"]),
        (["--games", "Castel"], ["--games: unknown game 'Castel'", "Castle"]),
        (["--ema", "ema_9"], ["no EMA 'ema_9'"]),
        (["--set", "stps=3"], ["stps", "did you mean steps?"]),
        (["--set", "seed=3"], ["--set seed", "--seed"]),
        (["--set", "source.path=a.flac"], ["--set source", "made from nothing", "leave it out"]),
        (["--set", "inpaint=[[0,1]]"], ["--set inpaint", "leave it out"]),
        (["--set", "extend_after=1"], ["--set extend_after", "leave it out"]),
        (["--steps", "0"], ["steps", "greater than or equal to 1"]),
        (["--json", "tests"], ["tests", "is a folder"]),
        (["--clips-dir", "README.md"], ["README.md", "is a file"]),
        (["--device", "nonsense"], ["--device nonsense"]),
    ],
)
def test_what_a_user_gets_wrong_is_told(
    options: list[str], words: list[str], model: ModelFolder, dataset: Path
) -> None:
    given = ["--model", model.path, "--dataset", dataset, *FAST, *options]
    with pytest.raises(UserError) as error:
        command.run(arguments(*given))
    for word in words:
        assert word in str(error.value)


def test_datasets_that_do_not_fit_are_refused_in_one_line(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    tiny.assert_one_line_error(
        tiny.run("-m", "sampling.evaluation", "--model", model.path), "config.json", "name it with --dataset"
    )
    records = [json.loads(line) for line in (dataset / "train.jsonl").read_text().splitlines()]
    (tmp_path / "dataset_info.json").write_text((dataset / "dataset_info.json").read_text())
    write_jsonl(tmp_path / "train.jsonl", records)
    write_jsonl(tmp_path / "validation.jsonl", [])
    given = arguments("--model", model.path, "--dataset", tmp_path, *FAST)
    with pytest.raises(UserError, match="no validation split"):
        command.run(given)
    write_jsonl(tmp_path / "validation.jsonl", [{**record, "sample_rate": 44100} for record in records])
    with pytest.raises(UserError, match="44100 Hz, but the model makes 8000 Hz"):
        command.run(given)


def test_help_needs_no_torch() -> None:
    assert "mel_statistics, vae_latents" in " ".join(tiny.help_without_torch("sampling.evaluation").split())
