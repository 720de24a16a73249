"""A score from a seed, by rule.

Form: intro, phrases A A' B A ... of four bars and an outro that closes on the tonic. A track draws two one-bar motifs;
every lead bar is one of them set on the chord of its bar, so motifs return, move in sequence and vary. Bass, harmony
and drums repeat the track's own pick of the game's patterns, with a drum fill before each new phrase.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from dataset_processing.synth.melody import Motif, draw_motif, set_motif
from dataset_processing.synth.records import Game
from dataset_processing.synth.theory import (
    HALF_CADENCES,
    PROGRESSIONS,
    SEMITONES,
    Chord,
    build_chord,
    nearest,
    pitches_in,
)

STEPS_PER_BEAT = 4
PHRASE_BARS = 4
# The outro takes two bars where there is room.
OUTRO_BARS = 2
# Share of a track kept for the last chord to ring, at most this many seconds.
TAIL_SHARE, TAIL_SECONDS = 0.08, 2.0
# Target lengths are drawn within this share of the wanted one: rounding to whole bars stays within 20 %.
LENGTH_SPREAD = 0.12
# Phrase letters after which the cycle starts again; the last phrase before the outro is always an A or A'.
PHRASE_CYCLE = ("A", "A'", "B", "A", "A'", "B'")
SECTION_LEVEL = {"intro": 0.78, "A": 0.86, "A'": 0.9, "B": 0.96, "B'": 1.0, "outro": 0.84}
# Harmony and drums play on through this share of the closing bar, then leave it to the last chord.
CLOSING_SHARE = 0.75
DRUM_LEVEL = {"X": 1.0, "x": 0.78, "o": 0.5}
# Tracks walk through the twelve keys and the strata of the tempo range by these coprime strides, so they differ.
KEY_STRIDE, TEMPO_STRATA, TEMPO_STRIDE = 5, 8, 3


@dataclass(frozen=True)
class Note:
    """start and duration in beats, MIDI pitch (a percussion key in part "drums"), velocity 0..1, part name."""

    start: float
    duration: float
    pitch: int
    velocity: float
    part: str


@dataclass(frozen=True)
class Section:
    """A stretch of the form: its letter, first bar and the chord of each of its bars."""

    letter: str
    first_bar: int
    chords: tuple[Chord, ...]


@dataclass(frozen=True)
class Score:
    """Notes sorted by start, with tempo (beats per minute), length in beats, tonic (pitch class 0..11) and form."""

    notes: tuple[Note, ...]
    tempo: float
    beats: float
    tonic: int
    mode: str
    sections: tuple[Section, ...]

    @property
    def seconds(self) -> float:
        """Length of the written music in seconds, without the ringing of the last chord."""
        return self.beats * 60.0 / self.tempo


@dataclass(frozen=True)
class _Plan:
    """What one track draws before any note is written."""

    game: Game
    tempo: float
    tonic: int
    mode: str
    progressions: tuple[tuple[int, ...], tuple[int, ...]]
    motifs: tuple[Motif, Motif]
    cadence: Motif
    harmony: str
    bass: str
    drums: dict[int, str]


def _pick(options: tuple, generator: np.random.Generator):
    return options[int(generator.integers(len(options)))]


def _draw_plan(game: Game, track: int, seed: int) -> _Plan:
    name_code = zlib.crc32(game.name.encode())
    shared = np.random.default_rng([seed, name_code])
    generator = np.random.default_rng([seed, name_code, track + 1])
    tonic = (int(shared.integers(SEMITONES)) + KEY_STRIDE * track) % SEMITONES
    stratum = (int(shared.integers(TEMPO_STRATA)) + TEMPO_STRIDE * track) % TEMPO_STRATA
    low, high = game.tempo
    tempo = low + (high - low) * (stratum + float(generator.random())) / TEMPO_STRATA
    mode = game.modes[(int(shared.integers(len(game.modes))) + track) % len(game.modes)]
    first, second = PROGRESSIONS[mode]
    rhythms = generator.permutation(len(game.lead_rhythms))
    return _Plan(
        game,
        round(tempo, 2),
        tonic,
        mode,
        (_pick(first, generator), _pick(second, generator)),
        (
            draw_motif(game.lead_rhythms[int(rhythms[0])], generator),
            draw_motif(game.lead_rhythms[int(rhythms[1])], generator),
        ),
        draw_motif(game.cadence_rhythm, generator),
        _pick(game.harmony_patterns, generator),
        _pick(game.bass_patterns, generator),
        dict(_pick(game.drum_patterns, generator)),
    )


def plan_letters(bars: int) -> list[tuple[str, int]]:
    """Letters and bar counts of the sections of a track of `bars` >= 1 bars; the counts add up to `bars`."""
    outro = OUTRO_BARS if bars >= PHRASE_BARS + OUTRO_BARS else 1
    phrases, intro = divmod(bars - outro, PHRASE_BARS)
    if phrases == 0:
        return [*([("A", intro)] if intro else []), ("outro", outro)]
    letters = [PHRASE_CYCLE[index % len(PHRASE_CYCLE)] for index in range(phrases)]
    if phrases == 3:
        letters[1] = "B"
    if phrases > 2:
        letters[-1] = "A'" if letters[-2] == "A" else "A"
    return [*([("intro", intro)] if intro else []), *((letter, PHRASE_BARS) for letter in letters), ("outro", outro)]


def _section_degrees(plan: _Plan, letter: str, bars: int) -> list[int]:
    if letter == "outro":
        return [HALF_CADENCES[plan.mode][1], 0][-bars:]
    degrees = list(plan.progressions[1] if letter.startswith("B") else plan.progressions[0])
    if letter.endswith("'"):
        degrees[2:] = HALF_CADENCES[plan.mode]
    return degrees[:bars]


def _write_form(plan: _Plan, bars: int) -> tuple[Section, ...]:
    sections, bar = [], 0
    for letter, count in plan_letters(bars):
        chords = tuple(build_chord(plan.mode, degree) for degree in _section_degrees(plan, letter, count))
        sections.append(Section(letter, bar, chords))
        bar += count
    return tuple(sections)


def _write_lead(plan: _Plan, sections: tuple[Section, ...], generator: np.random.Generator) -> list[Note]:
    low, high = plan.game.lead_range
    centre = (low + high) / 2.0
    notes: list[Note] = []
    previous = centre
    for section in sections:
        is_b = section.letter.startswith("B")
        main, other = plan.motifs[::-1] if is_b else plan.motifs
        order = {"intro": (main,) * 4, "outro": (plan.cadence,) * 2}.get(
            section.letter, (main, main, other, plan.cadence if section.letter.endswith("'") else other)
        )
        for index, chord in enumerate(section.chords):
            target = centre + (2.0 if is_b else 0.0)
            varied = section.letter.endswith("'") and index == 1
            # The line is drawn half way back to its centre each bar, so it neither sticks nor drifts away.
            events = set_motif(
                order[index],
                chord,
                plan.tonic,
                (low, high),
                (previous + target) / 2.0,
                plan.game.melody_degrees,
                generator if varied else None,
            )
            start = (section.first_bar + index) * plan.game.beats_per_bar
            level = SECTION_LEVEL[section.letter]
            final = section is sections[-1] and index == len(section.chords) - 1
            if final:
                tonic = nearest(pitches_in((0,), plan.tonic, low, high), previous)
                notes.append(Note(start, plan.game.beats_per_bar, tonic, level, "lead"))
                break
            for step, length, pitch in events:
                accent = 1.0 if step % STEPS_PER_BEAT == 0 else 0.88
                duration = length / STEPS_PER_BEAT * plan.game.staccato
                notes.append(Note(start + step / STEPS_PER_BEAT, duration, pitch, level * accent, "lead"))
                previous = pitch
    return notes


def _voicing(chord: Chord, tonic: int, span: tuple[int, int], previous: list[int]) -> list[int]:
    """Close position of the chord, three voices, that moves least from the previous voicing."""
    low, high = span
    best: list[int] = []
    best_cost = float("inf")
    goal = previous or [(low + high) // 2 - 4, (low + high) // 2, (low + high) // 2 + 4]
    tones = pitches_in(chord.tones, tonic, low, high)
    for index in range(len(tones) - 2):
        candidate = tones[index : index + 3]
        cost = sum(abs(a - b) for a, b in zip(candidate, goal, strict=True))
        cost += 0.3 * abs(candidate[1] - (low + high) / 2.0)
        if cost < best_cost:
            best, best_cost = candidate, cost
    return best


def _parse(pattern: str) -> list[tuple[int, int, str]]:
    """(first step, steps, symbol) of each note of a pattern string."""
    events: list[tuple[int, int, str]] = []
    for step, symbol in enumerate(pattern):
        if symbol == "-" and events and events[-1][0] + events[-1][1] == step:
            events[-1] = (events[-1][0], events[-1][1] + 1, events[-1][2])
        elif symbol not in "-.":
            events.append((step, 1, symbol))
    return events


def _write_harmony(plan: _Plan, chords: list[tuple[int, Chord, str]]) -> list[Note]:
    game, notes = plan.game, []
    voices: list[int] = []
    pads: list[int] = []
    for bar, chord, letter in chords:
        start, last = bar * game.beats_per_bar, bar == chords[-1][0]
        voices = _voicing(chord, plan.tonic, game.harmony_range, voices)
        ladder = [*voices, *(pitch + SEMITONES for pitch in voices)]
        level = 0.85 * SECTION_LEVEL[letter]
        for step, length, symbol in _parse(plan.harmony):
            if last and step >= CLOSING_SHARE * len(plan.harmony):
                break
            accent = 1.0 if step % STEPS_PER_BEAT == 0 else 0.85
            for pitch in voices if symbol == "x" else [ladder[int(symbol)]]:
                duration = length / STEPS_PER_BEAT * game.staccato
                notes.append(Note(start + step / STEPS_PER_BEAT, duration, pitch, level * accent, "harmony"))
        if game.pad_range is not None:
            pads = _voicing(chord, plan.tonic, game.pad_range, pads)
            notes += [Note(start, game.beats_per_bar, pitch, level, "pad") for pitch in pads]
    return notes


def _write_bass(plan: _Plan, chords: list[tuple[int, Chord, str]]) -> list[Note]:
    game, notes = plan.game, []
    low = game.bass_low
    for index, (bar, chord, letter) in enumerate(chords):
        start, level = bar * game.beats_per_bar, 0.95 * SECTION_LEVEL[letter]
        root = pitches_in((chord.root,), plan.tonic, low, low + SEMITONES - 1)[0]
        if index == len(chords) - 1:
            notes.append(Note(start, game.beats_per_bar, root, level, "bass"))
            break
        following = pitches_in((chords[index + 1][1].root,), plan.tonic, low, low + SEMITONES - 1)[0]
        # The approach is the scale step next to the coming root.
        steps = [pitch for pitch in pitches_in(chord.scale, plan.tonic, low - 2, low + 14) if pitch != following]
        fifth = root + (chord.tones[2] - chord.root) % SEMITONES
        third = root + (chord.tones[1] - chord.root) % SEMITONES
        pitches = {"r": root, "3": third, "5": fifth, "o": root + SEMITONES, "a": nearest(steps, following)}
        for step, length, symbol in _parse(plan.bass):
            duration = length / STEPS_PER_BEAT * game.staccato
            accent = 1.0 if step % STEPS_PER_BEAT == 0 else 0.9
            notes.append(Note(start + step / STEPS_PER_BEAT, duration, pitches[symbol], level * accent, "bass"))
    return notes


def _write_drums(plan: _Plan, sections: tuple[Section, ...]) -> list[Note]:
    notes: list[Note] = []
    for section in sections:
        for index in range(len(section.chords)):
            start = (section.first_bar + index) * plan.game.beats_per_bar
            closing = section.letter == "outro" and index == len(section.chords) - 1
            filling = index == PHRASE_BARS - 1
            patterns = dict(plan.game.fill if filling else plan.drums)
            for key, pattern in patterns.items():
                for step, _, symbol in _parse(pattern[: round(CLOSING_SHARE * len(pattern))] if closing else pattern):
                    level = DRUM_LEVEL[symbol] * SECTION_LEVEL[section.letter]
                    notes.append(Note(start + step / STEPS_PER_BEAT, 0.25, key, level, "drums"))
    return notes


def compose(game: Game, track: int, *, seconds: float, seed: int) -> Score:
    """Score of one track.

    game: the record to follow; track: number from 0; seconds: wanted length > 0; seed: >= 0.
    The score depends on these four alone. Its length is within about 20 % of `seconds` when that holds some bars.
    """
    plan = _draw_plan(game, track, seed)
    generator = np.random.default_rng([seed, zlib.crc32(game.name.encode()), track + 1, 1])
    wanted = seconds * (1.0 + LENGTH_SPREAD * float(generator.uniform(-1.0, 1.0)))
    bar_seconds = game.beats_per_bar * 60.0 / plan.tempo
    bars = max(1, round((wanted - min(TAIL_SECONDS, TAIL_SHARE * wanted)) / bar_seconds))
    sections = _write_form(plan, bars)
    chords = [
        (section.first_bar + index, chord, section.letter)
        for section in sections
        for index, chord in enumerate(section.chords)
    ]
    notes = _write_lead(plan, sections, generator)
    notes += _write_harmony(plan, chords) + _write_bass(plan, chords) + _write_drums(plan, sections)
    notes.sort(key=lambda note: (note.start, note.part, note.pitch))
    return Score(tuple(notes), plan.tempo, float(bars * game.beats_per_bar), plan.tonic, plan.mode, sections)
