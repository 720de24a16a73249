"""Between audio and latents: the one way for training, datasets, generating and measuring.

Clips of any length, in tiles where they are long, in circles for loops; memory is bounded by the tile.

Shapes: B batch, C audio channels, N samples; F spectrogram rows, T frames; Z latent channels, f rows, columns. Methods
on the way to latents take one clip; what runs in one pass, and the way back, take batches.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.contracts import Autoencoder, Format, Posterior
from dualdiffusion.dsp.circular import wrap

# Longer clips go through the VAE in tiles of this many latent columns, with so many more on each side that are thrown
# away: more than its convolutions see, so that tiles fit together without a seam. This bounds the memory: the base
# VAE's widest activation is 4608 frames x 256 bands x 96 channels, 453 MB in float32.
TILE_COLUMNS = 512
CONTEXT_COLUMNS = 32
# Columns without a frequency axis hold few numbers, and are short: tiles of that many would be endless.
TILE_SECONDS = 30.0


def tile_columns(format: Format, vae: Autoencoder, usual: int) -> int:
    """Latent columns of a tile: `usual`, and without a frequency axis as many as have TILE_SECONDS, if that is more."""
    seconds = TILE_SECONDS if format.rows == 1 else 0.0
    return max(usual, round(seconds * format.frames_per_second / vae.downsampling))


class Codec:
    """A model's format and VAE.

    *Latents* are normalised, as diffusion sees them; the posterior and its *mode* are not, as the VAE gives them.

    Args:
        conditioning: what the VAE is told of the games: one row for all clips, or one for each.
        dtype: of the VAE's arithmetic. Spectrograms and latents are float32 always.
        on_tile: called before each tile; what it raises ends the work.
    """

    def __init__(
        self,
        format: Format,
        vae: Autoencoder,
        conditioning: Conditioning | None = None,
        on_tile: Callable[[], None] | None = None,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.format, self.vae, self.conditioning = format, vae, conditioning or Conditioning()
        self._on_tile, self._dtype = on_tile, dtype

    @cached_property
    def position(self) -> Tensor:
        """What the VAE is told of the spectrogram's rows: (F,)."""
        return self.format.position().to(self.vae.device)

    def told(self, conditioning: Conditioning) -> Self:
        """The same codec for other games."""
        other = copy.copy(self)
        other.conditioning = conditioning
        return other

    # Lengths

    @property
    def column_samples(self) -> int:
        """Samples of a latent column."""
        return self.format.num_samples(self.vae.downsampling)

    @property
    def columns_per_second(self) -> float:
        """Latent columns of a second of audio."""
        return self.format.frames_per_second / self.vae.downsampling

    @property
    def _tile_columns(self) -> int:
        return tile_columns(self.format, self.vae, TILE_COLUMNS)

    def columns(self, samples: int) -> int:
        """Whole latent columns in so many samples; 0 for a negative number."""
        return self.format.num_frames(max(0, samples)) // self.vae.downsampling

    def whole_columns(self, audio: Tensor) -> Tensor:
        """Audio (C, N) with silence after it up to a whole latent column."""
        return torch.nn.functional.pad(audio, (0, -audio.shape[-1] % self.column_samples))

    # Audio -> latents

    def spectrogram(self, audio: Tensor) -> Tensor:
        """Audio (C, N) -> (C, F, T) as the format encodes it, in tiles if it is long; a rest of a frame is dropped."""
        # A frame sees some audio around it, so tiles overlap by that much, and the frames of the overlap are dropped.
        hop, reach = self.format.hop_length, self.format.num_samples(self.format.context_frames)
        tile = self._tile_columns * self.column_samples
        pieces = []
        for first in range(0, audio.shape[-1], tile):
            begin = max(0, first - reach)
            part = audio[None, :, begin : first + tile + reach].to(self.vae.device)
            skip, last = (first - begin) // hop, (min(first + tile, audio.shape[-1]) - begin) // hop
            pieces.append(self.format.encode(part)[0, ..., skip:last])
        return torch.cat(pieces, dim=-1)

    def posterior(self, x: Tensor) -> Posterior:
        """Spectrograms (B, C, F, T) -> what the VAE says of them, in one pass whatever their length."""
        with self._precision():
            return self.vae.encode(x, position=self.position, conditioning=self._games(len(x)))

    def mode(self, x: Tensor) -> Tensor:
        """Spectrogram (C, F, T), T a multiple of the VAE's downsampling -> the posterior's mode (1, Z, f, columns)."""

        def encode(tile: Tensor) -> Tensor:
            return self.posterior(tile).mode.float()

        return self._tiled(encode, x[None], self.vae.downsampling, 1, circular=False)

    def encode(self, x: Tensor) -> Tensor:
        """Spectrogram (C, F, T), T a multiple of the VAE's downsampling -> latents (1, Z, f, columns)."""
        return self.vae.normalize_latents(self.mode(x))

    def encode_excerpts(self, audio: Tensor, skip: int, frames: int) -> Tensor:
        """Audio (B, C, N) -> latents (B, Z, f, columns) of `frames` frames after the first `skip`, in one pass.

        For those who cut long tracks into tiles themselves because they cannot hold them in memory: the frames before
        and after only give those in between the audio that these see around them.
        """
        x = self.format.encode(audio.to(self.vae.device))[..., skip : skip + frames]
        return self.vae.normalize_latents(self.posterior(x).mode.float())

    # Latents -> spectrogram

    def decode(self, latents: Tensor, *, circular: bool = False) -> Tensor:
        """Latents (B, Z, f, columns) -> spectrograms (B, C, F, T).

        Args:
            circular: the clip is a loop, whose beginning is what follows its end.
        """
        return self.decode_mode(self.vae.denormalize_latents(latents), circular=circular)

    def decode_mode(self, mode: Tensor, *, circular: bool = False) -> Tensor:
        """As `decode`, of latents as the posterior gives them: (B, Z, f, columns) -> (B, C, F, T)."""

        def decode(tile: Tensor) -> Tensor:
            with self._precision():
                return self.vae.decode(tile, position=self.position, conditioning=self._games(len(tile)))

        return self._tiled(decode, mode, 1, self.vae.downsampling, circular=circular)

    def _games(self, count: int) -> Conditioning:
        """The games of so many clips, of which one row may stand for all."""
        labels = self.conditioning.labels
        return self.conditioning if labels is None else replace(self.conditioning, labels=labels.expand(count, -1))

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if self._dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.vae.device.type, self._dtype)

    def _tiled(
        self, function: Callable[[Tensor], Tensor], x: Tensor, per_column: int, out: int, *, circular: bool
    ) -> Tensor:
        """`function` of x (..., columns * per_column), which gives (..., columns * out), tile by tile."""
        columns, tile = x.shape[-1] // per_column, self._tile_columns
        if columns <= tile and not circular:
            return function(x)
        context = CONTEXT_COLUMNS * per_column
        around = wrap(x, context, context) if circular else x
        pieces = []
        for first in range(0, columns, tile):
            if self._on_tile:
                self._on_tile()
            last = min(first + tile, columns)
            begin = first if circular else max(0, first - CONTEXT_COLUMNS)
            end = last + (2 if circular else 1) * CONTEXT_COLUMNS
            skip = CONTEXT_COLUMNS if circular else first - begin
            decoded = function(around[..., begin * per_column : end * per_column])
            pieces.append(decoded[..., skip * out : (skip + last - first) * out])
        return torch.cat(pieces, dim=-1)
