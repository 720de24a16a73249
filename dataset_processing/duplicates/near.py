"""Which tracks hold the same recording: those that share words of their fingerprints are compared closely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dataset_processing.duplicates.acoustic_fingerprint import FRAME_SECONDS

_BLOCK = 64  # words (3.2 s) that are compared at a time
_MAX_DISTANCE = 0.25  # share of differing bits; copies stay below 0.15, other recordings above 0.4
_DRIFT = 0.003  # copies may run faster or slower by this share
_INDEX_WORDS = 1500  # of each track, about, that are used to find candidates
_COMMON = 32  # a word that occurs in more tracks than this says nothing
_MIN_SHARED = 2
_MIN_SHARED_PART = 0.003  # of the words of the track that has fewer
_OFFSETS = 3  # most frequent offsets of shared words that are tried


@dataclass(frozen=True)
class Pair:
    """Two tracks with the same recording in them.

    Attributes:
        first, second: indices of the tracks, first < second.
        share: of the shorter track that sounds the same as the other, at one offset (0 to 1).
        similarity: 1 minus the share of differing bits where they sound the same.
        offset: seconds by which the second track's copy of a moment comes later.
    """

    first: int
    second: int
    share: float
    similarity: float
    offset: float


def find_pairs(count: int, load: Callable[[int], np.ndarray], *, min_share: float) -> list[Pair]:
    """All pairs of tracks of which at least `min_share` of the shorter one sounds the same.

    Memory grows by about 40 bytes per second of music; fingerprints are loaded one at a time.

    Args:
        count: number of tracks.
        load: gives the fingerprint (words,) uint32 of a track by its index.
    """
    pairs = []
    for first, second in _candidates(count, load):
        pair = _compare(first, load(first), second, load(second))
        if pair is not None and pair.share >= min_share:
            pairs.append(pair)
    return pairs


def _candidates(count: int, load: Callable[[int], np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of tracks that share enough words to be worth a comparison."""
    chosen = [_index_words(load(track)) for track in range(count)]
    sizes = np.array([len(words) for words in chosen])
    if not sizes.sum():
        return []
    # A word and its track in one number: sorting these in place needs the least memory.
    index = np.concatenate([words.astype(np.uint64) << np.uint64(32) | track for track, words in enumerate(chosen)])
    index.sort()
    words, tracks = index >> np.uint64(32), (index & np.uint64(2**32 - 1)).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, words[1:] != words[:-1]])
    lengths = np.diff(np.r_[starts, len(words)])
    codes = []
    for length in range(2, _COMMON + 1):
        groups = tracks[starts[lengths == length, None] + np.arange(length)]
        left, right = np.triu_indices(length, 1)
        codes.append((groups[:, left] * count + groups[:, right]).ravel())
    pairs, shared = np.unique(np.concatenate(codes), return_counts=True)
    first, second = pairs // count, pairs % count
    needed = np.maximum(_MIN_SHARED, _MIN_SHARED_PART * np.minimum(sizes[first], sizes[second]))
    return [(int(a), int(b)) for a, b in zip(first[shared >= needed], second[shared >= needed], strict=True)]


def _index_words(words: np.ndarray) -> np.ndarray:
    """The words of a track that stand in the index, each once; zero is silence."""
    words = np.unique(words[words != 0])
    # Chosen by value, so that all copies choose alike, of long tracks fewer. The product spreads words that differ in
    # few bits.
    spread = words * np.uint32(2654435761)
    return words[spread < 2**32 * min(1.0, _INDEX_WORDS / max(len(words), 1))]


def _compare(first: int, a: np.ndarray, second: int, b: np.ndarray) -> Pair | None:
    """The best alignment of two fingerprints; None where nothing sounds the same."""
    shorter, longer, swapped = (a, b, False) if len(a) <= len(b) else (b, a, True)
    best: tuple[float, float, int] = (0.0, 0.0, 0)
    for offset in _likely_offsets(shorter, longer):
        distances, sounding = _block_distances(shorter, longer, offset)
        same = (distances <= _MAX_DISTANCE) & sounding
        if same.any():
            best = max(best, (float(same.sum() / sounding.sum()), float(1 - distances[same].mean()), offset))
    share, similarity, offset = best
    if not share:
        return None
    seconds = (-offset if swapped else offset) * FRAME_SECONDS
    return Pair(first, second, round(share, 3), round(similarity, 3), round(seconds, 2))


def _likely_offsets(a: np.ndarray, b: np.ndarray) -> list[int]:
    """Offsets (words) at which most words of `a` stand in `b`; music that repeats itself has several."""
    order = np.argsort(b, kind="stable")
    sounding = np.flatnonzero(a)
    low = np.searchsorted(b[order], a[sounding], "left")
    high = np.searchsorted(b[order], a[sounding], "right")
    counts = np.where(high - low <= _COMMON, high - low, 0)
    if not counts.sum():
        return []
    at_a = np.repeat(sounding, counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    offsets = order[np.repeat(low, counts) + within] - at_a
    # Copies that run at another speed spread over neighbouring offsets: votes are counted with their neighbours.
    reach = 2 + int(_DRIFT * len(a))
    low_end = int(offsets.min())
    votes = np.bincount(offsets - low_end)
    smooth = np.convolve(votes, np.ones(2 * reach + 1, int), "same")
    found = []
    for _ in range(_OFFSETS):
        at = int(smooth.argmax())
        if smooth[at] == 0:
            break
        found.append(at + low_end)
        smooth[max(0, at - 2 * reach) : at + 2 * reach + 1] = 0
    return found


def _block_distances(a: np.ndarray, b: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """For each block of `a`: the share of its bits that differ in `b` near `offset`, at best; and whether it sounds."""
    blocks = max(1, len(a) // _BLOCK)
    size = min(_BLOCK, len(a))
    rows = a[: blocks * size].reshape(blocks, size)
    reach = 2 + int(_DRIFT * len(a))
    padded = np.concatenate([np.zeros(reach, np.uint32), b, np.zeros(reach, np.uint32)])
    starts = np.arange(blocks) * size
    best = np.ones(blocks)
    for shift in range(-reach, reach + 1):
        at = starts + offset + shift
        inside = (at >= 0) & (at + size <= len(b))
        columns = np.where(inside, at, 0)[:, None] + np.arange(size) + reach
        distance = np.bitwise_count(rows ^ padded[columns]).sum(1) / (32 * size)
        best = np.where(inside, np.minimum(best, distance), best)
    return best, (rows != 0).mean(1) > 0.5
