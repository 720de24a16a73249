"""Split: training and validation tracks, chosen by a hash of their sound so that the choice does not move."""

from __future__ import annotations

import hashlib

from pydantic import Field

import dualdiffusion.config
from dataset_processing.step import CollectiveStep, Record, Work


class Split(CollectiveStep):
    """Gives every kept track the field `split`: "train" or "validation".

    The side of a track follows from its samples and the seed. Tracks that hold the same recording, in whole or in part,
    count as one and stand on one side together. With `validation_fraction`, tracks that are added never send another
    from training to validation, so that nothing that was trained on becomes a test. The same holds for
    `validation_tracks`, unless an added track is a copy of one that is held out: both then go to training, and the next
    one by rank is held out in their place.
    """

    class Config(dualdiffusion.config.Config):
        """Settings of Split."""

        validation_fraction: float = Field(0.05, ge=0, lt=1)
        """Expected share of each game's tracks that are held out."""
        validation_tracks: int | None = Field(None, ge=0)
        """Held-out tracks per game; replaces the fraction."""
        seed: int = 0
        """Another seed gives another split."""

    def run_all(self, records: list[Record], work: Work) -> list[Record]:
        """Holds tracks out of every game; copies of one recording stand on one side."""
        games: dict[str, dict[tuple[str, ...], list[Record]]] = {}
        for record in records:
            if record.kept:
                games.setdefault(record.game, {}).setdefault(_group(record), []).append(record)
        held_out: set[str] = set()
        for groups in games.values():
            held_out |= {record.file for record in self._held_out(groups)}
        # Recordings that occur in several games: held out in all of them or in none.
        kept = [record for record in records if record.kept]
        trained = {_group(record) for record in kept if record.file not in held_out}
        held_out -= {record.file for record in kept if _group(record) in trained}
        return [
            record.adding(fields={"split": "validation" if record.file in held_out else "train"})
            if record.kept
            else record
            for record in records
        ]

    def _held_out(self, groups: dict[tuple[str, ...], list[Record]]) -> list[Record]:
        """The validation tracks of one game; at least one track is left for training."""
        total = sum(len(members) for members in groups.values())
        limit = total - 1 if self.config.validation_tracks is None else min(self.config.validation_tracks, total - 1)
        chosen: list[Record] = []
        for group in sorted(groups, key=lambda group: (self._position(group), group)):
            if self.config.validation_tracks is None and self._position(group) >= self.config.validation_fraction:
                break
            if len(chosen) + len(groups[group]) <= limit:
                chosen += groups[group]
        return chosen

    def _position(self, group: tuple[str, ...]) -> float:
        """A number in [0, 1) that depends only on the group's samples and the seed; it can but grow with the group."""
        digests = [hashlib.sha256(f"{self.config.seed} {name}".encode()).digest() for name in group]
        return max(int.from_bytes(digest[:8], "big") / 2**64 for digest in digests)


def _group(record: Record) -> tuple[str, ...]:
    """The hashes of all tracks that hold the same recording; of the track alone where there is no other."""
    return tuple(record.measured.get("same_side") or [record.measured["audio_hash"]])
