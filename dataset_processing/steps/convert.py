"""Convert: one sample rate, one channel count, one loudness, and never a clipped sample."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Literal, Self

import numpy as np
import soxr
from pydantic import Field, field_validator

import dualdiffusion.config
from dataset_processing.meters import AudioMeter
from dataset_processing.step import JsonData, Paths, Record, Step
from dualdiffusion.audio import LoudnessMeter, TruePeakMeter, flac_writer, mixing_matrix, write_tags
from dualdiffusion.audio.decode import AudioError, AudioFile, Take, open_audio, rechunk
from dualdiffusion.files import atomic_path, sha256_of

_IN_MEMORY = 1 << 28  # bytes of converted audio held before it goes to the disk: about 17 minutes
_MIN_DC = 0.005
_LEFT_OPEN = {"sample_rate": 32000, "channels": 2}
"""Settings that may be null, and what they are where no later step needs anything else."""
_MAX_ODD_RATE = 65535
"""Hz; RFC 9639, section 9.1.2: frames tell rates in Hz by 16 bits, and in tens of Hz."""


class Convert(Step):
    """Writes `audio/<game>/<track>.flac`. Decoding, resampling and writing go block by block: memory stays bounded."""

    class Config(dualdiffusion.config.Config):
        """Settings of Convert."""

        sample_rate: int | None = Field(None, ge=4000, le=192000)
        """Of the dataset (Hz); null: that of the VAE with which a later step encodes it, 32000 without one."""
        channels: Literal[1, 2] | None = None
        """Of the dataset; null: as many as that VAE takes, 2 without one."""
        loudness_lufs: float | None = Field(-20.0, ge=-60, le=0)
        """Integrated loudness (ITU-R BS.1770) that tracks are brought to; null keeps theirs."""
        ceiling_dbfs: float = Field(-1.0, ge=-20, le=0)
        """No true peak exceeds this (dBFS): tracks whose peaks would, stay quieter than the target."""
        bits: Literal[16, 24] = 16
        """Bits per sample of the FLAC files."""
        resampler: Literal["HQ", "VHQ"] = "VHQ"
        """Quality of the soxr resampler."""

        @field_validator("sample_rate")
        @classmethod
        def _held_by_flac(cls, rate: int | None) -> int | None:
            if rate and rate > _MAX_ODD_RATE and rate % 10:
                raise ValueError(f"FLAC holds rates above {_MAX_ODD_RATE} in steps of 10, so not {rate}")
            return rate

        def settled(self, needed: Mapping[str, JsonData]) -> Self:
            """The same with what is left open as later steps need it."""
            return self.model_copy(
                update={
                    name: needed.get(name, value) for name, value in _LEFT_OPEN.items() if getattr(self, name) is None
                }
            )

    def __init__(self, config: Config, *, paths: Paths) -> None:
        super().__init__(config.settled({}), paths=paths)

    def run(self, record: Record) -> Record:
        """Writes the track as FLAC; refused where it can no longer be decoded, or has changed since it was scanned."""
        path = self.paths.source / record.source_file
        output = f"audio/{record.folder}/{record.track}.flac"
        target = self.paths.dataset / output
        self.paths.state.mkdir(parents=True, exist_ok=True)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=self.paths.state, prefix=".tmp-") as held:
            try:
                with open_audio(path, Take.from_json(record.song)) as audio:
                    levels, digest = self._convert(audio, record.measured, held)
            except AudioError as error:
                return record.refused(str(error))
            if _has_changed(record, path, digest):
                return record.refused("changed while it was being read; run again")
            gain, notes = self._gain(levels)
            with atomic_path(target) as temporary:
                peak = self._write(temporary, held, gain)
                write_tags(temporary, {**record.fields["tags"], "game": record.game})
        fields = {
            "file_name": output,
            "seconds": round(levels["frames"] / self.config.sample_rate, 4),
            "sample_rate": self.config.sample_rate,
            "channels": self.config.channels,
            "loudness_lufs": round(levels["lufs"] + 20 * math.log10(gain), 2)
            if math.isfinite(levels["lufs"])
            else None,
            "peak": round(peak, 6),
        }
        measured = {
            "source_loudness_lufs": round(levels["lufs"], 2) if math.isfinite(levels["lufs"]) else None,
            "gain_db": round(20 * math.log10(gain), 2),
        }
        outputs = {output: target.stat().st_size}
        return record.adding(fields=fields, measured=measured, outputs=outputs).noted(*notes)

    def _convert(
        self, audio: AudioFile, measured: dict[str, JsonData], held: IO[bytes]
    ) -> tuple[dict[str, float], str]:
        """Resamples and mixes into `held` as raw float32. Returns the levels there and the hash of the source audio."""
        config = self.config
        source = AudioMeter(audio.sample_rate, audio.channels, 0.0)
        loudness = LoudnessMeter(config.sample_rate, config.channels)
        true_peak = TruePeakMeter(config.sample_rate, config.channels)
        frames = 0
        for block in self._resampled(audio, measured, source):
            held.write(np.ascontiguousarray(block).data)
            loudness.add(block)
            true_peak.add(block)
            frames += len(block)
        return {"frames": frames, "lufs": loudness.integrated(), "peak": true_peak.result()}, source.digest()

    def _resampled(self, audio: AudioFile, measured: dict[str, JsonData], source: AudioMeter) -> Iterator[np.ndarray]:
        """Blocks (frames, channels) of the dataset's rate and channels, without DC."""
        config = self.config
        means = np.array(measured["channel_means"])
        offset = np.where(np.abs(means) > _MIN_DC, means, 0).astype(np.float32)
        matrix = mixing_matrix(audio.channels, config.channels).T if audio.channels != config.channels else None
        stream = None
        if audio.sample_rate != config.sample_rate:
            stream = soxr.ResampleStream(
                audio.sample_rate, config.sample_rate, config.channels, dtype="float32", quality=config.resampler
            )
        for block in rechunk(audio.blocks, audio.sample_rate * 5):
            source.hash(block)
            if offset.any():
                block = block - offset
            if matrix is not None:
                block = block @ matrix
            yield stream.resample_chunk(np.ascontiguousarray(block)) if stream else block
        if stream:
            yield stream.resample_chunk(np.zeros((0, config.channels), np.float32), last=True)

    def _gain(self, levels: dict[str, float]) -> tuple[float, list[str]]:
        """The factor that reaches the target loudness, or the ceiling if that comes first."""
        wanted = self.config.loudness_lufs
        gain = 1.0 if wanted is None or not math.isfinite(levels["lufs"]) else 10 ** ((wanted - levels["lufs"]) / 20)
        # One quantisation step below the ceiling, because rounding to integers may raise a peak by half a step.
        highest = 10 ** (self.config.ceiling_dbfs / 20) - 2.0 ** (1 - self.config.bits)
        if levels["peak"] * gain <= highest:
            return gain, []
        limited = highest / levels["peak"]
        if wanted is None:
            return limited, [f"made {-20 * math.log10(limited):.1f} dB quieter to keep its peaks below the ceiling"]
        short = 20 * math.log10(gain / limited)
        return limited, [f"{short:.1f} dB quieter than the target, to keep its peaks below the ceiling"]

    def _write(self, path: Path, held: IO[bytes], gain: float) -> float:
        """Writes the held audio times `gain` as FLAC; returns its highest sample."""
        config = self.config
        step, peak = 2.0 ** (config.bits - 1), 0.0
        held.seek(0)
        with flac_writer(path, config.sample_rate, config.channels, config.bits) as file:
            while data := held.read(config.sample_rate * 10 * config.channels * 4):
                block = np.frombuffer(data, np.float32).reshape(-1, config.channels) * np.float32(gain)
                peak = max(peak, float(np.round(np.abs(block).max() * step) / step))
                file.write(block)
        return peak


def _has_changed(record: Record, path: Path, digest: str) -> bool:
    """Whether a file holds something else than when it was scanned; `digest` is the hash of its audio now.

    A module may ask for random variations, and another version of its library, or of the decoder, may read a file in
    another way: then the file itself is compared.
    """
    return digest != record.measured["audio_hash"] and sha256_of(path) != record.fields["source_sha256"]
