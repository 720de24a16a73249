"""Scan: decode every file whole, once, and measure what the later steps decide on."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

import dualdiffusion.config
from dataset_processing.decode import AudioError, AudioFile, open_audio, rechunk
from dataset_processing.decode.sniff import AUDIO_EXTENSIONS, extension_of
from dataset_processing.step import Record, Step
from dualdiffusion.audio import read_tags

_SILENCE_WINDOW = 0.05  # s
_SPECTRUM = 4096  # samples per window for the bandwidth


class Scan(Step):
    """Refuses what cannot be decoded whole, or holds nothing; measures and notes everything else."""

    class Config(dualdiffusion.config.Config):
        """Settings of Scan."""

        near_silent_dbfs: float = Field(-60.0, le=0)
        """A file whose highest peak lies below this is refused as silent (dBFS)."""
        silence_dbfs: float = Field(-60.0, le=0)
        """Windows of 50 ms whose RMS lies below this count as silence (dBFS)."""

    def run(self, record: Record) -> Record:
        path = self.paths.source / record.file
        try:
            with open_audio(path) as audio:
                meter = AudioMeter(audio.sample_rate, audio.channels, self.config.silence_dbfs)
                for block in rechunk(audio.blocks, audio.sample_rate * 5):
                    meter.add(block)
                return self._judge(record, path, audio, meter)
        except AudioError as error:
            named = extension_of(path.name) in AUDIO_EXTENSIONS
            return record.refused(str(error), audio=named or _is_music(str(error)))

    def _judge(self, record: Record, path: Path, audio: AudioFile, meter: AudioMeter) -> Record:
        if not meter.frames:
            return record.refused("holds no sound: its length is zero")
        if not meter.finite:
            return record.refused("holds samples that are not numbers (NaN or infinite)")
        measured = {
            "format": audio.kind,
            "sample_rate": audio.sample_rate,
            "channels": audio.channels,
            **meter.results(),
        }
        record = record.adding(measured=measured).noted(*audio.notes)
        if meter.highest == 0:
            return record.refused("silent: every sample is zero")
        if measured["peak_dbfs"] < self.config.near_silent_dbfs:
            return record.refused(f"as good as silent: its highest peak is {measured['peak_dbfs']:.1f} dBFS")
        tags = read_tags(path)
        fields: dict[str, Any] = {
            "source_file": record.file,
            "source_sha256": sha256_of(path),
            "title": tags.get("title", os.path.splitext(path.name)[0].encode("utf-8", "replace").decode()),
            "artist": tags.get("artist", ""),
            "tags": tags,
        }
        return record.adding(fields=fields).noted(*describe(measured))


def describe(measured: dict[str, Any]) -> list[str]:
    """What is unusual about a track, and what the conversion makes of it."""
    notes = []
    channels, rate = measured["channels"], measured["sample_rate"]
    if channels == 1:
        notes.append("mono")
    if channels > 2:
        notes.append(f"{channels} channels, mixed down")
    if rate < 32000 or rate > 48000:
        notes.append(f"sample rate {rate} Hz")
    if measured["peak_dbfs"] > 0.1:
        notes.append(f"peaks {measured['peak_dbfs']:.1f} dB above full scale, scaled down instead of clipped")
    if measured["clipped_share"] > 0.001:
        notes.append(f"clipped: {measured['clipped_share']:.1%} of its samples stand at its ceiling")
    if measured["dc_offset"] > 0.005:
        notes.append(f"DC offset of {measured['dc_offset']:.3f}, removed")
    if measured["silent_channels"]:
        numbers = ", ".join(str(channel + 1) for channel in measured["silent_channels"])
        notes.append(f"channel {numbers} of {channels} is silent")
    elif channels == 2 and measured["same_channels"]:
        notes.append("both channels are the same: mono stored as stereo")
    if measured["silence_share"] > 0.3:
        notes.append(f"{measured['silence_share']:.0%} of it is silence")
    return notes


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_music(reason: str) -> bool:
    """Whether a file with a strange name was recognised as some kind of music all the same."""
    return not any(word in reason for word in ("not audio", "empty file", "zero bytes", "not recognised"))


class AudioMeter:
    """Measures a signal that is given in blocks (frames, channels) of float32."""

    def __init__(self, sample_rate: int, channels: int, silence_dbfs: float) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self.frames = 0
        self.finite = True
        self._hash = hashlib.blake2b(f"{sample_rate} {channels}".encode(), digest_size=16)
        self._sum = np.zeros(channels)
        self._peak = np.zeros(channels)
        self._same = channels > 1
        self._ceiling = 0.0
        self._at_ceiling = 0
        self._windows = self._silent = 0
        self._silence = 10 ** (silence_dbfs / 10)
        self._spectrum = np.zeros(_SPECTRUM // 2 + 1)

    @property
    def highest(self) -> float:
        """The largest magnitude of any sample."""
        return float(self._peak.max())

    def add(self, block: np.ndarray) -> None:
        self.frames += len(block)
        self.hash(block)
        rows = np.ascontiguousarray(block.T)
        high, low = rows.max(1), rows.min(1)
        if not np.isfinite(high + low).all():
            self.finite = False
            return
        self._peak = np.maximum(self._peak, np.maximum(high, -low))
        self._sum += rows.sum(1, dtype=np.float64)
        self._same = self._same and bool((rows[0] == rows[1:]).all())
        self._count_ceiling(rows, float(max(high.max(), -low.min())))
        window = max(round(_SILENCE_WINDOW * self.sample_rate), 1)
        whole = rows.shape[1] // window * window
        power = np.square(rows[:, :whole]).reshape(self.channels, -1, window).mean(2).max(0)
        self._windows += len(power)
        self._silent += int((power < self._silence).sum())
        mono = rows.mean(0)
        for at in range(0, len(mono) - _SPECTRUM + 1, 8 * _SPECTRUM):
            self._spectrum += np.abs(np.fft.rfft(mono[at : at + _SPECTRUM] * np.hanning(_SPECTRUM))) ** 2

    def hash(self, block: np.ndarray) -> None:
        """Takes the block into the hash alone."""
        self._hash.update(np.ascontiguousarray(block).data)

    def _count_ceiling(self, rows: np.ndarray, peak: float) -> None:
        """Counts samples within 0.1 % of the highest value so far: hard clipping leaves many there."""
        if peak > self._ceiling * 1.001:
            self._ceiling, self._at_ceiling = peak, 0
        self._at_ceiling += int((np.abs(rows) >= self._ceiling * 0.999).sum())

    def results(self) -> dict[str, Any]:
        """JSON values: levels in dBFS, shares from 0 to 1, seconds, Hz."""
        mean = self._sum / self.frames
        return {
            "frames": self.frames,
            "seconds": round(self.frames / self.sample_rate, 3),
            "peak_dbfs": round(20 * math.log10(max(self.highest, 1e-9)), 2),
            "dc_offset": round(float(np.abs(mean).max()), 5),
            "channel_means": [float(value) for value in mean],
            "clipped_share": round(self._at_ceiling / (self.frames * self.channels), 6),
            "silence_share": round(self._silent / max(self._windows, 1), 4),
            "silent_channels": [int(c) for c in np.flatnonzero(self._peak < 1e-4)] if self.highest > 1e-3 else [],
            "same_channels": self._same,
            "bandwidth_hz": self._bandwidth(),
            "audio_hash": self.digest(),
        }

    def digest(self) -> str:
        """A hash of the decoded samples."""
        return self._hash.hexdigest()

    def _bandwidth(self) -> int:
        """The highest frequency (Hz) whose mean power lies within 80 dB of the strongest; lossy codecs cut it off."""
        level = self._spectrum / max(self._spectrum.max(), 1e-30)
        return round(int(np.flatnonzero(level >= 1e-8).max(initial=0)) * self.sample_rate / _SPECTRUM)
