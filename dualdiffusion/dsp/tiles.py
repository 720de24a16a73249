"""Long clips in tiles: each tile keeps the end of the one before it, so that the phases fit together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# Frames at a tile's end that the next one makes again, because what follows was not known to them.
LOOKAHEAD = 32
# Frames at a tile's beginning that are kept from the one before it.
CONTEXT = 16
# Frames over which one turns into the other.
FADE = 4

Held = tuple[Tensor, Tensor]
"""Audio (C, n) known already, and how far it is kept, (n,) from 1 to 0."""


def tile_starts(frames: int, tile_frames: int) -> list[int]:
    """First frames of equally long tiles that cover all frames and overlap by at least LOOKAHEAD + CONTEXT."""
    overlap = LOOKAHEAD + CONTEXT
    tile_frames = max(tile_frames, 2 * overlap)
    if frames <= tile_frames:
        return [0]
    count = math.ceil((frames - overlap) / (tile_frames - overlap))
    return [index * (frames - tile_frames) // (count - 1) for index in range(count)]


def decode_tiles(
    starts: list[int], frames: int, hop_length: int, decode: Callable[[int, int, Held | None], Tensor]
) -> Tensor:
    """Joins tiles to one clip.

    Args:
        starts: from `tile_starts`.
        frames: of the whole clip.
        decode: makes audio (C, hop_length * (end - start) + some samples that the last window reaches over) of the
            frames from start to end, given what the tile before it has made of its beginning.

    Returns:
        (C, as many samples as one tile of all frames would have).
    """
    return torch.cat(list(_pieces(starts, frames, hop_length, decode)), dim=-1)


def _pieces(
    starts: list[int], frames: int, hop_length: int, decode: Callable[[int, int, Held | None], Tensor]
) -> Iterator[Tensor]:
    length = frames - starts[-1]
    kept, faded = CONTEXT * hop_length, FADE * hop_length
    held: Held | None = None
    for index, start in enumerate(starts):
        audio = decode(start, start + length, held)
        first = 0 if held is None else kept
        if index + 1 == len(starts):
            yield audio[:, first:]
            return
        begin = (starts[index + 1] - start) * hop_length
        fade = torch.cos(torch.linspace(0, math.pi / 2, faded, device=audio.device)).square()
        weight = torch.cat([fade.new_ones(kept), fade])
        held = audio[:, begin : begin + kept + faded], weight
        yield audio[:, first : begin + kept]
