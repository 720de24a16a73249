"""The parts of a file that was joined from several, brought to one sample rate and channel count where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import soxr

from dualdiffusion.audio.channels import mixing_matrix
from dualdiffusion.audio.decode import speakers


class Part(NamedTuple):
    """A part of a file: blocks (frames, channels) at `sample_rate` Hz; `speakers` name the channels where known."""

    sample_rate: int
    channels: int
    blocks: Iterator[np.ndarray]
    speakers: tuple[str, ...] = ()


def common(parts: Sequence[Part]) -> tuple[int, int, tuple[str, ...]]:
    """The sample rate (Hz) and channel count that suit most parts, and a note where they do not suit all.

    Where some are mono and some are not, all become stereo: nothing is lost.
    """
    rates, counts = Counter(part.sample_rate for part in parts), {part.channels for part in parts}
    sample_rate = max(rates, key=lambda rate: (rates[rate], rate))
    channels = counts.pop() if len(counts) == 1 else 2
    differ = []
    if len(rates) > 1:
        differ.append(f"sample rate (brought to {sample_rate} Hz)")
    if counts:
        differ.append("channel count (brought to stereo)")
    return sample_rate, channels, (f"its parts differ in {' and '.join(differ)}",) if differ else ()


def joined(parts: Iterable[Part], sample_rate: int, channels: int) -> Iterator[np.ndarray]:
    """All blocks of all parts, (frames, channels) float32 at `sample_rate`."""
    for part in parts:
        blocks = part.blocks
        if part.channels != channels:
            blocks = _mixed(part, channels)
        if part.sample_rate != sample_rate:
            blocks = _resampled(blocks, part.sample_rate, sample_rate, channels)
        yield from blocks


def _mixed(part: Part, channels: int) -> Iterator[np.ndarray]:
    fold = speakers.fold(part.speakers)
    matrix = mixing_matrix(part.channels if fold is None else fold.shape[1], channels).T
    matrix = matrix if fold is None else fold @ matrix
    return (block @ matrix for block in part.blocks)


def _resampled(blocks: Iterable[np.ndarray], old: int, new: int, channels: int) -> Iterator[np.ndarray]:
    stream = soxr.ResampleStream(old, new, channels, dtype="float32", quality="VHQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block, np.float32))
    yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
