"""Between audio and normalised latents, clips of any length: in tiles where they are long, in circles for loops.

Shapes: C audio channels, N samples; F mel bands, T frames; Z latent channels, latents (B, Z, F / 8, columns).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.dsp.circular import wrap
from dualdiffusion.pictures.spectrogram import spectrogram_pixels

# Longer clips go through the VAE in tiles of this many latent columns, with so many more on each side that are thrown
# away: more than its convolutions see, so that tiles fit together without a seam. This bounds the memory: the base
# VAE's widest activation is 4608 frames x 256 bands x 96 channels, 453 MB in float32.
TILE_COLUMNS = 512
CONTEXT_COLUMNS = 32
# Columns that a preview decodes; of longer clips it shows the rest as it was seen before.
PREVIEW_COLUMNS = 256


class Codec:
    """A model's format and VAE, which works on normalised latents.

    Args:
        conditioning: what the VAE is told of the games.
        on_tile: called before each tile; what it raises ends the work.
    """

    def __init__(
        self, format: Any, vae: Any, conditioning: Conditioning, on_tile: Callable[[], None] | None = None
    ) -> None:
        self.format, self.vae, self.conditioning, self._on_tile = format, vae, conditioning, on_tile
        self.position = format.position().to(vae.device)

    @property
    def column_samples(self) -> int:
        """Samples of a latent column."""
        return self.format.num_samples(self.vae.downsampling)

    def spectrogram(self, audio: Tensor) -> Tensor:
        """Audio (C, T * hop_length) -> (C, F, T) as the format encodes it, in tiles where it is long."""
        hop = self.format.config.hop_length
        reach = -(-len(self.format.window) // hop) * hop  # what a frame's window sees on each side, and more
        tile = TILE_COLUMNS * self.column_samples
        pieces = []
        for first in range(0, audio.shape[-1], tile):
            begin = max(0, first - reach)
            part = audio[None, :, begin : first + tile + reach].to(self.vae.device)
            skip, last = (first - begin) // hop, (min(first + tile, audio.shape[-1]) - begin) // hop
            pieces.append(self.format.encode(part)[0, ..., skip:last])
        return torch.cat(pieces, dim=-1)

    def encode(self, x: Tensor) -> Tensor:
        """Spectrogram (C, F, T), T a multiple of the VAE's downsampling -> the mode's latents (1, Z, F / 8, T / 8)."""

        def encode(tile: Tensor) -> Tensor:
            return self.vae.encode(tile, position=self.position, conditioning=self.conditioning).mode

        return self.vae.normalize_latents(self._tiled(encode, x[None], self.vae.downsampling, 1, circular=False))

    def decode(self, latents: Tensor, *, circular: bool = False) -> Tensor:
        """Latents (B, Z, F / 8, columns) -> normalised spectrograms (B, C, F, T).

        Args:
            circular: the clip is a loop, whose beginning is what follows its end.
        """

        def decode(tile: Tensor) -> Tensor:
            return self.vae.decode(tile, position=self.position, conditioning=self.conditioning)

        denormalized = self.vae.denormalize_latents(latents)
        return self._tiled(decode, denormalized, 1, self.vae.downsampling, circular=circular)

    def _tiled(
        self, function: Callable[[Tensor], Tensor], x: Tensor, per_column: int, out: int, *, circular: bool
    ) -> Tensor:
        """`function` of x (..., columns * per_column), which gives (..., columns * out), tile by tile."""
        columns, tile = x.shape[-1] // per_column, TILE_COLUMNS
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


class Preview:
    """Pictures of a clip while it forms, at a bounded cost: each decodes PREVIEW_COLUMNS columns at most.

    Of a longer clip, each picture shows the next part anew, in turn, and the others as they were.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._seen: Tensor | None = None
        self._next = 0

    @torch.inference_mode()
    def picture(self, latents: Tensor) -> Image.Image:
        """Of latents (1, Z, F / 8, columns)."""
        columns = latents.shape[-1]
        if columns <= PREVIEW_COLUMNS:
            return picture(self._codec.decode(latents)[0])
        factor, first = self._codec.vae.downsampling, self._next
        last = min(first + PREVIEW_COLUMNS, columns)
        self._next = last % columns
        part = self._codec.decode(latents[..., first:last])[0]
        if self._seen is None:
            self._seen = part.mean(dim=-1, keepdim=True).repeat(1, 1, columns * factor)
        self._seen[..., first * factor : last * factor] = part
        return picture(self._seen)


def picture(x: Tensor) -> Image.Image:
    """A normalised spectrogram (C, F, T) in colours."""
    return Image.fromarray(spectrogram_pixels(x))
