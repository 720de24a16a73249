"""The accompaniment: chord figures and pads in close position with the least movement."""

from __future__ import annotations

from dataset_processing.synth.composition.motifs import parse
from dataset_processing.synth.composition.plan import Plan
from dataset_processing.synth.composition.score import Note, Section
from dataset_processing.synth.theory import SEMITONES, Chord, pitches_in

HARMONY_LEVEL = 0.85
# Harmony plays on through this share of the closing bar, then leaves it to the last chord.
CLOSING_SHARE = 0.75


def _voicing(chord: Chord, tonic: int, span: tuple[int, int], previous: list[int]) -> list[int]:
    """Close position of the chord, three voices, that moves least from the previous voicing."""
    low, high = span
    best: list[int] = []
    best_cost = float("inf")
    goal = previous or [(low + high) // 2 - 4, (low + high) // 2, (low + high) // 2 + 4]
    tones = pitches_in(chord.voices, tonic, low, high)
    for index in range(len(tones) - 2):
        candidate = tones[index : index + 3]
        cost = sum(abs(a - b) for a, b in zip(candidate, goal, strict=True))
        cost += 0.3 * abs(candidate[1] - (low + high) / 2.0)
        if cost < best_cost:
            best, best_cost = candidate, cost
    return best


def write_harmony(plan: Plan, sections: tuple[Section, ...]) -> list[Note]:
    """Notes of the parts "harmony" and, where the game has one, "pad"."""
    game, notes = plan.game, []
    voices: list[int] = []
    pads: list[int] = []
    for section in sections:
        silent = section.arrangement.silent
        for index, chord in enumerate(section.chords):
            begin = (section.first_bar + index) * game.beats_per_bar
            level = HARMONY_LEVEL * section.level(index)
            voices = _voicing(chord, plan.tonic, game.harmony_range, voices)
            if "harmony" not in silent:
                closing = section is sections[-1] and index == section.bars - 1
                notes += _figure(plan, plan.harmony[section.arrangement.figures], voices, begin, level, closing)
            if game.pad_range is not None and "pad" not in silent:
                pads = _voicing(chord, plan.tonic, game.pad_range, pads)
                notes += [Note(begin, game.beats_per_bar, pitch, level, "pad") for pitch in pads]
    return notes


def _figure(plan: Plan, pattern: str, voices: list[int], begin: float, level: float, closing: bool) -> list[Note]:
    game, notes = plan.game, []
    steps = [*voices, *(pitch + SEMITONES for pitch in voices)]
    for step, length, symbol in parse(pattern):
        if closing and step >= CLOSING_SHARE * len(pattern):
            break
        accent = 1.0 if step % game.steps_per_beat == 0 else 0.85
        duration = length / game.steps_per_beat * game.staccato
        for pitch in voices if symbol == "x" else [steps[int(symbol)]]:
            notes.append(Note(begin + step / game.steps_per_beat, duration, pitch, level * accent, "harmony"))
    return notes
