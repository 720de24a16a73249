"""Where the latents that a UNet is trained on come from: from the dataset, or encoded in each step from its audio.

Shapes: B batch, C audio channels, N samples; Z latent channels, f rows and t columns of latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from pydantic import model_validator
from torch import Tensor
from torch.utils.data import Dataset

from dualdiffusion.codec import TILE_COLUMNS, Codec, tile_columns
from dualdiffusion.component import part_of
from dualdiffusion.conditioning import Conditioning, one_hot
from dualdiffusion.config import Config
from dualdiffusion.contracts import Autoencoder, ConditionerConfig, Format, Transform
from dualdiffusion.data.audio_crops import Batch, Crop
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.data.excerpt_crops import Excerpt, ExcerptCrops
from dualdiffusion.data.latent_crops import LatentCrops
from dualdiffusion.randomness import StepRandom
from train.data.transforming import transformed


class LatentsConfig(Config):
    """What a UNet is trained on."""

    pre_encoded: bool = True
    """Train on the latents that the dataset's encode step has stored. false: on its audio, which format and VAE
    encode in every step as they are: slower, but nothing has to be encoded before, samples begin anywhere and not
    only where a latent column of some variation does, and `transforms` can change them."""
    transforms: tuple[part_of("dualdiffusion.transforms"), ...] = ()
    """Changes of the audio, at random and one after the other, where pre_encoded is false; validation has none."""

    @model_validator(mode="after")
    def _changes_audio(self) -> Self:
        if self.transforms and self.pre_encoded:
            raise ValueError("transforms: change audio, but latents are stored; set pre_encoded to false")
        return self


class LatentSource(Protocol):
    """Crops of a dataset, and the latents of a batch of them."""

    def crops(self, split: str, seed: int | None) -> Dataset[Crop]:
        """Of the tracks of a split, in a random order; None: the validation crops."""
        ...

    def __call__(self, batch: Batch, random: StepRandom | None) -> Batch:
        """A batch of crops as one of latents (B, Z, f, t).

        Args:
            random: of training, whose samples may be changed; None: they stay as they are.
        """
        ...


@dataclass(frozen=True)
class StoredLatents:
    """Those that the dataset's encode step has written; see `LatentCrops` for the fields."""

    dataset: DatasetFolder
    columns: int
    vae_fingerprint: str
    told: Mapping[str, ConditionerConfig]
    column_seconds: float

    def crops(self, split: str, seed: int | None) -> LatentCrops:
        """See `LatentSource`."""
        return LatentCrops(
            self.dataset,
            self.dataset.tracks(split),
            self.columns,
            vae_fingerprint=self.vae_fingerprint,
            seed=seed,
            told=self.told,
            column_seconds=self.column_seconds,
        )

    def __call__(self, batch: Batch, random: StepRandom | None) -> Batch:
        """The batch itself."""
        return batch


@dataclass(frozen=True)
class EncodedLatents:
    """Those of the dataset's audio, which format and VAE encode, neither of them in training.

    In the precision of the encode step, whatever that of the training is: in bfloat16 on a CUDA GPU, else in float32.
    Each game is told as when latents are stored, if the VAE is told games at all.

    Args:
        dataset: None where no crops are asked for.
    """

    dataset: DatasetFolder | None
    format: Format
    vae: Autoencoder
    columns: int
    told: Mapping[str, ConditionerConfig]
    transforms: Sequence[Transform] = ()

    @property
    def excerpt(self) -> Excerpt:
        """How much audio each crop has."""
        return Excerpt.of(self.format, self.vae, self.columns)

    def crops(self, split: str, seed: int | None) -> ExcerptCrops:
        """See `LatentSource`."""
        return ExcerptCrops(
            self.dataset.tracks(split),
            self.excerpt,
            sample_rate=self.format.sample_rate,
            channels=self.format.num_channels,
            seed=seed,
            source=self.dataset.path,
            told=self.told,
        )

    @torch.no_grad()
    def __call__(self, batch: Batch, random: StepRandom | None) -> Batch:
        """Audio (B, C, N) -> latents (B, Z, f, t)."""
        device = batch.data.device
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        codec, excerpt = Codec(self.format, self.vae, dtype=dtype), self.excerpt
        frames = excerpt.all_columns * self.vae.downsampling
        # As many at a time as one tile of a long track has columns: this bounds the memory.
        count = max(1, tile_columns(self.format, self.vae, TILE_COLUMNS) // excerpt.all_columns)
        latents: list[Tensor] = []
        # The training's autocast may be on. (Meta tensors, of predictions, take the settings of the CPU.)
        with torch.autocast("cpu" if device.type == "meta" else device.type, enabled=False):
            audio = batch.data if random is None else transformed(batch.data, self.transforms, random)
            for clips, game_ids in zip(audio.split(count), batch.game_ids.split(count), strict=True):
                told = codec.told(self._games(game_ids))
                latents.extend(told.encode_excerpts(clips, excerpt.reach, frames))
        cut = [of[..., skip : skip + self.columns] for of, skip in zip(latents, batch.skips, strict=True)]
        return replace(batch, data=torch.stack(cut))

    def _games(self, game_ids: Tensor) -> Conditioning:
        """What the VAE is told of games (B,); nothing of those that it does not know."""
        known = self.vae.label_dim
        if not known:
            return Conditioning()
        labels = one_hot(game_ids.clamp(max=known - 1), known).to(self.vae.device)
        return Conditioning(labels * (game_ids < known).to(labels)[:, None])
