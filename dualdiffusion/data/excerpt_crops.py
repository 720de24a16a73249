"""Random crops of audio with what stands around them, which are encoded as if all of their track was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dualdiffusion import audio
from dualdiffusion.conditioning import Span
from dualdiffusion.contracts import Autoencoder, ConditionerConfig, Format
from dualdiffusion.data.audio_crops import Crop, check_audio, long_enough
from dualdiffusion.data.dataset_folder import Track
from dualdiffusion.data.facts import facts_at
from dualdiffusion.data.order import EpochOrder


@dataclass(frozen=True)
class Excerpt:
    """How much audio a crop is encoded from.

    Attributes:
        columns: latent columns of a crop.
        context: columns on each side that the autoencoder sees.
        reach: frames on each side of these that the format sees.
        hop: samples of a frame.
        column_samples: samples of a latent column.
    """

    columns: int
    context: int
    reach: int
    hop: int
    column_samples: int

    @classmethod
    def of(cls, format: Format, vae: Autoencoder, columns: int) -> Excerpt:
        """For crops of so many columns."""
        column_samples = format.num_samples(vae.downsampling)
        return cls(columns, vae.context_columns, format.context_frames, format.hop_length, column_samples)

    @property
    def all_columns(self) -> int:
        """Columns of a crop and what is around it."""
        return self.columns + 2 * self.context

    @property
    def samples(self) -> int:
        """Of the audio that all columns are encoded from."""
        return self.all_columns * self.column_samples + 2 * self.reach * self.hop


class ExcerptCrops(Dataset[Crop]):
    """Excerpts of audio (C, excerpt.samples). Index i is sample number i of the whole training.

    The crop may begin at any sample of its track. Its latents are `excerpt.columns` columns after the first `skip` of
    the latents of all that the excerpt holds without the format's reach. They are those of the track encoded whole from
    the same sample of a column on: at the ends of the track there is less on one side and more on the other, and
    silence beyond them. Only of a track that is shorter than an excerpt, the last columns are as if silence followed.

    Args:
        seed: of the order and the crops; None gives the validation crops: track i, from its middle, those that
            `LatentCrops` has of latents without an offset.
        told: configs of the conditioners that are told of the crops, by id.

    Raises:
        UserError: no track is long enough, or one does not fit the format.
    """

    def __init__(
        self,
        tracks: list[Track],
        excerpt: Excerpt,
        *,
        sample_rate: int,
        channels: int,
        seed: int | None,
        source: object,
        told: Mapping[str, ConditionerConfig] | None = None,
    ) -> None:
        self.excerpt, self.told = excerpt, dict(told or {})
        self.tracks = long_enough(tracks, excerpt.columns * excerpt.column_samples / sample_rate, source)
        check_audio(self.tracks, sample_rate, channels)
        self.order = None if seed is None else EpochOrder(len(self.tracks), seed)

    def __len__(self) -> int:
        return len(self.tracks)

    def place(self, index: int) -> tuple[int, int]:
        """Where sample `index` comes from: track and first sample."""
        excerpt = self.excerpt
        item = self.order.track_of(index) if self.order else index
        samples = _samples(self.tracks[item])
        if not self.order:
            return item, (samples // excerpt.column_samples - excerpt.columns) // 2 * excerpt.column_samples
        room = max(0, samples - excerpt.columns * excerpt.column_samples)
        return item, int(self.order.crop_random(index).integers(room + 1))

    def __getitem__(self, index: int) -> Crop:
        item, start = self.place(index)
        track = self.tracks[item]
        data, skip = self._read(track, start)
        rate = track.sample_rate
        span = Span(start / rate, self.excerpt.columns, self.excerpt.column_samples / rate)
        return Crop(data, track.game_id, index, facts_at(self.told, track, span), skip)

    def _read(self, track: Track, start: int) -> tuple[Tensor, int]:
        """The excerpt around the crop that begins at sample `start`, and the columns in it before the crop."""
        excerpt, samples = self.excerpt, _samples(track)
        column, offset = divmod(start, excerpt.column_samples)
        columns = (samples - offset) // excerpt.column_samples
        first = max(0, min(column - excerpt.context, columns - excerpt.all_columns))
        begin = offset + first * excerpt.column_samples - excerpt.reach * excerpt.hop
        # As where the track is encoded whole: nothing is before its first column, and no part of a frame at its end.
        low, high = max(begin, offset), offset + (samples - offset) // excerpt.hop * excerpt.hop
        data, _ = audio.read(track.path, start=low, frames=min(begin + excerpt.samples, high) - low)
        after = excerpt.samples - (low - begin) - data.shape[-1]
        return torch.nn.functional.pad(data, (low - begin, after)), column - first


def _samples(track: Track) -> int:
    return round(track.seconds * track.sample_rate)
