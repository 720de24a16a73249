"""What follows from duplicates: which copy stays, and which tracks must stand on one side of the split."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from dataset_processing.duplicates.near import Pair
from dataset_processing.run.names import readable
from dataset_processing.step import Record

_COPY = re.compile(r"( \(\d+\)|[ -_]copy( \d+| \(\d+\))?)\.\w+$", re.IGNORECASE)
_LOSSLESS = ("FLAC", "WAV", "AIFF", "AU", "CAF", "Wave64", "WavPack", "Monkey's Audio", "TTA", "ALAC")


def without_exact(records: Sequence[Record]) -> list[Record]:
    """Refuses all but one of the tracks with equal samples: the first by path that is not called a copy stays."""
    first: dict[str, str] = {}
    for record in sorted(records, key=lambda record: (_is_called_copy(record.source_file), record.file)):
        if record.kept:
            first.setdefault(record.measured["audio_hash"], record.file)
    result = []
    for record in records:
        original = first[record.measured["audio_hash"]] if record.kept else record.file
        if original != record.file:
            reason = f"a duplicate: its samples equal those of {readable(original)}"
            record = _copy_of(record, original, 1.0, reason)
        result.append(record)
    return result


def without_near(records: Sequence[Record], pairs: Iterable[Pair], kept: Sequence[int], share: float) -> list[Record]:
    """Refuses near duplicates: of two tracks, the better one stays, whatever else the other one resembles.

    Args:
        records: all records.
        pairs: near duplicates; their indices point into `kept`.
        kept: places of the compared tracks in `records`.
        share: of the shorter track that must sound the same for a refusal.
    """
    result = list(records)
    partners: dict[int, list[tuple[int, Pair]]] = {}
    for pair in pairs:
        if pair.share >= share:
            first, second = kept[pair.first], kept[pair.second]
            partners.setdefault(first, []).append((second, pair))
            partners.setdefault(second, []).append((first, pair))
    staying: set[int] = set()
    for place in sorted(partners, key=lambda place: _worth(records[place])):
        originals = [(other, pair) for other, pair in partners[place] if other in staying]
        if not originals:
            staying.add(place)
            continue
        other, pair = max(originals, key=lambda found: (found[1].share, found[1].similarity, -found[0]))
        reason = f"nearly a duplicate: {pair.share:.0%} of it sounds the same as {readable(records[other].file)}"
        result[place] = _copy_of(records[place], records[other].file, pair.similarity, reason)
    return result


def noted_relations(records: Sequence[Record], pairs: Iterable[Pair], kept: Sequence[int]) -> list[Record]:
    """Notes what tracks that stay have in common, and says which must stand on one side of the split together.

    `measured["same_side"]` holds the hashes of all of them, of refused copies too, so that the side does not depend on
    which copy stays.
    """
    result = list(records)
    groups = _Groups()
    for pair in pairs:
        first, second = kept[pair.first], kept[pair.second]
        groups.join(first, second)
        if result[first].kept and result[second].kept:
            for one, other in ((first, second), (second, first)):
                shared = f"shares sound with {readable(records[other].file)} ({pair.share:.0%} of the shorter one)"
                result[one] = result[one].noted(shared)
    for members in groups.all():
        hashes = sorted({records[place].measured["audio_hash"] for place in members})
        for place in members:
            result[place] = result[place].adding(measured={"same_side": hashes})
    return result


def _copy_of(record: Record, original: str, similarity: float, reason: str) -> Record:
    measured = {"duplicate_of": original, "similarity": similarity}
    return record.refused(reason).adding(measured=measured)


def _worth(record: Record) -> tuple[int, int, int, bool, str]:
    """A sort key, best first: clearly longer (steps of a quarter), wider band (2 kHz), longer, lossless, by path."""
    measured = record.measured
    steps = round(math.log(max(measured["seconds"], 0.1), 1.25))
    band = round((measured.get("bandwidth_hz") or 0) / 2000)
    lossy = not any(name in measured.get("format", "") for name in _LOSSLESS)
    return -steps, -band, -round(measured["seconds"]), lossy, record.file


def _is_called_copy(file: str) -> bool:
    """Whether a file manager named it: `theme (1).ogg`, `theme - Copy.ogg`, `theme copy 2.ogg`."""
    return _COPY.search(file) is not None


class _Groups:
    """Connected components."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def join(self, first: int, second: int) -> None:
        """The groups of both are one from here on."""
        self._parent[self._root(first)] = self._root(second)

    def all(self) -> list[list[int]]:
        """Every group, and every place in it, in ascending order."""
        groups: dict[int, list[int]] = {}
        for place in sorted(self._parent):
            groups.setdefault(self._root(place), []).append(place)
        return list(groups.values())

    def _root(self, place: int) -> int:
        while (parent := self._parent.setdefault(place, place)) != place:
            place = parent
        return place
