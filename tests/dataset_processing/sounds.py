"""Tiny audio files for the tests, made on the spot."""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from dataset_processing.run.run_config import RunConfig

RATE = 22050


def tune(seconds: float = 1.5, *, seed: int = 0, rate: int = RATE, channels: int = 2, peak: float = 0.5) -> np.ndarray:
    """Three decaying tones per second with a little noise, (frames, channels), float32; the seed chooses them."""
    return _tune(seconds, seed, rate, channels, peak).copy()


@lru_cache(maxsize=32)
def _tune(seconds: float, seed: int, rate: int, channels: int, peak: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    sound = 0.01 * random.standard_normal((len(time), channels))
    for start in np.arange(0, seconds, 1 / 3):
        heard = slice(*np.searchsorted(time, (start, start + 4)))  # then it is 100 dB below the noise
        since = time[heard] - start
        tone = np.sin(2 * np.pi * random.uniform(200, 2000) * since) * np.exp(-4 * since)
        sound[heard] += tone[:, None] * random.uniform(0.5, 1, channels)
    return (sound * peak / np.abs(sound).max()).astype(np.float32)


def write(path: Path, sound: np.ndarray | None = None, rate: int = RATE, **settings: str) -> Path:
    """Writes a sound (default: a tune) in the format that the name or `format` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(os.fsencode(path), tune() if sound is None else sound, rate, **settings)
    return path


def riff(
    *,
    channels: int = 2,
    rate: int = RATE,
    mask: int | None = None,
    stated: int | None = None,
    sound: np.ndarray | None = None,
) -> bytes:
    """A 16-bit WAV file written by hand: any channel count, rate, channel mask and stated length."""
    data = ((tune(channels=max(channels, 1)) if sound is None else sound) * 32767).astype("<i2").tobytes()
    header = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2, 16)
    if mask is not None:
        pcm = bytes.fromhex("0100000000001000800000aa00389b71")
        header = struct.pack("<H", 0xFFFE) + header[2:] + struct.pack("<HHI", 22, 16, mask) + pcm
    chunks = b"WAVEfmt " + struct.pack("<I", len(header)) + header + b"data"
    chunks += struct.pack("<I", len(data) if stated is None else stated) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def make_source(folder: Path, games: int = 2, tracks: int = 3, seconds: float = 1.5) -> Path:
    """A source folder of small FLAC files."""
    for game in range(games):
        for track in range(tracks):
            write(folder / f"game {game}" / f"track {track}.flac", tune(seconds, seed=100 * game + track))
    return folder


def make_config(source: Path, dataset: Path, *, processes: int = 2, **steps: dict) -> RunConfig:
    """The usual steps at 16 kHz with limits for short tracks; keyword arguments change the settings of a step."""
    settings = {
        "scan": {},
        "convert": {"sample_rate": 16000},
        "filter": {"min_seconds": 0.5},
        "split": {"validation_tracks": 1},
    }
    parts = [
        {"type": f"{name}.{name.capitalize()}", **values, **steps.get(name, {})} for name, values in settings.items()
    ]
    return RunConfig.from_json({"source": str(source), "dataset": str(dataset), "processes": processes, "steps": parts})


def contents(dataset: Path) -> dict[str, bytes]:
    """Every file of a dataset by its path, without the lock."""
    files = (path for path in dataset.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(dataset)): path.read_bytes() for path in files}
