"""Drums: a groove for each section, a fill before each new one, a roll that doubles its speed in a build-up."""

from __future__ import annotations

import numpy as np

from dataset_processing.synth.composition.motifs import parse
from dataset_processing.synth.composition.plan import Plan, pick
from dataset_processing.synth.composition.score import Note, Section
from dataset_processing.synth.drums import KICK
from dataset_processing.synth.records import DrumPattern

DRUM_LEVEL = {"X": 1.0, "x": 0.78, "o": 0.5}
STROKE_BEATS = 0.25


def _build_pattern(plan: Plan, index: int) -> DrumPattern:
    """Bars of a build-up: a kick on every beat under a roll once a beat, twice a beat, then on every step."""
    game = plan.game
    beat, beats = game.steps_per_beat, game.beats_per_bar
    roll = (
        "x" + "." * (beat - 1),
        ("x" + "." * (beat // 2 - 1)) * 2 if beat % 2 == 0 else "x.x",
        ("x" + "." * (beat // 2 - 1)) * 2 if beat % 2 == 0 else "xxx",
        "X" + "x" * (beat - 1),
    )[min(index, 3)]
    # The game's own cymbals and small percussion go on, so that a build-up still sounds like its game.
    return {**plan.drums["main"], KICK: ("X" + "." * (beat - 1)) * beats, game.grooves.roll: roll * beats}


def _closing_pattern(plan: Plan) -> DrumPattern:
    """One stroke under the last chord."""
    rest = "." * (plan.game.steps_per_bar - 1)
    return {KICK: "X" + rest, plan.game.grooves.crash: "X" + rest}


def write_drums(plan: Plan, sections: tuple[Section, ...], generator: np.random.Generator) -> list[Note]:
    """Notes of the drums; fills are drawn anew for each phrase."""
    game, notes = plan.game, []
    previous = ""
    for section in sections:
        for index in range(section.bars):
            begin = (section.first_bar + index) * game.beats_per_bar
            last = index == section.bars - 1
            if section is sections[-1]:
                pattern = _closing_pattern(plan) if last else plan.drums["main"]
            elif section.arrangement.drums == "build":
                pattern = _build_pattern(plan, index)
            elif last and section.bars > 1:
                pattern = pick(game.grooves.fills, generator)
            else:
                pattern = plan.drums[section.arrangement.drums]
            rows = dict(pattern)
            if index == 0 and previous and section.arrangement.drums not in ("light", "build"):
                crash = rows.get(game.grooves.crash, "." * game.steps_per_bar)
                rows[game.grooves.crash] = "X" + crash[1:]
            for key, row in rows.items():
                for step, _, symbol in parse(row):
                    level = DRUM_LEVEL[symbol] * section.level(index)
                    notes.append(Note(begin + step / game.steps_per_beat, STROKE_BEATS, key, level, "drums"))
        previous = section.letter
    return notes
