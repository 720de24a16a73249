"""A built-in corpus of invented game music, composed by rule from a seed and dedicated to the public domain.

chips/          One file for each sound chip; each exports CHIP
composition/    A score from a seed, by rule
games/          The built-in games, one record in a file each
corpus.py       The built-in corpus on disk
drums.py        Drum strokes from which each chip builds its kit. Each gives mono float32 of shape
midi.py         A score as a Standard MIDI File of format 1: a conductor's track, then one track a part
oscillators.py  Band-limited building blocks that every sound chip shares
records.py      The frozen records that describe a game: its chip, its mix and its composing habits
render.py       A score to stereo sound: notes from the chip, panned parts, echo, reverb and a peak-safe master
score_files.py  The files of a score beside its recording
score_text.py   A score as text for a reader
theory.py       Scales and chords, as pitch classes above the tonic
titles.py       Track titles by rule: an adjective and one of the game's own nouns, unique within a game
"""

from __future__ import annotations

from dataset_processing.synth.corpus import CorpusSummary, Piece, compose_track, write_corpus
from dataset_processing.synth.games import GAMES

__all__ = ["GAMES", "CorpusSummary", "Piece", "compose_track", "write_corpus"]
