"""Meters that a signal flows through once, in blocks: levels, silence, clipping, stereo image, and spectrum."""

from __future__ import annotations

import hashlib
import math
from typing import Protocol

import numpy as np

from dataset_processing.step import JsonData

_SILENCE_WINDOW = 0.05  # s
_ABSURD = 1e6  # times full scale
_FLAT = 0.0005  # of the ceiling: within it, samples count as equal
_LOWEST_DB = -120.0


class Meter(Protocol):
    """Measures a signal that is given in blocks."""

    def add(self, rows: np.ndarray) -> None:
        """Takes the next block: (channels, frames), float32, finite, contiguous."""
        ...

    def results(self) -> dict[str, JsonData]:
        """What was measured, as JSON data."""
        ...


class AudioMeter:
    """Feeds blocks (frames, channels) of float32 to all meters, and knows what makes a signal unusable.

    Attributes:
        frames: how many were added.
        finite: whether every sample is a number.
        sane: whether no sample lies beyond a million times full scale.
    """

    def __init__(self, sample_rate: int, channels: int, silence_dbfs: float) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self.frames = 0
        self.finite = self.sane = True
        self._hash = hashlib.blake2b(f"{sample_rate} {channels}".encode(), digest_size=16)
        self._high, self._low = np.full(channels, -np.inf), np.full(channels, np.inf)
        self._meters: list[Meter] = [
            LevelMeter(sample_rate, channels, silence_dbfs),
            ClippingMeter(),
            StereoMeter(channels),
            SpectrumMeter(sample_rate),
        ]

    @property
    def highest(self) -> float:
        """The largest magnitude of any sample."""
        return float(np.maximum(self._high, -self._low).max())

    @property
    def swing(self) -> float:
        """Half the distance between the highest and the lowest sample of the channel where it is largest."""
        return float((self._high - self._low).max() / 2)

    def add(self, block: np.ndarray) -> None:
        """Takes the next block (frames, channels), float32, full scale at +-1."""
        self.frames += len(block)
        self.hash(block)
        if not len(block):
            return
        rows = np.ascontiguousarray(block.T)
        high, low = rows.max(1), rows.min(1)
        if not np.isfinite(high).all() or not np.isfinite(low).all():
            self.finite = False
            return
        self._high, self._low = np.maximum(self._high, high), np.minimum(self._low, low)
        self.sane = self.sane and self.highest < _ABSURD
        if self.sane:
            for meter in self._meters:
                meter.add(rows)

    def hash(self, block: np.ndarray) -> None:
        """Takes the block into the hash alone."""
        self._hash.update(np.ascontiguousarray(block).data)

    def results(self) -> dict[str, JsonData]:
        """JSON values: levels in dBFS, shares from 0 to 1, seconds, Hz."""
        measured: dict[str, JsonData] = {
            "frames": self.frames,
            "seconds": round(self.frames / self.sample_rate, 3),
            "peak_dbfs": round(20 * math.log10(max(self.highest, 1e-9)), 2),
        }
        for meter in self._meters:
            measured |= meter.results()
        return {**measured, "audio_hash": self.digest()}

    def digest(self) -> str:
        """A hash of the decoded samples."""
        return self._hash.hexdigest()


class LevelMeter:
    """Offset, and the share of windows of 50 ms that are silent in every channel (an offset is no sound)."""

    def __init__(self, sample_rate: int, channels: int, silence_dbfs: float) -> None:
        self._window = max(round(_SILENCE_WINDOW * sample_rate), 1)
        self._silence = 10 ** (silence_dbfs / 10)
        self._sum = np.zeros(channels)
        self._frames = self._windows = self._silent = 0

    def add(self, rows: np.ndarray) -> None:
        """Takes the next samples (channels, samples), float32."""
        self._frames += rows.shape[1]
        self._sum += rows.sum(1, dtype=np.float64)
        whole = rows.shape[1] // self._window * self._window
        if not whole:
            return
        windows = rows[:, :whole].reshape(len(rows), -1, self._window)
        power = (np.square(windows).mean(2) - np.square(windows.mean(2))).max(0)
        self._windows += len(power)
        self._silent += int((power < self._silence).sum())

    def results(self) -> dict[str, JsonData]:
        """`dc_offset` and `channel_means` (full scale is 1), and `silence_share` from 0 to 1."""
        mean = self._sum / max(self._frames, 1)
        return {
            "dc_offset": round(float(np.abs(mean).max()), 5),
            "channel_means": [float(value) for value in mean],
            "silence_share": round(self._silent / max(self._windows, 1), 4),
        }


class ClippingMeter:
    """The share of samples in flat tops: at least three equal ones in a row at the highest magnitude of the track.

    A waveform of steps (a naive pulse wave, an old sound chip) is flat everywhere and not only at its ceiling: it is
    not clipped.
    """

    def __init__(self) -> None:
        self._ceiling = 0.0
        self._flat = self._samples = 0

    def add(self, rows: np.ndarray) -> None:
        """Takes the next samples (channels, samples), float32."""
        self._samples += rows.size
        magnitude = np.abs(rows)
        peak = float(magnitude.max())
        if peak > self._ceiling * (1 + _FLAT):
            self._ceiling, self._flat = peak, 0
        top = magnitude >= self._ceiling * (1 - _FLAT)
        starts = top[:, :-2] & top[:, 1:-1] & top[:, 2:]
        if not starts.any():
            return
        elsewhere = ~top & (magnitude > 0.001 * self._ceiling)
        level = elsewhere[:, 1:] & (rows[:, 1:] == rows[:, :-1])
        if elsewhere.sum() < 0.02 * rows.size or level.sum() > 0.25 * elsewhere.sum():
            return
        flat = np.zeros_like(top)
        for offset in range(3):
            flat[:, offset : offset + starts.shape[1]] |= starts
        self._flat += int(flat.sum())

    def results(self) -> dict[str, JsonData]:
        """`clipped_share` from 0 to 1."""
        return {"clipped_share": round(self._flat / max(self._samples, 1), 6)}


class StereoMeter:
    """Each channel's level, and of stereo how far the difference of the channels lies above or below their sum."""

    def __init__(self, channels: int) -> None:
        self._power = np.zeros(channels)
        self._sides = np.zeros(2)
        self._peaks = np.zeros(channels)
        self._same = channels > 1
        self._frames = 0

    def add(self, rows: np.ndarray) -> None:
        """Takes the next samples (channels, samples), float32."""
        self._frames += rows.shape[1]
        self._power += np.array([np.dot(row, row) for row in rows], np.float64)
        self._peaks = np.maximum(self._peaks, np.abs(rows).max(1))
        self._same = self._same and bool((rows[0] == rows[1:]).all())
        if len(rows) == 2:
            mid, side = rows[0] + rows[1], rows[0] - rows[1]
            self._sides += (float(np.dot(mid, mid)), float(np.dot(side, side)))

    def results(self) -> dict[str, JsonData]:
        """`channel_dbfs` and `side_to_mid_db` (dB), `silent_channels` (numbers from 0), `same_channels`."""
        power = self._power / max(self._frames, 1)
        levels = [round(float(10 * np.log10(max(value, 1e-12))), 1) for value in power]
        silent = [int(channel) for channel in np.flatnonzero(self._peaks < 1e-4)] if self._peaks.max() > 1e-3 else []
        mid, side = np.maximum(self._sides, 1e-12)
        ratio = float(np.clip(10 * np.log10(side / mid), _LOWEST_DB, -_LOWEST_DB))
        return {
            "channel_dbfs": levels,
            "silent_channels": silent,
            "same_channels": self._same,
            "side_to_mid_db": round(ratio, 1) if len(levels) == 2 else None,
        }


class SpectrumMeter:
    """Where the spectrum ends, and whether it ends at a sharp edge, as lossy coders and resamplers leave one.

    For every frequency it keeps how often which level occurred, in steps of 2 dB, in windows of about 0.1 s.
    What decides is the level that is exceeded in a tenth of the sounding windows: rare events (a click, an overload)
    do not count, and instruments that play now and then do.
    """

    _STEP = 2.0  # dB
    _FLOOR, _LEVELS = -160.0, 84  # dB of a full-scale sine; steps above it
    _NOISE_DB = -114.0  # what dithered 16-bit silence does not exceed
    _RANGE_DB = 80.0  # below the strongest frequency, nothing counts as content
    _LOWEST_HZ = 2000.0  # edges are not looked for below
    _EMPTY_DB = -95.0  # coders and resamplers leave nothing above their edge; simple tones over noise have one too

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._size = 4096 << max(0, math.ceil(math.log2(sample_rate / 64000)))
        window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._window = window * np.float32(2 / window.sum())
        self._bins = self._size // 2 + 1
        self._counts = np.zeros(self._bins * self._LEVELS, np.int64)
        self._offsets = np.arange(self._bins) * self._LEVELS

    def add(self, rows: np.ndarray) -> None:
        """Takes the next samples (channels, samples), float32."""
        # Unequal weights: channels in opposite phase must not cancel.
        weights = np.array([0.8**channel for channel in range(len(rows))], np.float32)
        mono = (weights / weights.sum()) @ rows
        if len(mono) < self._size:
            mono = np.pad(mono, (0, self._size - len(mono)))
        # Every other window: half the work, the same picture.
        windows = mono[: len(mono) // self._size * self._size].reshape(-1, self._size)[::2]
        spectrum = np.fft.rfft(windows * self._window)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        power = power[power.max(1) > 1e-7]
        level = (10 * np.log10(power + 1e-30) - self._FLOOR) / self._STEP
        index = np.clip(level, 0, self._LEVELS - 1).astype(np.intp) + self._offsets
        self._counts += np.bincount(index.ravel(), minlength=len(self._counts))

    def results(self) -> dict[str, JsonData]:
        """`bandwidth_hz`, and `cutoff_hz`: the sharp edge, or None."""
        levels = self.levels()
        cutoff = self._edge(levels)
        threshold = max(levels.max() - self._RANGE_DB, self._NOISE_DB)
        wide = max(round(200 / self._hertz), 1)
        padded = np.pad(levels, wide // 2, mode="edge")
        smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, wide)[: self._bins], axis=1)
        content = np.flatnonzero((smooth > threshold) | (levels > threshold + 10))
        bandwidth = content.max(initial=0) * self._hertz
        return {
            "bandwidth_hz": round(min(bandwidth, cutoff or bandwidth)),
            "cutoff_hz": None if cutoff is None else round(cutoff),
        }

    @property
    def _hertz(self) -> float:
        return self.sample_rate / self._size

    def levels(self) -> np.ndarray:
        """The level (dB of a full-scale sine) that each frequency exceeds in a tenth of the windows: (bins,)."""
        counts = self._counts.reshape(self._bins, self._LEVELS)
        above = np.cumsum(counts[:, ::-1], 1)[:, ::-1]
        reached = (above >= np.maximum(0.1 * above[:, :1], 1)).sum(1) - 1
        return self._FLOOR + self._STEP * np.maximum(reached, 0)

    def _edge(self, levels: np.ndarray, fall_db: float = 16.0) -> float | None:
        """The lowest frequency (Hz) above which everything lies `fall_db` below what stands under it, within 0.5 kHz.

        "Under it" is the weakest quarter of the 1.35 kHz below: lines of single tones with gaps between are no edge.
        """
        hertz = self._hertz
        # The highest level from each bin to the end, but for a few single lines (whistles of screens and converters).
        upper = np.maximum.accumulate(_without_lines(levels, max(round(150 / hertz), 3))[::-1])[::-1]
        for at in range(round(self._LOWEST_HZ / hertz), self._bins - round(500 / hertz), max(round(40 / hertz), 1)):
            under = np.percentile(levels[at - round(1500 / hertz) : at - round(150 / hertz)], 25)
            above = upper[at + round(350 / hertz)]
            if under > self._NOISE_DB and above < self._EMPTY_DB and under - above >= fall_db:
                return (at + int(np.argmax(upper[at:] < (under + above) / 2))) * hertz
        return None


def _without_lines(levels: np.ndarray, width: int) -> np.ndarray:
    """A running 80th percentile of about `width` values: broad content stays, single lines go."""
    padded = np.pad(levels, width // 2, mode="edge")
    return np.percentile(np.lib.stride_tricks.sliding_window_view(padded, width)[: len(levels)], 80, axis=1)
