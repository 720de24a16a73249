"""Clips to compare: excerpts of a dataset's tracks, and the same through the format and through the VAE.

Audio is read and made one clip at a time; only what is measured of it stays, and a few examples for a picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.codec import Codec
from dualdiffusion.conditioning import game_conditioning
from dualdiffusion.data.dataset_folder import DatasetFolder, Track
from dualdiffusion.errors import UserError
from sampling.batch import PEAK_LIMIT
from sampling.generator import Generator


@dataclass(frozen=True)
class Excerpt:
    """A part of a track: `frames` samples from `start`."""

    track: Track
    start: int
    frames: int

    @property
    def name(self) -> str:
        """The track and the second at which the excerpt begins."""
        return f"{self.track.file_name} at {self.start / self.track.sample_rate:.1f} s"

    def read(self, channels: int) -> Tensor:
        """(channels, frames).

        Raises:
            UserError: the file is shorter than its manifest says, or of another sample rate.
        """
        samples, sample_rate = audio.read(self.track.path, start=self.start, frames=self.frames)
        if sample_rate != self.track.sample_rate or samples.shape[1] < self.frames:
            raise UserError(f"{self.track.path}: is not as its manifest says; run dataset_processing again")
        return audio.mix_channels(samples, channels)


def tracks_of(dataset: DatasetFolder, split: str, sample_rate: int) -> list[Track]:
    """The tracks of a split.

    Raises:
        UserError: there are none, or they have another sample rate than the model.
    """
    tracks = dataset.tracks(split)
    if not tracks:
        raise UserError(f"{dataset.path}: has no {split} split; make the dataset with one (the step split)")
    for track in tracks:
        if track.sample_rate != sample_rate:
            raise UserError(
                f"{dataset.path}: {track.file_name} has {track.sample_rate} Hz, but the model makes {sample_rate} Hz; "
                "name the dataset that it was trained on"
            )
    return tracks


def excerpts(tracks: Iterable[Track], seconds: float, limit: int) -> dict[str, list[Excerpt]]:
    """Whole excerpts of each game, side by side, at most `limit` of each, spread evenly over its tracks.

    Tracks that are too short give none, and games without any excerpt are left out.
    """
    found: dict[str, list[Excerpt]] = {}
    for track in tracks:
        frames, available = round(seconds * track.sample_rate), int(track.seconds * track.sample_rate)
        starts = range(0, available - frames + 1, frames)
        found.setdefault(track.game, []).extend(Excerpt(track, start, frames) for start in starts)
    return {game: spread(items, limit) for game, items in found.items() if items}


def spread(items: list, limit: int) -> list:
    """At most `limit` items, evenly from all of the list, in order."""
    if len(items) <= limit:
        return items
    return [items[(2 * index + 1) * len(items) // (2 * limit)] for index in range(limit)]


@torch.inference_mode()
def through_the_format(generator: Generator, clip: Tensor, game: str, iterations: int | None) -> Tensor:
    """(C, N) as a spectrogram and back, its phase recovered: what a perfect VAE and UNet would give."""
    codec = Codec(generator.format, generator.vae)
    return _decoded(codec, codec.spectrogram(codec.whole_columns(clip))[None], clip.shape[1], iterations)


@torch.inference_mode()
def through_the_vae(generator: Generator, clip: Tensor, game: str, iterations: int | None) -> Tensor:
    """(C, N) encoded, decoded and its phase recovered: what a UNet that had learnt the clip by heart would give."""
    vae = generator.vae
    codec = Codec(generator.format, vae, game_conditioning(generator.labels.id_of(game), vae))
    x = codec.decode_mode(codec.mode(codec.spectrogram(codec.whole_columns(clip))))
    return _decoded(codec, x, clip.shape[1], iterations)


def _decoded(codec: Codec, x: Tensor, samples: int, iterations: int | None) -> Tensor:
    """(1, C, F, T) -> (C, samples), no louder than a generated clip may be."""
    decoded = codec.format.decode(x, iterations=iterations)[0, :, :samples].cpu()
    return decoded * min(1.0, PEAK_LIMIT / max(float(decoded.abs().max()), 1e-9))
