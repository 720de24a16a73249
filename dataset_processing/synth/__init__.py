"""A built-in corpus of invented game music, composed by rule from a seed and dedicated to the public domain."""

from __future__ import annotations

from dataset_processing.synth.corpus import CorpusSummary, Track, compose_track, write_corpus
from dataset_processing.synth.games import GAMES

__all__ = ["GAMES", "CorpusSummary", "Track", "compose_track", "write_corpus"]
