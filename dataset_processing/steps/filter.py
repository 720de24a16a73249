"""Filter: tracks that a training set is better without, each refused with the value that was measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple

import numpy as np
from pydantic import Field

import dualdiffusion.config
from dataset_processing.duplicates.acoustic_fingerprint import VERSION as FINGERPRINT_VERSION
from dataset_processing.duplicates.acoustic_fingerprint import fingerprint_of, fingerprint_path, read_fingerprint
from dataset_processing.duplicates.near import Pair, find_pairs
from dataset_processing.duplicates.resolve import noted_relations, without_exact, without_near
from dataset_processing.step import CollectiveStep, Record, Work
from dualdiffusion.audio.decode import Take, open_audio

_RELATED_SHARE = 0.3  # of the shorter track: from here on two tracks stand on one side of the split


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
        """Tracks with a larger share of samples in clipped, flat tops are refused. Off by default: clipping is often
        part of the sound, and there is no share from which on a track is surely ruined; what is clipped is noted."""
        min_bandwidth_hz: float | None = Field(None, ge=0)
        """Tracks with nothing above this frequency are refused (Hz), whatever the cause; dull music is no fault."""
        min_cutoff_share: float | None = Field(0.76, ge=0, le=1)
        """Tracks whose spectrum ends at a sharp edge (a low bit rate, or a lower sample rate before) are refused if it
        lies below this share of the highest frequency that both their own sample rate and the dataset's allow. 0.76
        refuses an MP3 of 128 kbit/s in a dataset of 44.1 kHz, and keeps it in one of 32 kHz."""
        duplicates: bool = True
        """Refuse tracks whose decoded samples equal those of a track that comes before them by name."""
        near_duplicate_share: float | None = Field(0.8, gt=0, le=1)
        """Of two tracks of which the shorter one sounds the same as the other for at least this share of its length (in
        another format, louder, trimmed, ...), the better one is kept. Whatever is kept stands on one side of the split
        from a share of 0.3 on."""
        min_tracks_per_game: int = Field(1, ge=1)
        """Games with fewer tracks are refused as a whole."""

    def run_all(self, records: list[Record], work: Work) -> list[Record]:
        """Refuses what lies beyond the limits, then copies, then games that have become too small."""
        records = [self._limits(record) if record.kept else record for record in records]
        if self.config.duplicates:
            records = without_exact(records)
        records = self._near_duplicates(records, work)
        tracks = Counter(record.game for record in records if record.kept)
        least = self.config.min_tracks_per_game
        return [
            record.refused(f"its game has only {tracks[record.game]} of the {least} tracks that are wanted")
            if record.kept and tracks[record.game] < least
            else record
            for record in records
        ]

    def _near_duplicates(self, records: list[Record], work: Work) -> list[Record]:
        compared = [place for place, record in enumerate(records) if record.kept]
        hashes = [records[place].measured["audio_hash"] for place in compared]

        def compute() -> list[tuple]:
            pairs = find_pairs(len(hashes), lambda k: self._fingerprint(records[compared[k]]), min_share=_RELATED_SHARE)
            return [astuple(pair) for pair in pairs]

        pairs = [Pair(*values) for values in work.remembered("pairs", [FINGERPRINT_VERSION, hashes], compute)]
        if self.config.near_duplicate_share is not None:
            records = without_near(records, pairs, compared, self.config.near_duplicate_share)
        return noted_relations(records, pairs, compared)

    def _fingerprint(self, record: Record) -> np.ndarray:
        """Of a track, as scan has left it, or made again where it was deleted."""
        words = read_fingerprint(fingerprint_path(self.paths.state, record.measured["audio_hash"]))
        if words is not None:
            return words
        with open_audio(self.paths.source / record.source_file, Take.from_json(record.song)) as audio:
            return fingerprint_of(audio.blocks, audio.sample_rate)

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
        return self._edge(record)

    def _edge(self, record: Record) -> Record:
        cutoff, share = record.measured.get("cutoff_hz"), self.config.min_cutoff_share
        if cutoff is None or share is None:
            return record
        own = record.measured["sample_rate"] / 2
        if cutoff >= share * min(own, record.fields.get("sample_rate", 2 * own) / 2):
            return record
        return record.refused(
            f"its sound ends sharply at {cutoff / 1000:.1f} kHz although its sample rate promises {own / 1000:.1f} kHz"
            ": upsampled, or coded at a low bit rate (filter.min_cutoff_share decides)"
        )
