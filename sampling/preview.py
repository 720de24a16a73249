"""Pictures of a clip while it forms."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from dualdiffusion.codec import Codec
from dualdiffusion.pictures.spectrogram import spectrogram_pixels

# Columns that a preview decodes; of longer clips it shows the rest as it was seen before.
PREVIEW_COLUMNS = 256


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
        """Of latents (1, Z, f, columns)."""
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
