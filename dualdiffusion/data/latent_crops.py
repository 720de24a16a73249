"""Latents on disk, and random crops of them read as slices.

A file holds the tensor `latents` of shape (variations, C, F, T), float16, normalised to zero mean and unit variance per
channel over the dataset. T is the length of the longest variation; the others are followed by zeros. Its header says
which VAE, format and audio it was made of; another VAE's latents are refused.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dualdiffusion.conditioning import Span
from dualdiffusion.contracts import ConditionerConfig
from dualdiffusion.data.audio_crops import Crop
from dualdiffusion.data.dataset_folder import DatasetFolder, Track
from dualdiffusion.data.facts import facts_at
from dualdiffusion.data.order import EpochOrder
from dualdiffusion.errors import UserError
from dualdiffusion.files import tensor_file, write_tensors
from dualdiffusion.tensor_files import open_tensors

LATENTS_VERSION = 2
# Bytes between two rows of a crop that are still read along: about what a call to the system costs.
LARGEST_GAP = 1 << 15
LARGEST_HEADER = 100_000_000  # the same as safetensors allows
_REMEDY = "encode again: python -m dataset_processing run <dataset config> --steps encode"


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
    valid_lengths: tuple[int, ...]
    """For each variation: columns that stand for audio of the track; what follows is zero."""

    def to_metadata(self) -> dict[str, str]:
        """The header as safetensors stores it."""
        return {"dualdiffusion": json.dumps({"version": LATENTS_VERSION, **vars(self)}, sort_keys=True)}


def write_latents(path: Path, latents: Tensor, header: LatentsHeader) -> None:
    """Writes latents (variations, C, F, T) as float16, atomically."""
    write_tensors(path, {"latents": latents.half().cpu().contiguous()}, header.to_metadata())


@contextlib.contextmanager
def latents_writer(
    path: Path, header: LatentsHeader, channels: int, rows: int
) -> Iterator[Callable[[int, int, Tensor], None]]:
    """Writes latents part by part, atomically, in the bytes that `write_latents` would write.

    Yields a function of (variation, first column, float16 latents (C, F, columns) on the CPU). Nothing is written when
    the block is left by an exception.
    """
    shape = (len(header.variations), channels, rows, max(header.valid_lengths))
    with tensor_file(path, "latents", shape, header.to_metadata()) as file:
        yield lambda variation, first, part: file.write(variation, first, part.numpy())


def read_header(path: Path) -> LatentsHeader:
    """Reads the header of a latents file, not its tensor.

    Raises:
        UserError: missing or damaged file, or one of another version.
    """
    try:
        with open_tensors(path) as file:
            fields = json.loads(file.metadata()["dualdiffusion"])
            shape = file.get_slice("latents").get_shape()
        version = fields.pop("version")
        if version != LATENTS_VERSION:
            raise UserError(f"{path}: holds latents of version {version}, not {LATENTS_VERSION}; {_REMEDY}")
        lists = {name: tuple(fields[name]) for name in ("variations", "valid_lengths")}
        header = LatentsHeader(**{**fields, **lists})
        lengths = header.valid_lengths
        if len(shape) != 4 or not shape[0] == len(lengths) == len(header.variations) or max(lengths) != shape[-1]:
            raise ValueError(f"its header does not fit its shape {tuple(shape)}")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, AttributeError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: damaged latents ({error}); {_REMEDY}") from None
    return header


class CropReader:
    """Reads crops out of latents files; its memory is used again for every crop.

    Plain reads, not a memory map: a map of a file that is not in memory is read page by page, four times as slowly, and
    a disk's error would end the process. Each file is opened anew, so one that was encoded again counts at once.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.float16)

    def read(self, path: Path, variation: int, start: int, columns: int) -> Tensor:
        """The columns from `start` on of one variation: (C, F, columns), float32.

        Raises:
            UserError: missing, damaged or shorter file.
        """
        try:
            with open(path, "rb", buffering=0) as file:
                shape, offset = _find_latents(file)
                if len(shape) != 4 or variation >= shape[0] or start + columns > shape[3]:
                    raise ValueError(f"its shape {tuple(shape)} lacks columns of variation {variation}")
                return self._read(file, offset, shape, variation, start, columns)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; {_REMEDY}") from None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: damaged latents ({error}); {_REMEDY}") from None

    def _read(self, file: FileIO, offset: int, shape: list[int], variation: int, start: int, columns: int) -> Tensor:
        _, channels, frequencies, length = shape
        rows = channels * frequencies
        first = offset + 2 * (variation * rows * length + start)
        # What lies between the rows of a crop is read with them, unless reading each row alone is faster.
        whole = 2 * (length - columns) <= LARGEST_GAP
        stride, size = (length, (rows - 1) * length + columns) if whole else (columns, columns)
        needed = (rows - 1) * stride + columns
        if len(self._memory) < needed:
            self._memory = np.empty(needed, np.float16)
        for row in range(1 if whole else rows):
            part = self._memory[row * stride : row * stride + size]
            file.seek(first + 2 * row * length)
            if file.readinto(part) != 2 * size:  # type: ignore[arg-type]
                raise ValueError("it ends too early")
        data = torch.from_numpy(self._memory).as_strided((rows, columns), (stride, 1))
        return data.to(torch.float32, copy=True).reshape(channels, frequencies, columns)


def _find_latents(file: FileIO) -> tuple[list[int], int]:
    """Shape of the tensor in a latents file, and where its numbers begin."""
    size = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(min(size, LARGEST_HEADER)))["latents"]
    if header["dtype"] != "F16":
        raise ValueError(f"it holds {header['dtype']}, not F16")
    return header["shape"], 8 + size + header["data_offsets"][0]


class LatentCrops(Dataset[Crop]):
    """Crops of `columns` latent columns. Index i is sample number i of the whole training.

    Args:
        seed: of the order, crops and variations; None gives the validation crops: track i, from its middle.
        told: configs of the conditioners that are told of the crops, by id.
        column_seconds: length of a latent column; only with `told`.

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
        told: Mapping[str, ConditionerConfig] | None = None,
        column_seconds: float = 0.0,
    ) -> None:
        self.columns, self.tracks, self.paths = columns, [], []
        self.told, self.column_seconds = dict(told or {}), column_seconds
        self.variations: list[tuple[dict[str, Any], ...]] = []
        self._reader = CropReader()
        # For each track the variations that are long enough, with the number of places where a crop can start.
        self.choices: list[list[tuple[int, int]]] = []
        for track in tracks:
            path = dataset.latents_path(track, vae_fingerprint)
            if not path.exists():
                raise UserError(_missing(dataset, path, vae_fingerprint))
            header = read_header(path)
            if header.vae_fingerprint != vae_fingerprint:
                raise UserError(f"{path}: was made by VAE {header.vae_fingerprint}, not by this model's; {_REMEDY}")
            starts = [length - columns + 1 for length in header.valid_lengths]
            choices = [(variation, count) for variation, count in enumerate(starts) if count > 0]
            if choices:
                self.tracks.append(track)
                self.paths.append(path)
                self.choices.append(choices)
                self.variations.append(header.variations)
        if not self.tracks:
            raise UserError(
                f"{dataset.path}: no track has {columns} latent columns or more, the length of a crop; make the crop "
                "shorter (module_trainer.crop_seconds)"
            )
        self.order = None if seed is None else EpochOrder(len(self.tracks), seed)

    def __len__(self) -> int:
        return len(self.tracks)

    def place(self, index: int) -> tuple[int, int, int]:
        """Where sample `index` comes from: track, variation and first column."""
        item = self.order.track_of(index) if self.order else index
        choices = self.choices[item]
        if not self.order:
            variation, count = choices[0]
            return item, variation, (count - 1) // 2
        random = self.order.crop_random(index)
        variation, count = choices[int(random.integers(len(choices)))]
        return item, variation, int(random.integers(count))

    def __getitem__(self, index: int) -> Crop:
        item, variation, start = self.place(index)
        data = self._reader.read(self.paths[item], variation, start, self.columns)
        track = self.tracks[item]
        told = facts_at(self.told, track, self._span(item, variation, start)) if self.told else {}
        return Crop(data, track.game_id, index, told)

    def _span(self, item: int, variation: int, start: int) -> Span:
        """Where a crop lies in its track, as the variation plays it."""
        played = self.variations[item][variation]
        begins = played["offset"] / self.tracks[item].sample_rate + start * self.column_seconds
        return Span(begins, self.columns, self.column_seconds, speed=2 ** (played["pitch"] / 12))


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
