"""Random crops of audio, read from the files as slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dualdiffusion import audio
from dualdiffusion.data.dataset_folder import Track
from dualdiffusion.data.order import EpochOrder
from dualdiffusion.errors import UserError


@dataclass(frozen=True)
class Crop:
    """One training sample. `data` is audio (C, N) or latents (C, F, T).

    `values` is what conditioners are told of it, by their id: (n, T), or None where that is not known. `skip` is how
    many latent columns `data` has before the sample, see `ExcerptCrops`.
    """

    data: Tensor
    game_id: int
    index: int
    values: Mapping[str, Tensor | None] = field(default_factory=dict)
    skip: int = 0


@dataclass(frozen=True)
class Batch:
    """Several crops: data (B, ...), game_ids (B,), the number of each sample (B,), and what each skips.

    `values` holds what conditioners are told, by id, each (B, n, T), and `known` of which samples that is known, each
    (B,) of 1 and 0.
    """

    data: Tensor
    game_ids: Tensor
    indices: Tensor
    values: Mapping[str, Tensor] = field(default_factory=dict)
    known: Mapping[str, Tensor] = field(default_factory=dict)
    skips: tuple[int, ...] = ()

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device; the sample numbers stay on the CPU."""
        values, known = ({name: x.to(device) for name, x in told.items()} for told in (self.values, self.known))
        return Batch(self.data.to(device), self.game_ids.to(device), self.indices, values, known, self.skips)


def collate(crops: list[Crop]) -> Batch:
    """Joins crops of one shape to a batch."""
    values, known = {}, {}
    for name in crops[0].values:
        told = [crop.values[name] for crop in crops]
        shape = next((value.shape for value in told if value is not None), None)
        if shape is not None:  # else nothing is known of any of them
            values[name] = torch.stack([torch.zeros(shape) if value is None else value for value in told])
            known[name] = torch.tensor([float(value is not None) for value in told])
    return Batch(
        torch.stack([crop.data for crop in crops]),
        torch.tensor([crop.game_id for crop in crops]),
        torch.tensor([crop.index for crop in crops]),
        values,
        known,
        tuple(crop.skip for crop in crops),
    )


def long_enough(tracks: list[Track], seconds: float, source: object) -> list[Track]:
    """The tracks of at least `seconds`.

    Raises:
        UserError: there are none.
    """
    kept = [track for track in tracks if track.seconds >= seconds]
    if not kept:
        raise UserError(
            f"{source}: has no track of {seconds:.2f} s or more, the length of a crop; add longer tracks, or make the "
            "crop shorter in module_trainer"
        )
    if len(kept) < len(tracks):
        print(f"{source}: {len(tracks) - len(kept)} of {len(tracks)} tracks are shorter than a crop and are not used")
    return kept


def check_audio(tracks: list[Track], sample_rate: int, channels: int) -> None:
    """
    Raises:
        UserError: a track of another rate or with other channels than the format.
    """
    wrong = next((track for track in tracks if track.sample_rate != sample_rate), None)
    if wrong:
        raise UserError(
            f"{wrong.path}: has {wrong.sample_rate} Hz, but the model's format {sample_rate} Hz; set sample_rate of "
            "the dataset's convert step, or of the format, to the other"
        )
    wrong = next((track for track in tracks if track.channels != channels), None)
    if wrong:
        raise UserError(
            f"{wrong.path}: has {wrong.channels} channels, but the model's format {channels}; set channels of the "
            "dataset's convert step, or num_channels of the format, to the other"
        )


class AudioCrops(Dataset[Crop]):
    """Crops of `samples` samples. Index i is sample number i of the whole training, so the length is endless.

    Args:
        seed: of the order and the crops; None gives the validation crops: track i, from its middle.
    """

    def __init__(self, tracks: list[Track], samples: int, *, sample_rate: int, channels: int, seed: int | None) -> None:
        check_audio(tracks, sample_rate, channels)
        self.tracks, self.samples = tracks, samples
        self.order = None if seed is None else EpochOrder(len(tracks), seed)

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, index: int) -> Crop:
        track = self.tracks[self.order.track_of(index) if self.order else index]
        room = max(0, round(track.seconds * track.sample_rate) - self.samples)
        start = int(self.order.crop_random(index).integers(room + 1)) if self.order else room // 2
        data, _ = audio.read(track.path, start=start, frames=self.samples)
        if data.shape[-1] < self.samples:  # the manifest's seconds are rounded
            data = torch.nn.functional.pad(data, (0, self.samples - data.shape[-1]))
        return Crop(data, track.game_id, index)
