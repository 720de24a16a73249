"""Filter: tracks that a training set is better without, each refused with the value that was measured."""

from __future__ import annotations

from collections import Counter

from pydantic import Field

import dualdiffusion.config
from dataset_processing.step import CollectiveStep, Record, Work


class Filter(CollectiveStep):
    """Refuses by length, silence, clipping and bandwidth, then duplicates, then games with too few tracks."""

    class Config(dualdiffusion.config.Config):
        """Settings of Filter; null switches a limit off."""

        min_seconds: float | None = Field(5.0, ge=0)
        """Shorter tracks are refused."""
        max_seconds: float | None = Field(3600.0, gt=0)
        """Longer tracks are refused."""
        max_silence_share: float | None = Field(0.8, ge=0, le=1)
        """Tracks of which a larger share is silence are refused."""
        max_clipped_share: float | None = Field(None, ge=0, le=1)
        """Tracks with a larger share of clipped samples are refused."""
        min_bandwidth_hz: float | None = Field(None, ge=0)
        """Tracks with nothing above this frequency are refused (Hz)."""
        duplicates: bool = True
        """Refuse tracks whose decoded samples equal those of a track that comes before them by name."""
        min_tracks_per_game: int = Field(1, ge=1)
        """Games with fewer tracks are refused as a whole."""

    def run_all(self, records: list[Record], work: Work) -> list[Record]:
        records = [self._limits(record) if record.kept else record for record in records]
        if self.config.duplicates:
            records = _without_duplicates(records)
        tracks = Counter(record.game for record in records if record.kept)
        least = self.config.min_tracks_per_game
        return [
            record.refused(f"its game has only {tracks[record.game]} of the {least} tracks that are wanted")
            if record.kept and tracks[record.game] < least
            else record
            for record in records
        ]

    def _limits(self, record: Record) -> Record:
        config, m = self.config, record.measured
        if config.min_seconds is not None and m["seconds"] < config.min_seconds:
            return record.refused(f"too short: {m['seconds']:.2f} s, at least {config.min_seconds:g} s are wanted")
        if config.max_seconds is not None and m["seconds"] > config.max_seconds:
            return record.refused(f"too long: {m['seconds']:.0f} s, at most {config.max_seconds:g} s are wanted")
        if config.max_silence_share is not None and m["silence_share"] > config.max_silence_share:
            return record.refused(
                f"mostly silence: {m['silence_share']:.0%} of it, at most {config.max_silence_share:.0%} are wanted"
            )
        if config.max_clipped_share is not None and m["clipped_share"] > config.max_clipped_share:
            return record.refused(
                f"clipped: {m['clipped_share']:.1%} of its samples, at most {config.max_clipped_share:.1%} are wanted"
            )
        if config.min_bandwidth_hz is not None and m["bandwidth_hz"] < config.min_bandwidth_hz:
            return record.refused(
                f"dull: nothing above {m['bandwidth_hz']} Hz, at least {config.min_bandwidth_hz:g} Hz are wanted"
            )
        return record


def _without_duplicates(records: list[Record]) -> list[Record]:
    """Keeps the first by path of all tracks with equal samples."""
    first: dict[str, str] = {}
    result = []
    for record in sorted(records, key=lambda record: record.file):
        if record.kept:
            original = first.setdefault(record.measured["audio_hash"], record.file)
            if original != record.file:
                record = record.refused(f"a duplicate: its samples equal those of {original}")
        result.append(record)
    return result
