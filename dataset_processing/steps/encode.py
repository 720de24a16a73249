"""Encode: the latents of every track, made with a trained VAE, as the UNet is trained on them."""

from __future__ import annotations

import hashlib
import math
import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

import dualdiffusion.config
from dataset_processing.step import CollectiveStep, Record, Work
from dualdiffusion import audio
from dualdiffusion.conditioning import Conditioning, game_conditioning
from dualdiffusion.data.latent_crops import LatentsHeader, write_latents
from dualdiffusion.data.manifest import latents_file_name
from dualdiffusion.model_folder import ModelFolder
from dualdiffusion.module import load_module

# Frames of a tile, and of the context on each side that is thrown away: more than the encoder's convolutions see, so
# that tiles fit together without a seam, and memory does not grow with the track.
TILE_FRAMES = 4096
CONTEXT_FRAMES = 256


class Encode(CollectiveStep):
    """Writes `latents/<vae fingerprint>/<game>/<track>.safetensors`, with several variations of every track.

    A latent column stands for several frames. A crop of latents always starts on a column, so that most starting points
    within a column would never be seen; variations that start a few frames later make up for that.
    """

    optional = True
    distributed = True

    class Config(dualdiffusion.config.Config):
        """Settings of Encode."""

        model: Path
        """Model folder with a trained VAE."""
        offsets: Annotated[int, Field(ge=1, le=64)] = 8
        """Variations that start evenly spread over one latent column."""
        pitch_shifts: tuple[Annotated[float, Field(ge=-12, le=12)], ...] = ()
        """Further variations, shifted by so many semitones (by resampling: tempo shifts too)."""
        mirror: bool = False
        """Also a mirrored variation, left for right, of each of these."""
        device: str | None = None
        """cpu, cuda, ...; null: a GPU where there is one."""

    @cached_property
    def fingerprint(self) -> str:
        """Of the VAE and its format; a missing VAE is told here."""
        return ModelFolder(self.config.model).fingerprint("vae")

    def identity(self) -> Any:
        return {**self.config.to_json(), "device": None, "model": None, "vae": self.fingerprint}

    def run_all(self, records: list[Record], work: Work) -> list[Record]:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // work.processes))
        return work.each(records, self._encode)

    @cached_property
    def _parts(self) -> tuple[Any, Any, dict[str, int]]:
        folder = ModelFolder(self.config.model)
        device = torch.device(self.config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        ids = {game.name: game.id for game in folder.labels().games}
        format = load_module(folder, "format", device=device)
        return format, load_module(folder, "vae", device=device), ids

    @torch.inference_mode()
    def _encode(self, record: Record) -> Record:
        format, vae, ids = self._parts
        path = self.paths.dataset / record.fields["file_name"]
        samples, sample_rate = audio.read(path)
        if sample_rate != format.config.sample_rate:
            return record.refused(
                f"has {sample_rate} Hz, but the model's format {format.config.sample_rate} Hz; set sample_rate of the "
                "convert step to it"
            )
        conditioning = game_conditioning(ids.get(record.game), vae)
        variations, latents = [], []
        for variation, shifted in self._variations(samples, sample_rate, format.num_samples(vae.downsampling)):
            variations.append(variation)
            latents.append(encode_tiled(format, vae, shifted, conditioning))
        length = min(part.shape[-1] for part in latents)
        if length == 0:
            return record.refused("is shorter than one latent column")
        stacked = torch.stack([part[..., :length] for part in latents])
        if not stacked.isfinite().all():
            return record.refused("its latents are not finite numbers; the VAE is damaged or was trained too little")
        header = LatentsHeader(
            vae_fingerprint=self.fingerprint,
            format_fingerprint=ModelFolder(self.config.model).fingerprint("format"),
            source_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            variations=tuple(variations),
            valid_length=length,
        )
        name = latents_file_name(record.fields["file_name"], self.fingerprint)
        write_latents(self.paths.dataset / name, stacked, header)
        fields = {"latents_file_name": name, "latents_length": length, "latents_variations": len(variations)}
        return record.adding(fields=fields, outputs={name: (self.paths.dataset / name).stat().st_size})

    def _variations(self, samples: Tensor, sample_rate: int, column: int) -> list[tuple[dict[str, Any], Tensor]]:
        """Each variation's description and audio. `column` is the number of samples of a latent column."""
        plain = [
            ({"offset": offset, "pitch": 0.0}, samples[:, offset:])
            for offset in (k * column // self.config.offsets for k in range(self.config.offsets))
        ]
        for semitones in self.config.pitch_shifts:
            rate = round(sample_rate / 2 ** (semitones / 12))
            plain.append(({"offset": 0, "pitch": semitones}, audio.resample(samples, sample_rate, rate)))
        mirrored = [({**name, "mirrored": True}, part.flip(0)) for name, part in plain] if self.config.mirror else []
        return [({**name, "mirrored": False}, part) for name, part in plain] + mirrored


def encode_tiled(format: Any, vae: Any, samples: Tensor, conditioning: Conditioning) -> Tensor:
    """Audio (C, N) -> normalised latents (Z, F, T) on the CPU, in tiles; the rest of a column is dropped."""
    position = format.position().to(vae.device)
    frames = format.num_frames(samples.shape[-1]) // vae.downsampling * vae.downsampling
    tiles = []
    for first in range(0, frames, TILE_FRAMES):
        start, end = max(0, first - CONTEXT_FRAMES), min(frames, first + TILE_FRAMES + CONTEXT_FRAMES)
        # The window reaches beyond its frames: some more audio, whose frames are thrown away.
        reach = math.ceil(len(format.window) / format.config.hop_length)
        before = min(start, reach)
        piece = samples[:, format.num_samples(start - before) : format.num_samples(end + reach)]
        x = format.encode(piece[None].to(vae.device))[..., before : before + end - start]
        mode = vae.encode(x, position=position, conditioning=conditioning).mode
        kept = slice(
            (first - start) // vae.downsampling, (min(first + TILE_FRAMES, frames) - start) // vae.downsampling
        )
        tiles.append(vae.normalize_latents(mode)[0, :, :, kept].cpu())
    if not tiles:
        return torch.zeros(vae.latent_shape(format.sample_shape(0)))
    return torch.cat(tiles, dim=-1)
