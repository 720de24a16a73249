"""A robust audio fingerprint: what a piece sounds like, whatever its codec, loudness, sample rate and start.

After Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002): every 50 ms a word of 32 bits, the
signs of how the differences between neighbouring frequency bands change over time. Two copies of a recording differ in
few bits, two recordings in nearly half of them. Unlike in the paper, levels are logarithmic over a floor, so digital
silence gives zeros and near-silence does not give the codec's noise.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soxr

from dualdiffusion.files import atomic_path

VERSION = 1
"""To be raised when the same sound gets other words."""

FINGERPRINTS = "fingerprints"
"""The folder for them, below the state folder of a dataset."""

FRAME_SECONDS = 0.05
"""Distance of the words of a fingerprint."""

_RATE = 8000  # Hz: what lossy codecs leave alone
_WINDOW = 2048
_HOP = int(_RATE * FRAME_SECONDS)
_LAG = 8  # frames between the two moments that are compared
_BANDS = 33
_BAND_LIMITS = (200.0, 3400.0)  # Hz
_FLOOR = 1e-2  # of the mean energy of a band: codecs change what lies 20 dB below it
_BLOCK = 512  # frames per batch of transforms


def fingerprint_path(state: Path, audio_hash: str) -> Path:
    """Where the fingerprint of the track with these decoded samples lies."""
    return state / FINGERPRINTS / f"{audio_hash}.npy"


def write_fingerprint(path: Path, words: np.ndarray) -> None:
    """Writes a fingerprint, atomically."""
    with atomic_path(path) as temporary:
        np.save(temporary, words)


def read_fingerprint(path: Path) -> np.ndarray | None:
    """The fingerprint (words,) uint32; None where there is none, or a damaged one."""
    try:
        words = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return words if words.ndim == 1 and words.dtype == np.uint32 else None


class FingerprintMeter:
    """Takes a signal in blocks and gives its fingerprint; memory grows by 2.6 kB per second."""

    def __init__(self, sample_rate: int) -> None:
        self._stream = soxr.ResampleStream(sample_rate, _RATE, 1, dtype="float32", quality="LQ")
        self._held = np.zeros(0, np.float32)
        self._energies: list[np.ndarray] = []
        self._window = np.hanning(_WINDOW).astype(np.float32)
        self._bands = _band_matrix()

    def add(self, block: np.ndarray) -> None:
        """Takes (frames, channels), float32, finite."""
        self._take(np.ascontiguousarray(block.mean(1, keepdims=True)), last=False)

    def result(self) -> np.ndarray:
        """The fingerprint (words,) uint32; empty for less than 0.7 s. To be called once, at the end."""
        self._take(np.zeros((0, 1), np.float32), last=True)
        energy = np.concatenate(self._energies) if self._energies else np.zeros((0, _BANDS), np.float32)
        if len(energy) <= _LAG:
            return np.zeros(0, np.uint32)
        level = np.log(energy + _FLOOR * energy.mean() + 1e-20)
        slope = level[:, :-1] - level[:, 1:]
        bits = (slope[_LAG:] - slope[:-_LAG]) > 0
        return np.packbits(bits, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)

    def _take(self, block: np.ndarray, *, last: bool) -> None:
        fresh = self._stream.resample_chunk(block, last=last)[:, 0]
        self._held = np.concatenate([self._held, fresh])
        while (ready := (len(self._held) - _WINDOW) // _HOP + 1) >= (1 if last else _BLOCK):
            count = min(ready, _BLOCK)
            frames = np.lib.stride_tricks.sliding_window_view(self._held, _WINDOW)[: count * _HOP : _HOP]
            spectrum = np.fft.rfft(frames * self._window)
            self._energies.append((spectrum.real**2 + spectrum.imag**2) @ self._bands)
            self._held = self._held[count * _HOP :]


def fingerprint_of(blocks: Iterable[np.ndarray], sample_rate: int) -> np.ndarray:
    """The fingerprint (words,) uint32 of blocks (frames, channels)."""
    meter = FingerprintMeter(sample_rate)
    for block in blocks:
        meter.add(block)
    return meter.result()


def _band_matrix() -> np.ndarray:
    """(bins, bands): 1 where a bin of the transform lies in a band; the bands are equally wide in octaves."""
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / _RATE)
    edges = np.geomspace(*_BAND_LIMITS, _BANDS + 1)
    return ((frequencies[:, None] >= edges[:-1]) & (frequencies[:, None] < edges[1:])).astype(np.float32)
