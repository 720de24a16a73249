"""Latents of a track that is read tile by tile: memory does not grow with its length.

What becomes latents, and how tiles fit together without a seam, is the codec's matter (dualdiffusion/codec.py).

Shapes: C audio channels, N samples; Z latent channels, F rows, T columns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from dualdiffusion.codec import CONTEXT_COLUMNS, TILE_COLUMNS, Codec, tile_columns
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.contracts import Autoencoder, Format

_BLOCK = 1 << 16  # samples that are read at once


@dataclass(frozen=True)
class Variation:
    """One way to play a track: from `offset` samples on, `pitch` semitones higher, perhaps left for right."""

    offset: int = 0
    pitch: float = 0.0
    mirrored: bool = False


class TrackAudio:
    """A FLAC file of the dataset, read once from its start to its end, `pitch` semitones higher and as much faster.

    Seeking would be exact in FLAC, but not in a resampler; reading forwards also decodes nothing twice.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, pitch: float = 0.0) -> None:
        self._path, self.pitch = path, pitch
        try:
            self._file = soundfile.SoundFile(os.fsencode(path))
        except soundfile.LibsndfileError as error:
            raise self._unreadable(error.error_string) from None
        self.sample_rate, self.channels = self._file.samplerate, self._file.channels
        rate = round(self.sample_rate / 2 ** (pitch / 12))
        # Rounded down, because the resampler may end half a sample earlier or later.
        self.samples = self._file.frames * rate // self.sample_rate
        self._stream = None
        if rate != self.sample_rate:
            self._stream = soxr.ResampleStream(self.sample_rate, rate, self.channels, dtype="float32", quality="VHQ")
        self._held, self._start, self._ended = np.zeros((0, self.channels), np.float32), 0, False

    def __enter__(self) -> TrackAudio:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def window(self, start: int, end: int) -> Tensor:
        """Samples `start` to `end` of the track as (C, N); none that have been forgotten."""
        blocks, held = [self._held], self._start + len(self._held)
        while held < end and not self._ended:
            blocks.append(self._read())
            held += len(blocks[-1])
        if held < end:
            raise self._unreadable("it ends too early")
        if len(blocks) > 1:
            self._held = np.concatenate(blocks)
        return torch.from_numpy(self._held[start - self._start : end - self._start].T.copy())

    def forget(self, before: int) -> None:
        """Frees the memory of samples that are not needed any more."""
        dropped = min(max(0, before - self._start), len(self._held))
        self._held, self._start = self._held[dropped:].copy(), self._start + dropped

    def _read(self) -> np.ndarray:
        try:
            block = self._file.read(_BLOCK, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise self._unreadable(error.error_string) from None
        self._ended = len(block) < _BLOCK
        return block if self._stream is None else self._stream.resample_chunk(block, last=self._ended)

    def _unreadable(self, reason: str) -> OSError:
        # Not a UserError, which would end the run, nor a verdict, which would be remembered when the file is whole.
        return OSError(f"{self._path}: {reason}; delete this file, and the next run makes it again")


@dataclass(frozen=True)
class Encoder:
    """A codec for many clips at a time.

    On a GPU, clips of equal length are encoded in batches of `batch_size`. On a CPU each clip is encoded alone, by one
    of `workers` threads: this is faster there, and the result depends on nothing but the clip.
    """

    format: Format
    vae: Autoencoder
    dtype: torch.dtype
    batch_size: int
    workers: int

    @cached_property
    def codec(self) -> Codec:
        """What the encoder encodes with."""
        return Codec(self.format, self.vae, dtype=self.dtype)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(Z, F, 0)."""
        return self.vae.latent_shape(self.format.sample_shape(0))

    def misfit(self, track: TrackAudio) -> str | None:
        """Why the format cannot take a track, and what helps; None where it can."""
        rate, channels = self.format.sample_rate, self.format.num_channels
        if track.sample_rate != rate:
            return (
                f"has {track.sample_rate} Hz, but the model's format {rate} Hz; set sample_rate of the convert step to "
                f"{rate}"
            )
        if track.channels != channels:
            return (
                f"has {track.channels} channels, but the model's format {channels}; set channels of the convert step "
                f"to {channels}"
            )
        return None

    def encode(self, clips: Sequence[Tensor], skip: int, frames: int, conditioning: Conditioning) -> list[Tensor]:
        """Clips (C, N) of equal length -> normalised latents (Z, F, T) float32 on the CPU, each of `frames` frames.

        Args:
            skip: frames at the start that give the spectrogram its context, and no more.
            conditioning: one game, or nothing.
        """
        on_cpu = self.vae.device.type == "cpu"
        size, workers = (1, min(self.workers, self.batch_size)) if on_cpu else (self.batch_size, 1)
        batches = [torch.stack(list(clips[at : at + size])) for at in range(0, len(clips), size)]

        def run(batch: Tensor) -> Tensor:
            return self.encode_batch(batch, skip, frames, conditioning)

        if workers == 1:
            return [latents for batch in batches for latents in run(batch)]
        with ThreadPoolExecutor(workers) as pool:
            return [latents for result in pool.map(run, batches) for latents in result]

    @torch.inference_mode()
    def encode_batch(self, audio: Tensor, skip: int, frames: int, conditioning: Conditioning) -> Tensor:
        """One batch (B, C, N) -> (B, Z, F, T); see `encode`."""
        return self.codec.told(conditioning).encode_excerpts(audio, skip, frames).cpu()


def encode_tiles(
    encoder: Encoder, tracks: dict[float, TrackAudio], variations: Sequence[Variation], conditioning: Conditioning
) -> Iterator[tuple[int, int, Tensor]]:
    """Tiles of all variations, as (number of the variation, first column, latents (Z, F, columns) float32).

    Args:
        tracks: for each pitch among the variations, the track at its start.
    """
    format, hops = encoder.format, encoder.vae.downsampling
    tile, context = tile_columns(format, encoder.vae, TILE_COLUMNS) * hops, CONTEXT_COLUMNS * hops
    lengths = [encoder.codec.columns(tracks[v.pitch].samples - v.offset) * hops for v in variations]
    # The spectrogram's window reaches beyond its frames: some more audio, whose frames are thrown away.
    reach = format.context_frames
    for first in range(0, max(lengths), tile):
        start = max(0, first - context)
        skip = min(start, reach)
        groups: dict[int, list[int]] = {}  # by where the tile ends: only clips of one length make a batch
        for number, length in enumerate(lengths):
            if first < length:
                groups.setdefault(min(length, first + tile + context), []).append(number)
        # Before the next tile is read: a track's memory is that of one tile and its context.
        for track in tracks.values():
            track.forget(format.num_samples(start - skip))
        for end, numbers in groups.items():
            clips = [_clip(format, tracks, variations[n], start - skip, end + reach) for n in numbers]
            tiles = encoder.encode(clips, skip, end - start, conditioning)
            kept = slice((first - start) // hops, (min(first + tile, end) - start) // hops)
            for number, latents in zip(numbers, tiles, strict=True):
                yield number, first // hops, latents[..., kept]


def _clip(format: Format, tracks: dict[float, TrackAudio], variation: Variation, first: int, end: int) -> Tensor:
    """Frames `first` to `end` of a variation as audio (C, N), silent beyond its last whole frame."""
    track, offset = tracks[variation.pitch], variation.offset
    frames = format.num_frames(track.samples - offset)
    samples = track.window(offset + format.num_samples(first), offset + format.num_samples(min(end, frames)))
    samples = torch.nn.functional.pad(samples, (0, format.num_samples(max(0, end - frames))))
    return samples.flip(0) if variation.mirrored else samples
