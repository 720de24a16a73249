"""Latents on disk, and random crops of them read as slices.

A file holds the tensor `latents` of shape (variations, C, F, T), float16, normalised to zero mean and unit variance per
channel over the dataset. Its header says which VAE, format and audio it was made of; another VAE's latents are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors import safe_open
from torch import Tensor
from torch.utils.data import Dataset

from dualdiffusion.data.audio_crops import Crop
from dualdiffusion.data.manifest import DatasetFolder, Track
from dualdiffusion.data.order import EpochOrder
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_tensors

LATENTS_VERSION = 1


@dataclass(frozen=True)
class LatentsHeader:
    """What a latents file says of itself."""

    vae_fingerprint: str
    """Of the VAE's weights and config and of its format."""
    format_fingerprint: str
    source_sha256: str
    """Of the audio file in the dataset."""
    variations: tuple[dict[str, Any], ...]
    """For each variation: "offset" in samples, "pitch" in semitones, "mirrored"."""
    valid_length: int
    """Columns of every variation that stand for audio of the track."""

    def to_metadata(self) -> dict[str, str]:
        fields = {"version": LATENTS_VERSION, **vars(self), "variations": list(self.variations)}
        return {"dualdiffusion": json.dumps(fields, sort_keys=True)}


def write_latents(path: Path, latents: Tensor, header: LatentsHeader) -> None:
    """Writes latents (variations, C, F, T) as float16, atomically."""
    write_tensors(path, {"latents": latents.half().cpu().contiguous()}, header.to_metadata())


def read_header(path: Path) -> LatentsHeader:
    """Reads the header of a latents file, not its tensor.

    Raises:
        UserError: missing or damaged file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            fields = json.loads(file.metadata()["dualdiffusion"])
        fields.pop("version")
        return LatentsHeader(**{**fields, "variations": tuple(fields["variations"])})
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: damaged latents ({error}); encode again") from None


class LatentCrops(Dataset[Crop]):
    """Crops of `columns` latent columns. Index i is sample number i of the whole training.

    Args:
        seed: of the order, crops and variations; None gives the validation crops: track i, from its middle.

    Raises:
        UserError: missing latents, or latents of another VAE; the message holds the command that encodes.
    """

    def __init__(
        self,
        dataset: DatasetFolder,
        tracks: Iterable[Track],
        columns: int,
        *,
        vae_fingerprint: str,
        seed: int | None,
    ) -> None:
        self.columns, self.tracks, self.paths, self.lengths = columns, [], [], []
        for track in tracks:
            path = dataset.latents_path(track, vae_fingerprint)
            if not path.exists():
                raise UserError(_missing(dataset, path, vae_fingerprint))
            header = read_header(path)
            if header.vae_fingerprint != vae_fingerprint:
                raise UserError(f"{path}: was made by VAE {header.vae_fingerprint}, not by this model's; {_REMEDY}")
            if header.valid_length >= columns:
                self.tracks.append(track)
                self.paths.append(path)
                self.lengths.append(header.valid_length)
        if not self.tracks:
            raise UserError(
                f"{dataset.path}: no track has {columns} latent columns or more, the length of a crop; make the crop "
                "shorter (module_trainer.crop_seconds)"
            )
        self.order = None if seed is None else EpochOrder(len(self.tracks), seed)

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, index: int) -> Crop:
        item = self.order.track_of(index) if self.order else index
        room = self.lengths[item] - self.columns
        with safe_open(self.paths[item], framework="pt") as file:
            latents = file.get_slice("latents")
            if self.order:
                random = self.order.crop_random(index)
                variation, start = int(random.integers(latents.get_shape()[0])), int(random.integers(room + 1))
            else:
                variation, start = 0, room // 2
            data = latents[variation : variation + 1, :, :, start : start + self.columns][0].float()
        return Crop(data, self.tracks[item].game_id, index)


_REMEDY = "encode again: python -m dataset_processing run <dataset config> --steps encode"


def _missing(dataset: DatasetFolder, path: Path, vae_fingerprint: str) -> str:
    folder = dataset.path / "latents"
    others = (
        sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name != vae_fingerprint) if folder.exists() else []
    )
    of_others = f" (there are latents of other VAEs: {', '.join(others)})" if others else ""
    return f"{path}: the latents of this model's VAE {vae_fingerprint} are missing{of_others}; {_REMEDY}"


def latents_image(latents: Tensor) -> np.ndarray:
    """The first three channels of latents (C, F, T) as an RGB image (F * 4, T * 4, 3) uint8, low frequencies below."""
    shown = torch.sigmoid(1.5 * latents[:3].float()).flip(1)
    if len(shown) < 3:
        shown = shown[:1].expand(3, -1, -1)
    pixels = (shown * 255).byte().repeat_interleave(4, 1).repeat_interleave(4, 2)
    return pixels.permute(1, 2, 0).cpu().numpy()
