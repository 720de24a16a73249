"""Pictures of a clip while it forms."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from dualdiffusion.codec import Codec
from dualdiffusion.pictures.audio import COLUMNS_PER_SECOND, visible
from dualdiffusion.pictures.spectrogram import spectrogram_pixels

# Columns that a preview decodes; of longer clips it shows the rest as it was seen before.
PREVIEW_COLUMNS = 256
# The same where there is no frequency axis, whose columns may be as short as a sample.
PREVIEW_SECONDS = 16.0


class Preview:
    """Pictures of a clip while it forms, at a bounded cost: each decodes PREVIEW_COLUMNS columns at most, or
    PREVIEW_SECONDS where there is no frequency axis.

    Of a longer clip, each picture shows the next part anew, in turn, and the others as they were.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._seen: Tensor | None = None
        self._next = 0
        rows, rate = codec.format.rows, codec.columns_per_second
        self._most = PREVIEW_COLUMNS if rows > 1 else max(1, round(PREVIEW_SECONDS * rate))
        self._scale = codec.vae.downsampling if rows > 1 else COLUMNS_PER_SECOND / rate  # pixels of a latent column

    @torch.inference_mode()
    def picture(self, latents: Tensor) -> Image.Image:
        """Of latents (1, Z, f, columns)."""
        columns = latents.shape[-1]
        if columns <= self._most:
            return picture(self._decoded(latents))
        first = self._next
        last = min(first + self._most, columns)
        self._next = last % columns
        part = self._decoded(latents[..., first:last])
        begin, end, whole = (round(at * self._scale) for at in (first, last, columns))
        if self._seen is None:
            self._seen = part.mean(dim=-1, keepdim=True).repeat(1, 1, whole)
        if end > begin:  # latent columns are not whole pixels: the last ones may be none
            if part.shape[-1] != end - begin:
                part = torch.nn.functional.interpolate(part, size=end - begin)
            self._seen[..., begin:end] = part
        return picture(self._seen)

    def _decoded(self, latents: Tensor) -> Tensor:
        return visible(self._codec.format, self._codec.decode(latents)[0])


def picture(x: Tensor) -> Image.Image:
    """A normalised spectrogram (C, F, T) in colours."""
    return Image.fromarray(spectrogram_pixels(x))
