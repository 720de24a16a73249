"""Motifs: a one-bar rhythm with a contour in scale steps, and how one is set on a chord."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset_processing.synth.theory import Chord, nearest, pitches_in

# Contours move mostly by step; after a leap the next move turns back. Weights of moves 0..4 scale steps.
MOVE_SIZES = (0, 1, 2, 3, 4)
MOVE_WEIGHTS = (0.1, 0.52, 0.22, 0.1, 0.06)
# A contour stays within this many scale steps of its first note.
CONTOUR_SPAN = 4
# A motif that hardly moves is drawn again, so many times at most.
DISTINCT_OFFSETS, CONTOUR_TRIES = 3, 20
# A note this long (in sixteenths) or on a beat has to belong to the chord.
LONG_NOTE = 4
BEAT_STEPS = 4


@dataclass(frozen=True)
class Motif:
    """Events (first sixteenth, length in sixteenths, scale steps above the first note), in order."""

    events: tuple[tuple[int, int, int], ...]


def draw_motif(rhythm: str, generator: np.random.Generator) -> Motif:
    """Motif with the given rhythm ('x' start, '-' hold, '.' rest) and a random singable contour."""
    wanted = min(DISTINCT_OFFSETS, rhythm.count("x"))
    for _ in range(CONTOUR_TRIES):
        motif = Motif(_draw_events(rhythm, generator))
        if len({offset for _, _, offset in motif.events}) >= wanted:
            break
    return motif


def _draw_events(rhythm: str, generator: np.random.Generator) -> tuple[tuple[int, int, int], ...]:
    starts = [step for step, symbol in enumerate(rhythm) if symbol == "x"]
    events: list[tuple[int, int, int]] = []
    offset, move = 0, 0
    for start in starts:
        length = 1
        while start + length < len(rhythm) and rhythm[start + length] == "-":
            length += 1
        events.append((start, length, offset))
        size = int(generator.choice(MOVE_SIZES, p=MOVE_WEIGHTS))
        up = bool(generator.random() < 0.5)
        if abs(move) > 2:
            up, size = move < 0, min(size, 2)
        move = size if up else -size
        if abs(offset + move) > CONTOUR_SPAN:
            move = -move
        offset += move
    return tuple(events)


def set_motif(
    motif: Motif,
    chord: Chord,
    tonic: int,
    span: tuple[int, int],
    around: float,
    degrees: tuple[int, ...],
    generator: np.random.Generator | None,
) -> list[tuple[int, int, int]]:
    """Notes (first sixteenth, length, MIDI pitch) of a motif on a chord.

    span: lowest and highest pitch; around: pitch near which the line starts; degrees: scale degrees a melody may use
    besides the tones of the chord; generator: when given, one long note is split with a neighbour (a variation).
    """
    low, high = span
    melodic = tuple(chord.scale[degree] for degree in degrees)
    scale = pitches_in(tuple({*melodic, *chord.tones}), tonic, low, high)
    chordal = pitches_in(chord.tones, tonic, low, high)
    anchor = scale.index(nearest(chordal, around))
    notes: list[tuple[int, int, int]] = []
    previous_offset = 0
    for start, length, offset in motif.events:
        place = anchor + offset
        if not 0 <= place < len(scale):
            place = anchor - offset
        pitch = scale[min(max(place, 0), len(scale) - 1)]
        if start % BEAT_STEPS == 0 or length >= LONG_NOTE:
            pitch = nearest(chordal, pitch)
            if notes and pitch == notes[-1][2] and offset != previous_offset:
                pitch = _next_tone(chordal, pitch, upward=offset > previous_offset)
        previous_offset = offset
        notes.append((start, length, pitch))
    if generator is not None:
        notes = _split_one(notes, scale, generator)
    return notes


def _next_tone(chordal: list[int], pitch: int, *, upward: bool) -> int:
    """The neighbour of a chord tone in a direction, or in the other one at the end of the range."""
    place = chordal.index(pitch) + (1 if upward else -1)
    if not 0 <= place < len(chordal):
        place = chordal.index(pitch) + (-1 if upward else 1)
    return chordal[place]


def _split_one(
    notes: list[tuple[int, int, int]], scale: list[int], generator: np.random.Generator
) -> list[tuple[int, int, int]]:
    long = [index for index, (_, length, _) in enumerate(notes) if length >= 4]
    if not long:
        return notes
    index = long[int(generator.integers(len(long)))]
    start, length, pitch = notes[index]
    neighbour = scale[min(scale.index(pitch) + 1, len(scale) - 1)] if pitch in scale else pitch
    half = length // 2
    return [*notes[:index], (start, half, pitch), (start + half, length - half, neighbour), *notes[index + 1 :]]
