"""Encode: the latents of every track, made with a trained VAE, as the UNet is trained on them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

import dualdiffusion.config
from dataset_processing.latent_tiles import Encoder, TrackAudio, Variation, encode_tiles
from dataset_processing.step import CollectiveStep, Record, Work
from dualdiffusion.conditioning import game_conditioning
from dualdiffusion.data.dataset_folder import latents_file_name
from dualdiffusion.data.latent_crops import LatentsHeader, latents_writer
from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import sha256_of
from dualdiffusion.machine.threads import usable_cores
from dualdiffusion.model.module import load_module, module_component
from dualdiffusion.model.shipped import find_model


class Encode(CollectiveStep):
    """Writes `latents/<vae fingerprint>/<game>/<track>.safetensors`, with several variations of every track.

    A latent column stands for several frames. A crop of latents always starts on a column, so that most starting points
    within a column would never be seen; variations that start a few frames later make up for that.
    """

    version = 2
    optional = True
    distributed = True
    _workers = 1

    class Config(dualdiffusion.config.Config):
        """Settings of Encode."""

        model: Path
        """Model folder with a trained VAE, or the name of a shipped one."""
        offsets: Annotated[int, Field(ge=1, le=64)] = 8
        """Variations that start evenly spread over one latent column, each on a hop of the format: at most as many as a
        column has hops (8 with the VAEs in config/models)."""
        pitch_shifts: tuple[Annotated[float, Field(ge=-12, le=12)], ...] = ()
        """Further variations, shifted by so many semitones (by resampling: tempo shifts too)."""
        mirror: bool = False
        """Also a mirrored variation, left for right, of each of these."""
        batch_size: Annotated[int, Field(ge=1)] = 4
        """Variations that are encoded at the same time, which sets the need for memory: with the base VAE about 1.1 GiB
        each in bfloat16 (measured on a CPU), 2.1 GiB in float32. On a CPU it is the number of cores used at most."""
        precision: Literal["float32", "bfloat16", "float16"] | None = None
        """Of the VAE's arithmetic; null: bfloat16 on a CUDA GPU, float32 elsewhere. Spectrograms are always float32."""
        device: str | None = None
        """cpu, cuda, ...; null: a GPU where there is one."""

    @classmethod
    def needs(cls, config: Config) -> dict[str, Any]:
        """The sample rate and channels of the model's format."""
        format = module_component(find_model(config.model), "format").config
        return {"sample_rate": format.sample_rate, "channels": format.num_channels}

    @cached_property
    def fingerprint(self) -> str:
        """Of the VAE and its format; a missing VAE is told here."""
        return find_model(self.config.model).fingerprint("vae")

    def identity(self) -> dict[str, Any]:
        """The settings that latents depend on, and the VAE's fingerprint instead of where it lies."""
        # A smaller batch after running out of memory does not make the tracks wrong that are finished.
        return {**self.config.to_json(), "device": None, "model": None, "batch_size": None, "vae": self.fingerprint}

    def run_all(self, records: list[Record], work: Work) -> list[Record]:
        """Encodes every track, each whole by one process."""
        self._workers = max(1, usable_cores() // work.processes)
        threads = torch.get_num_threads()
        # The last bits of a convolution depend on the number of threads that share it, and so would the latents on the
        # number of processes. One thread to a clip, several clips at a time, is no slower.
        torch.set_num_threads(1)
        try:
            return work.each(records, self._encode)
        finally:
            torch.set_num_threads(threads)

    @cached_property
    def _encoder(self) -> Encoder:
        config, folder = self.config, find_model(self.config.model)
        device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        precision = config.precision or ("bfloat16" if device.type == "cuda" else "float32")
        format, vae = (load_module(folder, name, device=device) for name in ("format", "vae"))
        if config.offsets > vae.downsampling:
            raise UserError(
                f"offsets of the encode step: a latent column of {folder.path} has {vae.downsampling} hops, so there "
                f"are no {config.offsets} different offsets; set offsets to {vae.downsampling} or less"
            )
        if config.mirror and format.num_channels != 2:
            raise UserError(
                f"mirror of the encode step: the format of {folder.path} has no left and right to change over; set "
                "mirror to false"
            )
        return Encoder(format, vae, getattr(torch, precision), config.batch_size, self._workers)

    @cached_property
    def _game_ids(self) -> dict[str, int]:
        return {game.name: game.id for game in find_model(self.config.model).labels().games}

    def _encode(self, record: Record) -> Record:
        encoder, path = self._encoder, self.paths.dataset / record.fields["file_name"]
        with contextlib.ExitStack() as stack:
            tracks = {pitch: stack.enter_context(TrackAudio(path, pitch)) for pitch in (0.0, *self.config.pitch_shifts)}
            if reason := encoder.misfit(tracks[0.0]):
                return record.refused(reason)
            variations = self._variations(encoder)
            lengths = [encoder.codec.columns(tracks[v.pitch].samples - v.offset) for v in variations]
            if max(lengths) == 0:
                return record.refused("is shorter than one latent column")
            header = self._header(path, variations, lengths)
            name = latents_file_name(record.fields["file_name"], self.fingerprint)
            conditioning = game_conditioning(self._game_ids.get(record.game), encoder.vae)
            try:
                self._write(self.paths.dataset / name, header, encode_tiles(encoder, tracks, variations, conditioning))
            except FloatingPointError:
                reason = "its latents are not finite numbers; the VAE is damaged or was trained too little"
                return record.refused(reason)
            except torch.cuda.OutOfMemoryError as error:
                raise self._out_of_memory(path, error) from None
        fields = {"latents_file_name": name, "latents_length": max(lengths), "latents_variations": len(variations)}
        return record.adding(fields=fields, outputs={name: (self.paths.dataset / name).stat().st_size})

    def _variations(self, encoder: Encoder) -> list[Variation]:
        hops, count = encoder.vae.downsampling, self.config.offsets
        plain = [Variation(encoder.format.num_samples(k * hops // count)) for k in range(count)]
        plain += [Variation(pitch=pitch) for pitch in self.config.pitch_shifts]
        return plain + [replace(variation, mirrored=True) for variation in plain if self.config.mirror]

    def _header(self, path: Path, variations: list[Variation], lengths: list[int]) -> LatentsHeader:
        return LatentsHeader(
            vae_fingerprint=self.fingerprint,
            format_fingerprint=find_model(self.config.model).fingerprint("format"),
            source_sha256=sha256_of(path),
            variations=tuple(asdict(variation) for variation in variations),
            valid_lengths=tuple(lengths),
        )

    def _write(self, path: Path, header: LatentsHeader, tiles: Iterator[tuple[int, int, Tensor]]) -> None:
        channels, rows, _ = self._encoder.latent_shape
        with latents_writer(path, header, channels, rows) as write:
            for variation, first, latents in tiles:
                part = latents.half()
                if not part.isfinite().all():
                    raise FloatingPointError
                write(variation, first, part)

    def _out_of_memory(self, path: Path, error: Exception) -> UserError:
        size, what = self.config.batch_size, ". ".join(one_line(error).split(". ")[:2])
        remedy = (
            f"set batch_size of the encode step, which is {size}, to {size // 2} or less"
            if size > 1
            else 'batch_size of the encode step is 1 already: set its precision to "bfloat16", or its device to "cpu"'
        )
        return UserError(f"{path}: out of GPU memory ({what}); {remedy}")
