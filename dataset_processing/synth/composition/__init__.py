"""A score from a seed, by rule: form first, then melody, counter-melody, harmony, bass and drums.

bass.py        The bass: roots and fifths, walking lines, and a scale step that leads into each new root
compose.py     From a game, a track number and a seed to a score
counter.py     The counter-melody: it answers in the lead's rests, follows it in thirds, or moves against it
form.py        The form: which phrases follow one another, with what chords, motifs and arrangement
harmony.py     The accompaniment: chord figures and pads in close position with the least movement
melody.py      The lead
motifs.py      Motifs: a one-bar rhythm with a contour in scale steps, and how they are developed
percussion.py  Drums
plan.py        What one track draws before any note is written
score.py       What a composed track is: notes, form and how each section is arranged
"""

from __future__ import annotations

from dataset_processing.synth.composition.compose import compose
from dataset_processing.synth.composition.form import plan_letters
from dataset_processing.synth.composition.motifs import Motif
from dataset_processing.synth.composition.score import Note, Score, Section

__all__ = ["Motif", "Note", "Score", "Section", "compose", "plan_letters"]
