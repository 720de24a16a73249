"""What one track draws before any note is written."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from dataset_processing.synth.composition.motifs import Motif, draw_motif
from dataset_processing.synth.records import DrumPattern, Game, Harmony
from dataset_processing.synth.theory import SEMITONES

# Tracks walk through the twelve keys and the strata of the tempo range by these coprime strides, so they differ.
KEY_STRIDE, TEMPO_STRATA, TEMPO_STRIDE = 5, 8, 3
# Semitones by which the lead of the B phrases lies above or below that of the A phrases.
REGISTER_SHIFTS = (5, -5)
# An intro and a break keep the accompaniment, by whose sound a game is known.
INTROS = (frozenset({"lead"}), frozenset({"lead", "bass"}))
BREAKS = (frozenset({"lead"}), frozenset({"bass", "lead"}), frozenset({"bass", "pad"}))


@dataclass(frozen=True)
class Plan:
    """The drawn material of a track; patterns by name as `Arrangement` uses them."""

    game: Game
    tempo: float
    tonic: int
    mode: str
    theme: tuple[str, ...]
    contrast: tuple[str, ...]
    vamp: tuple[str, ...]
    build: tuple[str, ...]
    half: tuple[str, ...]
    full: tuple[str, ...]
    ending: tuple[str, ...]
    motifs: dict[str, Motif]
    harmony: dict[str, str]
    bass: dict[str, str]
    drums: dict[str, DrumPattern]
    counters: tuple[str, str]
    register: int
    intro: frozenset[str]
    broken: frozenset[str]
    answer: str


def pick(options: tuple, generator: np.random.Generator):
    """One of the options, each as likely."""
    return options[int(generator.integers(len(options)))]


def _draw_chords(language: Harmony, generator: np.random.Generator) -> dict[str, tuple[str, ...]]:
    """One row of numerals for each of the plan's fields."""
    rows = {
        "theme": language.themes,
        "contrast": language.contrasts,
        "vamp": language.vamps,
        "build": language.builds,
        "half": language.half,
        "full": language.full,
        "ending": language.endings,
    }
    return {name: tuple(pick(options, generator).split()) for name, options in rows.items()}


def draw_plan(game: Game, track: int, seed: int) -> Plan:
    """The plan of a track: key, tempo and mode go round with its number, the rest is drawn from its own seed."""
    name_code = zlib.crc32(game.name.encode())
    shared = np.random.default_rng([seed, name_code])
    generator = np.random.default_rng([seed, name_code, track + 1])
    tonic = (int(shared.integers(SEMITONES)) + KEY_STRIDE * track) % SEMITONES
    stratum = (int(shared.integers(TEMPO_STRATA)) + TEMPO_STRIDE * track) % TEMPO_STRATA
    low, high = game.tempo
    tempo = low + (high - low) * (stratum + float(generator.random())) / TEMPO_STRATA
    modes = tuple(game.harmony)
    mode = modes[(int(shared.integers(len(modes))) + track) % len(modes)]
    lines, grooves = game.lines, game.grooves
    chords = _draw_chords(game.harmony[mode], generator)
    first, second = (int(index) for index in generator.permutation(len(lines.lead))[:2])
    rhythms = {"a": lines.lead[first], "b": lines.lead[second], "c": pick(lines.lead_contrast, generator)}
    counters = generator.permutation(np.array(["answer", "thirds", "contrary"]))
    return Plan(
        game,
        round(tempo, 2),
        tonic,
        mode,
        **chords,
        motifs={name: draw_motif(rhythm, game.steps_per_beat, generator) for name, rhythm in rhythms.items()},
        harmony={"main": pick(lines.harmony, generator), "contrast": pick(lines.harmony_contrast, generator)},
        bass={"main": pick(lines.bass, generator), "contrast": pick(lines.bass_contrast, generator)},
        drums={name: pick(getattr(grooves, name), generator) for name in ("main", "contrast", "light", "full")},
        counters=(str(counters[0]), str(counters[1])),
        register=pick(REGISTER_SHIFTS, generator),
        intro=pick(INTROS, generator),
        broken=pick(BREAKS, generator),
        answer=pick(("b state", "a invert", "a diminish"), generator),
    )
