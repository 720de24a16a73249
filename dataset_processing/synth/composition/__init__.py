"""A score from a seed, by rule: form first, then melody, counter-melody, harmony, bass and drums."""

from __future__ import annotations

from dataset_processing.synth.composition.compose import compose
from dataset_processing.synth.composition.form import plan_letters
from dataset_processing.synth.composition.motifs import Motif
from dataset_processing.synth.composition.score import Note, Score, Section

__all__ = ["Motif", "Note", "Score", "Section", "compose", "plan_letters"]
