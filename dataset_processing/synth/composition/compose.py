"""From a game, a track number and a seed to a score."""

from __future__ import annotations

import zlib

import numpy as np

from dataset_processing.synth.composition.bass import write_bass
from dataset_processing.synth.composition.counter import write_counter
from dataset_processing.synth.composition.form import write_form
from dataset_processing.synth.composition.harmony import write_harmony
from dataset_processing.synth.composition.melody import write_lead
from dataset_processing.synth.composition.percussion import write_drums
from dataset_processing.synth.composition.plan import draw_plan
from dataset_processing.synth.composition.score import Score
from dataset_processing.synth.records import Game

# Share of a track kept for the last chord to ring, at most this many seconds.
TAIL_SHARE, TAIL_SECONDS = 0.08, 2.0
# Target lengths are drawn within this share of the wanted one: rounding to whole bars stays within 20 %.
LENGTH_SPREAD = 0.12


def compose(game: Game, track: int, *, seconds: float, seed: int) -> Score:
    """Score of one track.

    game: the record to follow; track: number from 0; seconds: wanted length > 0; seed: >= 0.
    The score depends on these four alone. Its length is within about 20 % of `seconds` when that holds some bars.
    """
    plan = draw_plan(game, track, seed)
    generator = np.random.default_rng([seed, zlib.crc32(game.name.encode()), track + 1, 1])
    wanted = seconds * (1.0 + LENGTH_SPREAD * float(generator.uniform(-1.0, 1.0)))
    bar_seconds = game.beats_per_bar * 60.0 / plan.tempo
    bars = max(1, round((wanted - min(TAIL_SECONDS, TAIL_SHARE * wanted)) / bar_seconds))
    sections = write_form(plan, bars)
    lead = write_lead(plan, sections)
    notes = lead + write_counter(plan, sections, lead)
    notes += write_harmony(plan, sections) + write_bass(plan, sections) + write_drums(plan, sections, generator)
    notes.sort(key=lambda note: (note.start, note.part, note.pitch))
    beats = float(bars * game.beats_per_bar)
    return Score(
        tuple(notes),
        plan.tempo,
        beats,
        plan.tonic,
        plan.mode,
        sections,
        game.metre,
        game.beats_per_bar,
        plan.motifs,
    )
