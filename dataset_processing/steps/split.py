"""Split: training and validation tracks, chosen by a hash of their sound so that the choice does not move."""

from __future__ import annotations

import hashlib

from pydantic import Field

import dualdiffusion.config
from dataset_processing.step import CollectiveStep, Record, Work


class Split(CollectiveStep):
    """Gives every kept track the field `split`: "train" or "validation".

    A track's side follows from its samples and the seed. With `validation_fraction` it never changes when others are
    added; with `validation_tracks` an added track may only send another from validation to training, never the other
    way, so that nothing that was trained on becomes a test.
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
        games: dict[str, list[Record]] = {}
        for record in records:
            if record.kept:
                games.setdefault(record.game, []).append(record)
        held_out = {record.file for tracks in games.values() for record in self._held_out(tracks)}
        return [
            record.adding(fields={"split": "validation" if record.file in held_out else "train"})
            if record.kept
            else record
            for record in records
        ]

    def _held_out(self, tracks: list[Record]) -> list[Record]:
        """The validation tracks of one game; at least one track is left for training."""
        ranked = sorted(tracks, key=lambda record: (self._position(record), record.file))
        if self.config.validation_tracks is not None:
            chosen = ranked[: self.config.validation_tracks]
        else:
            chosen = [record for record in ranked if self._position(record) < self.config.validation_fraction]
        return chosen[: len(tracks) - 1]

    def _position(self, record: Record) -> float:
        """A number in [0, 1) that depends only on the track's samples and the seed."""
        digest = hashlib.sha256(f"{self.config.seed} {record.measured['audio_hash']}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64
