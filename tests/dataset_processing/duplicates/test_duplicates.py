"""Near duplicates: one recording is found in any disguise, two recordings are told apart, and the better copy stays."""

from __future__ import annotations

import io
import json
from itertools import combinations

import numpy as np
import pytest
import soundfile
import soxr

from dataset_processing.duplicates.acoustic_fingerprint import FingerprintMeter, fingerprint_of
from dataset_processing.duplicates.near import Pair, find_pairs
from dataset_processing.duplicates.resolve import noted_relations, without_exact, without_near
from dataset_processing.step import Record
from tests import tiny
from tests.dataset_processing.sounds import RATE, tune, write


def fingerprint(sound: np.ndarray, rate: int = RATE) -> np.ndarray:
    return fingerprint_of([sound], rate)


def find(*sounds: np.ndarray, min_share: float = 0.05) -> list[Pair]:
    words = [sound if sound.dtype == np.uint32 else fingerprint(sound) for sound in sounds]
    return find_pairs(len(words), words.__getitem__, min_share=min_share)


def as_mp3(sound: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.9)
    file.seek(0)
    return soundfile.read(file, dtype="float32", always_2d=True)[0]


DISGUISES = {
    "quieter": lambda sound: 0.1 * sound,
    "upside down": lambda sound: -sound,
    "mono": lambda sound: sound.mean(1, keepdims=True),
    "without its start": lambda sound: sound[round(2.03 * RATE) :],
    "without its end": lambda sound: sound[: -3 * RATE],
    "after a silence": lambda sound: np.concatenate([np.zeros((4 * RATE, 2), np.float32), sound]),
    "noisy": lambda sound: sound + 0.005 * np.random.default_rng(1).standard_normal(sound.shape),
    "as a poor MP3": as_mp3,
    "0.1 % higher": lambda sound: soxr.resample(sound, RATE * 1.001, RATE),
    "0.2 % slower": lambda sound: soxr.resample(sound, RATE, RATE * 1.002),
    "clipped": lambda sound: np.clip(4 * sound, -1, 1),
}


@pytest.fixture(scope="module")
def recording() -> tuple[np.ndarray, np.ndarray]:
    """A sound and its fingerprint."""
    sound = tune(25, seed=3)
    return sound, fingerprint(sound)


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_recording_is_found_in_any_disguise(disguise, recording):
    sound, words = recording
    (pair,) = find(words, DISGUISES[disguise](sound).astype(np.float32))
    assert pair.share > 0.9
    assert pair.similarity > 0.8


@pytest.mark.slow
def test_different_recordings_are_told_apart():
    assert find(*(tune(15, seed=seed) for seed in range(20))) == []


def test_the_offset_and_the_share_are_those_of_the_common_part():
    first, second = tune(30, seed=1), tune(30, seed=2)
    mixed = np.concatenate([second[: 10 * RATE], first[5 * RATE : 20 * RATE]])
    (pair,) = find(first, mixed)
    assert pair.share == pytest.approx(0.6, abs=0.15)
    assert pair.offset == pytest.approx(5, abs=0.3)
    (swapped,) = find(mixed, first)
    assert (swapped.share, swapped.offset) == (pair.share, -pair.offset)


def test_a_fingerprint_does_not_depend_on_how_the_sound_is_cut_into_blocks():
    sound = tune(20)
    meter = FingerprintMeter(RATE)
    for start in range(0, len(sound), 10_007):
        meter.add(sound[start : start + 10_007])
    pieces = meter.result()
    assert np.bitwise_count(pieces ^ fingerprint(sound)).mean() < 0.01


def test_silence_and_very_short_sounds_resemble_nothing():
    silence = np.zeros((20 * RATE, 2), np.float32)
    assert not fingerprint(silence).any()
    assert len(fingerprint(silence[: RATE // 4])) == 0
    assert find(silence, silence, silence[: RATE // 4], tune(10)) == []


def test_all_versions_of_many_pieces_find_each_other():
    sounds = [tune(12, seed=seed) for seed in range(6)]
    words = [fingerprint(version) for sound in sounds for version in (sound, sound[RATE:], as_mp3(sound))]
    found = {(pair.first, pair.second) for pair in find(*words)}
    assert found == {pair for pair in combinations(range(18), 2) if pair[0] // 3 == pair[1] // 3}


# --- what follows from them


def track(file: str, **measured: object) -> Record:
    base = {"seconds": 60.0, "bandwidth_hz": 16000, "format": "FLAC", "audio_hash": f"hash of {file}"}
    return Record(file, file.split("/")[0], measured={**base, **measured})


def refused(records: list[Record], *pairs: tuple) -> dict[str, str]:
    found = [Pair(first, second, share, 0.95, 0.0) for first, second, share in pairs]
    result = without_near(records, found, range(len(records)), 0.8)
    return {record.file: record.measured["duplicate_of"] for record in result if not record.kept}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"seconds": 120.0, "bandwidth_hz": 11000}, {"seconds": 60.0}),
        ({"bandwidth_hz": 20000, "seconds": 58.0}, {"seconds": 60.0}),
        ({"seconds": 60.0}, {"seconds": 58.0}),
        ({}, {"format": "MP3"}),
    ],
)
def test_the_better_copy_stays_whatever_its_name(better, worse):
    assert refused([track("g/1", **worse), track("g/2", **better)], (0, 1, 1.0)) == {"g/1": "g/2"}
    assert refused([track("g/1", **better), track("g/2", **worse)], (0, 1, 1.0)) == {"g/2": "g/1"}


def test_an_excerpt_of_two_pieces_does_not_make_them_duplicates_of_each_other():
    records = [track("g/long", seconds=200.0), track("g/other", seconds=180.0), track("g/excerpt", seconds=10.0)]
    assert list(refused(records, (0, 2, 1.0), (1, 2, 1.0))) == ["g/excerpt"]


def test_tracks_that_share_a_part_are_kept_noted_and_belong_together():
    records = [track("g/1"), track("g/2"), track("g/3")]
    pairs = [Pair(0, 2, 0.5, 0.95, 1.0)]
    assert refused(records, (0, 2, 0.5)) == {}
    result = noted_relations(records, pairs, range(3))
    assert result[0].notes == ("shares sound with g/3 (50% of the shorter one)",)
    assert result[0].measured["same_side"] == result[2].measured["same_side"] == ["hash of g/1", "hash of g/3"]
    assert "same_side" not in result[1].measured


def test_equal_samples_are_refused_before_anything_is_compared():
    other, kept = without_exact([track("b/2", audio_hash="x"), track("a/1", audio_hash="x")])
    assert (kept.file, kept.kept) == ("a/1", True)
    assert other.reason == "a duplicate: its samples equal those of a/1"


@pytest.mark.parametrize("name", ["theme (1).ogg", "theme - Copy.ogg", "theme copy 2.ogg", "Theme - copy (3).flac"])
def test_what_a_file_manager_called_a_copy_is_the_copy(name):
    copy, kept = without_exact([track(f"a/{name}", audio_hash="x"), track("a/theme.ogg", audio_hash="x")])
    assert (copy.kept, kept.kept) == (False, True)


@pytest.mark.slow
def test_the_command_keeps_one_of_the_copies_and_says_which(tmp_path):
    sound = tune(12, seed=5, rate=44100)
    write(tmp_path / "source" / "Castle" / "theme.flac", sound, 44100)
    write(tmp_path / "source" / "Castle" / "theme.ogg", 0.5 * sound, 44100)
    write(tmp_path / "source" / "Cave" / "trimmed.mp3", sound[2 * 44100 :], 44100)
    write(tmp_path / "source" / "Cave" / "another.flac", tune(12, seed=6, rate=44100), 44100)
    dataset = tmp_path / "dataset"
    command = ("-m", "dataset_processing", "run", "config/dataset/default.json", "--set")
    settings = (f"source={tmp_path / 'source'}", f"dataset={dataset}")
    for _ in range(2):
        result = tiny.run(*command, *settings)
        assert result.returncode == 0, result.stderr
        files = {file["file"]: file for file in json.loads((dataset / "report.json").read_text())["files"]}
        assert [name for name, file in files.items() if file["verdict"] == "kept"] == [
            "Castle/theme.flac",
            "Cave/another.flac",
        ]
        for name in ("Castle/theme.ogg", "Cave/trimmed.mp3"):
            assert files[name]["reason"].startswith("nearly a duplicate: ")
            assert files[name]["reason"].endswith("sounds the same as Castle/theme.flac")
            assert files[name]["measured"]["duplicate_of"] == "Castle/theme.flac"
            assert files[name]["measured"]["similarity"] > 0.85
    assert "nothing to do" in result.stdout
    for path in (dataset / ".state" / "fingerprints").iterdir():
        path.unlink()
    (dataset / ".state" / "filter.pairs.json").unlink()
    again = tiny.run(*command, *settings)
    assert "nothing to do" in again.stdout, "deleted fingerprints are made again when they are needed"
