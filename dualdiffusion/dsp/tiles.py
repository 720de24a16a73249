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

HeldAudio = tuple[Tensor, Tensor]
"""Audio (C, n) known already, and how far it is kept, (n,) in [0, 1]."""


def tile_starts(frames: int, tile_frames: int) -> list[int]:
    """First frames of equally long tiles that cover all frames and overlap by at least LOOKAHEAD + CONTEXT."""
    overlap = LOOKAHEAD + CONTEXT
    tile_frames = max(tile_frames, 2 * overlap)
    if frames <= tile_frames:
        return [0]
    count = math.ceil((frames - overlap) / (tile_frames - overlap))
    return [index * (frames - tile_frames) // (count - 1) for index in range(count)]


def both_held(first: HeldAudio | None, second: HeldAudio | None) -> HeldAudio | None:
    """What is held for two reasons, from one beginning; where the second holds wholly, the first has no say."""
    if first is None or second is None:
        return first or second
    length = max(len(first[1]), len(second[1]))
    padded = [torch.nn.functional.pad(part, (0, length - part.shape[-1])) for part in (*first, *second)]
    audio, weight, other, other_weight = padded
    together = 1 - (1 - weight) * (1 - other_weight)
    pulled = torch.lerp(weight * audio, other, other_weight)  # first one pulls by its weight, then the other
    return pulled / together.clamp(min=1e-20), together


def decode_tiles(
    starts: list[int], frames: int, hop_length: int, decode: Callable[[int, int, HeldAudio | None], Tensor]
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


def loop_context() -> int:
    """Frames by which a loop is continued over both of its ends, to be decoded in tiles; see `decode_loop_tiles`."""
    return LOOKAHEAD + CONTEXT


def decode_loop_tiles(
    starts: list[int], frames: int, hop_length: int, decode: Callable[[int, int, HeldAudio | None], Tensor]
) -> Tensor:
    """As `decode_tiles`, for a loop that is continued over both of its ends by `loop_context` frames.

    What the first tile makes of the loop's beginning is held where the same frames come again at the end: the tiles
    that reach there lead up to it.

    Args:
        frames: of the continued loop; its tiles have at least 3 * loop_context() frames.
    """
    context = loop_context()
    period = (frames - 2 * context) * hop_length
    fade, known = FADE * hop_length, context * hop_length
    first: Tensor | None = None

    def decode_held(start: int, end: int, held: HeldAudio | None) -> Tensor:
        nonlocal first
        if first is None:
            first = decode(start, end, held)
            return first
        # The samples from one fade before the loop's beginning to the end of its context, one period later.
        begin = known - fade + period - start * hop_length
        length = known + fade
        audio, weight = first[:, known - fade : 2 * known], first.new_ones(length)
        weight[:fade] = torch.sin(torch.linspace(0, math.pi / 2, fade, device=first.device)).square()
        if begin + length <= 0 or begin >= (end - start) * hop_length:
            return decode(start, end, held)
        if begin < 0:
            audio, weight, begin = audio[:, -begin:], weight[-begin:], 0
        audio, weight = (torch.nn.functional.pad(part, (begin, 0)) for part in (audio, weight))
        most = (end - start) * hop_length
        return decode(start, end, both_held(held, (audio[:, :most], weight[:most])))

    return decode_tiles(starts, frames, hop_length, decode_held)


def _pieces(
    starts: list[int], frames: int, hop_length: int, decode: Callable[[int, int, HeldAudio | None], Tensor]
) -> Iterator[Tensor]:
    length = frames - starts[-1]
    kept, faded = CONTEXT * hop_length, FADE * hop_length
    held: HeldAudio | None = None
    for index, start in enumerate(starts):
        audio = decode(start, start + length, held)
        first = 0 if held is None else kept
        if index + 1 == len(starts):
            yield audio[:, first:]
            return
        begin = (starts[index + 1] - start) * hop_length
        fade = torch.cos(torch.linspace(0, math.pi / 2, faded, device=audio.device)).square()
        # The next tile leaves its beginning as this one made it, and parts from it over the fade.
        weight = torch.cat([fade.new_ones(kept), fade])
        held = audio[:, begin : begin + kept + faded], weight
        yield audio[:, first : begin + kept]
