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
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.dsp.beat import BeatGrid
from tests import tiny
from tests.benchmarks.tempo import OTHER, distance, level_of
from tests.dualdiffusion.test_beat import clicks, regular


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
    assert "bpm" not in record.measured


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
