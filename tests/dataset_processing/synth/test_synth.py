"""The built-in corpus: deterministic, resumable, clean as sound and told apart by game."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC

from dataset_processing.synth import GAMES, compose_track, games, write_corpus
from dataset_processing.synth.games import find_game
from dataset_processing.synth.oscillators import pitch_frequency

NAMES = [game.name for game in GAMES]
RATE = 44100
MEL_RATE = 16000
MEL_BANDS = 48
FRAME, HOP = 1024, 512


def digests(folder: Path) -> dict[str, str]:
    """Hash of every file under a folder, by relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def mel_filters() -> np.ndarray:
    """Triangular mel filters (bands, bins) from 30 to 7600 Hz."""
    edges = 700.0 * (10.0 ** (np.linspace(47.0, 2796.0, MEL_BANDS + 2) / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(FRAME, 1.0 / MEL_RATE)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rise, fall))


def mel_statistics(audio: np.ndarray) -> np.ndarray:
    """Mean and deviation over time of the log-mel bands of (2, samples) at 16 kHz."""
    mono = audio.mean(axis=0)
    frames = np.lib.stride_tricks.sliding_window_view(mono, FRAME)[::HOP] * np.hanning(FRAME)
    logs = np.log(np.abs(np.fft.rfft(frames, axis=1)) ** 2 @ mel_filters().T + 1e-5)
    return np.concatenate([logs.mean(axis=0), logs.std(axis=0)])


@pytest.fixture(scope="module")
def pieces() -> dict[str, np.ndarray]:
    return {name: compose_track(name, 0, seconds=8.0, seed=3).audio for name in NAMES}


def test_the_first_games_are_the_agreed_ones_and_each_has_a_place_of_its_own() -> None:
    assert NAMES[:8] == ["Castle", "Cave", "Circuit", "Harbor", "Orbit", "Temple", "Meadow", "Foundry"]
    assert [game.place for game in GAMES] == list(range(1, len(NAMES) + 1))
    assert len(set(NAMES)) == len(NAMES)


def test_a_new_game_is_one_new_file_and_moves_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aquarium.py").write_text(
        "import dataclasses\n"
        "from dataset_processing.synth.games.cave import GAME as CAVE\n"
        f"GAME = dataclasses.replace(CAVE, name='Aquarium', place={len(GAMES) + 1})\n"
    )
    monkeypatch.setattr(games, "__path__", [*games.__path__, str(tmp_path)])
    try:
        assert [game.name for game in games.list_games()] == [*NAMES, "Aquarium"]
    finally:
        sys.modules.pop("dataset_processing.synth.games.aquarium", None)


@pytest.mark.parametrize("name", NAMES)
def test_sound_is_clean(name: str, pieces: dict[str, np.ndarray]) -> None:
    audio = pieces[name]
    assert audio.dtype == np.float32 and audio.shape[0] == 2
    assert 0.8 * 8.0 <= audio.shape[1] / RATE <= 1.2 * 8.0
    assert np.isfinite(audio).all()
    assert 0.3 < np.abs(audio).max() <= 0.9
    assert np.abs(audio.mean(axis=1)).max() < 1e-3
    assert 0.08 < np.sqrt(np.mean(audio**2)) < 0.25
    edge = int(0.005 * RATE)
    assert np.abs(audio[:, :edge]).max() < 1e-3 and np.abs(audio[:, -edge:]).max() < 1e-3
    side, mid = (audio[0] - audio[1]) / 2.0, (audio[0] + audio[1]) / 2.0
    assert 1e-3 < np.mean(side**2) / np.mean(mid**2) < 1.0
    # No hole in the music: every second but the faded last one is heard.
    seconds = audio[:, : (audio.shape[1] // RATE - 1) * RATE].reshape(2, -1, RATE)
    assert np.sqrt(np.mean(seconds**2, axis=(0, 2))).min() > 0.02


@pytest.mark.parametrize("name", NAMES)
def test_voices_do_not_alias(name: str) -> None:
    """Below 15 kHz a note has the same spectrum when it is rendered at twice the rate, where nothing can fold."""
    game = find_game(name)
    tops = {"lead": game.lead_range[1], "harmony": game.harmony_range[1] + 12, "bass": game.bass_low + 12}
    if game.pad_range is not None:
        tops["pad"] = game.pad_range[1]
    assert game.counter_voice in tops and game.counter_range[1] <= tops[game.counter_voice]
    for part, pitch in tops.items():
        voice = game.chip.voices[part]
        once = voice(pitch_frequency(pitch), 0.5, RATE)
        twice = voice(pitch_frequency(pitch), 0.5, 2 * RATE)
        spectra = []
        for wave, rate in ((once, RATE), (twice, 2 * RATE)):
            window = wave[: int(0.5 * rate)] * np.hanning(int(0.5 * rate))
            spectra.append(np.abs(np.fft.rfft(window))[: int(0.5 * 15000)] / rate)
        excess = np.sum((spectra[0] - spectra[1]) ** 2) / np.sum(spectra[1] ** 2)
        assert excess < 1e-5, f"{part}: {10 * np.log10(excess):.0f} dB"


def test_same_seed_same_sound_and_other_seed_other_sound() -> None:
    first = compose_track("Cave", 2, seconds=4.0, seed=5)
    again = compose_track("Cave", 2, seconds=4.0, seed=5)
    other = compose_track("Cave", 2, seconds=4.0, seed=6)
    assert first.title == again.title and first.audio.tobytes() == again.audio.tobytes()
    assert first.audio.tobytes() != other.audio.tobytes()


@pytest.mark.parametrize(("seconds", "rate"), [(0.05, 44100), (2.0, 44100), (5.0, 16000), (2.0, 8000)])
def test_tiny_lengths_and_low_rates(seconds: float, rate: int) -> None:
    for name in NAMES:
        audio = compose_track(name, 1, seconds=seconds, seed=0, sample_rate=rate).audio
        assert np.isfinite(audio).all() and np.abs(audio).max() <= 0.9
        assert 0.79 * seconds <= audio.shape[1] / rate <= 1.21 * seconds


@pytest.mark.slow
def test_games_are_told_apart_by_mel_statistics() -> None:
    def clips(name: str, track: int) -> list[np.ndarray]:
        audio = compose_track(name, track, seconds=14.0, seed=11, sample_rate=MEL_RATE).audio
        length = int(5.5 * MEL_RATE)
        return [mel_statistics(audio[:, start : start + length]) for start in (0, length)]

    train = {name: np.array([clip for track in range(4) for clip in clips(name, track)]) for name in NAMES}
    whole = np.concatenate(list(train.values()))
    mean, deviation = whole.mean(axis=0), whole.std(axis=0) + 1e-6
    centroids = np.array([((rows - mean) / deviation).mean(axis=0) for rows in train.values()])
    hits = [
        int(np.argmin(np.linalg.norm(centroids - (clip - mean) / deviation, axis=1))) == index
        for index, name in enumerate(NAMES)
        for track in (4, 5)
        for clip in clips(name, track)
    ]
    assert np.mean(hits) >= 0.95, f"{np.mean(hits):.3f} of {len(hits)}"


def test_corpus_is_whole_tagged_and_resumable(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    settings = {"games": 2, "tracks": 2, "seconds": 4.0, "seed": 9}
    summary = write_corpus(
        tmp_path / "a", **settings, processes=1, progress=lambda done, total: calls.append((done, total))
    )
    assert (summary.written, summary.kept, summary.games) == (4, 0, ("Castle", "Cave"))
    assert calls == [(done, 4) for done in range(5)]
    before = digests(tmp_path / "a")
    assert len(before) == 6 and {"corpus.json", "LICENSE.txt"} < set(before)
    assert json.loads((tmp_path / "a/corpus.json").read_text())["licence"] == "CC0-1.0"
    path = next((tmp_path / "a/Castle").glob("01 *.flac"))
    info, tags = soundfile.info(path), FLAC(path)
    assert (info.samplerate, info.channels, info.subtype) == (44100, 2, "PCM_16")
    assert tags["album"] == ["Castle"] and "CC0" in tags["license"][0] and "seed 9" in tags["comment"][0]

    stamps = {path: os.stat(path).st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    again = write_corpus(tmp_path / "a", **settings, processes=1)
    assert (again.written, again.kept) == (0, 4)
    assert stamps == {path: os.stat(path).st_mtime_ns for path in (tmp_path / "a").rglob("*")}

    # As after a kill: one piece missing, one half-written, no summary.
    path.unlink()
    (path.parent / ".tmp-1-2.flac").write_bytes(b"fLaC")
    (tmp_path / "a/corpus.json").unlink()
    assert write_corpus(tmp_path / "a", **settings, processes=1).written == 1
    assert digests(tmp_path / "a") == before

    assert write_corpus(tmp_path / "b", **settings, processes=2).written == 4
    assert digests(tmp_path / "b") == before


def test_other_settings_replace_own_files_only(tmp_path: Path) -> None:
    write_corpus(tmp_path, games=1, tracks=2, seconds=2.0, seed=0, processes=1)
    (tmp_path / "Castle/mine.flac").write_bytes(b"not a flac")
    summary = write_corpus(tmp_path, games=1, tracks=1, seconds=2.0, seed=1, processes=1)
    assert summary.written == 1 and summary.removed >= 1
    assert len(list((tmp_path / "Castle").iterdir())) == 2 and (tmp_path / "Castle/mine.flac").exists()


def test_scores_lie_beside_their_recordings_and_go_with_them(tmp_path: Path) -> None:
    settings = {"games": 2, "tracks": 1, "seconds": 2.0, "processes": 1}
    write_corpus(tmp_path, **settings)
    recordings = sorted(tmp_path.rglob("*.flac"))
    assert not list(tmp_path.rglob("*.mid"))
    # Recordings that are there already get their scores too.
    assert write_corpus(tmp_path, **settings, score=True).written == 0
    for recording in recordings:
        assert recording.with_suffix(".mid").read_bytes().startswith(b"MThd")
        assert recording.stem[3:] in recording.with_suffix(".txt").read_text()
    before = digests(tmp_path)
    write_corpus(tmp_path, **settings, score=True)
    assert digests(tmp_path) == before

    # Another seed replaces recordings and scores; notes of the user stay.
    notes = recordings[0].with_suffix(".txt")
    notes.write_text("I like this one")
    write_corpus(tmp_path, **settings, seed=1)
    assert not list(tmp_path.rglob("*.mid"))
    assert notes.read_text() == "I like this one"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("games", 0),
        ("games", len(NAMES) + 1),
        ("tracks", 0),
        ("tracks", 100),
        ("seconds", 0.0),
        ("seconds", -1.0),
        ("seconds", float("nan")),
        ("seed", -1),
        ("processes", 0),
    ],
)
def test_wrong_arguments_name_themselves(argument: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^{argument} must be .*, got"):
        write_corpus(tmp_path / "out", **{argument: value})
    assert not (tmp_path / "out").exists()


def test_unknown_game_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="Castle, Cave"):
        compose_track("Nowhere", 0, seconds=2.0, seed=0)
