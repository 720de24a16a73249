"""Describe: the facts of tracks, in the manifest, in the report's figures, and for tracks of any length."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch

from dataset_processing.step import Paths, Record
from dataset_processing.steps.describe import PART_HOPS, Describe
from dataset_processing.synth.composition import compose
from dataset_processing.synth.games import find_game
from dualdiffusion.conditioners.mixes import LEAST_KEY_CLARITY
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.data.facts import curve_at, facts_of_tags
from dualdiffusion.dsp.beat import BeatGrid
from tests import tiny
from tests.benchmarks.tempo import OTHER, distance, level_of
from tests.dualdiffusion.dsp.test_beat import clicks, regular


def described(folder: Path, audio: torch.Tensor, rate: int) -> Record:
    """The record of a track of the dataset after the step."""
    soundfile.write(folder / "track.flac", audio.T.numpy(), rate)
    step = Describe(Describe.Config(), paths=Paths(folder, folder))
    return step.run(Record("track.flac", fields={"file_name": "track.flac"}))


def test_a_long_track_is_read_in_parts_and_has_the_beat_of_its_clicks(tmp_path: Path) -> None:
    rate, seconds = 8000, 2.4 * PART_HOPS * 0.008
    record = described(tmp_path, 0.8 * clicks(regular(117, 0.3, seconds), seconds, rate), rate)
    beat = record.fields["facts"]["beat"]
    assert beat["bpm"] == pytest.approx(117, rel=0.001)
    assert record.measured["bpm"] == pytest.approx(beat["bpm"], abs=0.01)
    assert 0.5 < record.measured["beat_clarity"] <= 1
    assert json.loads(json.dumps(record.fields["facts"])) == record.fields["facts"]


@pytest.mark.parametrize("audio", [torch.zeros(1, 40000), torch.zeros(2, 3)], ids=["silence", "three samples"])
def test_what_has_no_beat_has_no_fact_and_is_no_error(audio: torch.Tensor, tmp_path: Path) -> None:
    record = described(tmp_path, audio, 8000)
    assert record.kept
    assert record.fields["facts"] == {}
    assert not {"bpm", "key"} & set(record.measured)


def scale(semitones: tuple[int, ...], tonic: float, rate: int) -> torch.Tensor:
    """The notes of a scale with their fifths one after the other, the tonic's chord at both ends: (1, N)."""
    time = torch.arange(rate // 2) / rate

    def note(*above: int) -> torch.Tensor:
        return sum(torch.sin(2 * torch.pi * tonic * 2 ** (s / 12) * time) for s in above)

    third = semitones[2]
    chord = [note(0, third, 7)] * 4
    return 0.1 * torch.cat([*chord, *(note(s) for s in semitones), *chord])[None]


@pytest.mark.parametrize(
    ("name", "semitones", "tonic"),
    [
        ("C major", (0, 2, 4, 5, 7, 9, 11), 261.63),
        ("A minor", (0, 2, 3, 5, 7, 8, 10), 220.0),
        ("F# major", (0, 2, 4, 5, 7, 9, 11), 369.99),
    ],
)
def test_a_scale_has_its_key(name: str, semitones: tuple[int, ...], tonic: float, tmp_path: Path) -> None:
    record = described(tmp_path, scale(semitones, tonic, 8000), 8000)
    assert record.fields["facts"]["key"]["name"] == name
    assert record.measured["key"] == name
    assert record.fields["facts"]["key"]["clarity"] >= LEAST_KEY_CLARITY


def test_loudness_and_brightness_follow_the_sound_whatever_the_parts(tmp_path: Path) -> None:
    rate, seconds = 8000, 40  # longer than a part
    time = torch.arange(rate * seconds) / rate
    later = time >= 35
    tone = torch.where(later, 0.05 * torch.sin(4000 * torch.pi * time), 0.5 * torch.sin(1000 * torch.pi * time))
    record = described(tmp_path, tone[None], rate)
    loud, bright = (record.fields["facts"][name] for name in ("loudness", "brightness"))
    assert len(loud["values"]) == len(bright["values"]) == seconds / loud["step"]
    assert loud["values"][69] - loud["values"][70] == pytest.approx(20, abs=0.3)
    assert bright["values"][69] == pytest.approx(-1, abs=0.1)
    assert bright["values"][70] == pytest.approx(1, abs=0.1)
    half = torch.tensor([10.0, 37.0], dtype=torch.float64)
    assert curve_at(bright, half).tolist() == pytest.approx([-1, 1], abs=0.1)


def test_tags_are_facts() -> None:
    assert facts_of_tags({"composer": " Ada; Bo ", "date": "2019-04-01", "genre": ""}) == {
        "composer": "Ada; Bo",
        "year": 2019,
    }
    assert facts_of_tags({"date": "12345", "title": "x"}) == {}


def test_the_real_command_tells_the_composed_tempo_of_each_track(tmp_path: Path) -> None:
    corpus = ("--games", 1, "--tracks", 2, "--seconds", 24)
    made = tiny.run("-m", "dataset_processing", "synth", tmp_path / "music", *corpus)
    assert made.returncode == 0, made.stderr
    config = {
        "source": str(tmp_path / "music"),
        "dataset": str(tmp_path / "dataset"),
        "processes": 1,
        "steps": [
            {"type": "scan.Scan"},
            {"type": "convert.Convert", "sample_rate": 16000},
            {"type": "split.Split", "validation_tracks": 1},
            {"type": "describe.Describe"},
        ],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = tiny.run("-m", "dataset_processing", "run", tmp_path / "config.json")
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "dataset" / "report.json").read_text())
    assert {"beat", "key", "loudness", "brightness"} <= set(report["summary"]["facts"])
    assert report["summary"]["facts"]["loudness"] == 2
    assert "What a network can be told" in (tmp_path / "dataset" / "report.html").read_text()
    dataset = DatasetFolder(tmp_path / "dataset")
    tracks = [track for split in ("train", "validation") for track in dataset.tracks(split)]
    assert len(tracks) == 2
    for track in tracks:
        number = int(Path(track.file_name).name.split()[0]) - 1
        truth = compose(find_game(track.game), number, seconds=24.0, seed=0).tempo
        beat = track.facts["beat"]
        assert level_of(beat["bpm"], truth) != OTHER
        grid = BeatGrid(beat["bpm"], beat["first"], beat["clarity"])
        assert distance(grid, BeatGrid(truth, 0.0, 1.0), track.seconds) < 0.02
