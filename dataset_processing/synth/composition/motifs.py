"""Motifs: a one-bar rhythm with a contour in scale steps, and how they are developed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

# Contours move mostly by step; after a leap the next move turns back. Weights of moves 0..4 scale steps.
MOVE_SIZES = (0, 1, 2, 3, 4)
MOVE_WEIGHTS = (0.1, 0.52, 0.22, 0.1, 0.06)
# A contour stays within this many scale steps of its first note.
CONTOUR_SPAN = 4
# A motif that hardly moves is drawn again, so many times at most.
DISTINCT_OFFSETS, CONTOUR_TRIES = 3, 20


@dataclass(frozen=True)
class Motif:
    """Events (first step, length in steps, scale steps above the first note) in order, and steps of bar and beat."""

    events: tuple[tuple[int, int, int], ...]
    bar: int
    beat: int


def parse(pattern: str) -> list[tuple[int, int, str]]:
    """(first step, steps, symbol) of each note of a pattern string."""
    events: list[tuple[int, int, str]] = []
    for step, symbol in enumerate(pattern):
        if symbol == "-" and events and events[-1][0] + events[-1][1] == step:
            events[-1] = (events[-1][0], events[-1][1] + 1, events[-1][2])
        elif symbol not in "-.":
            events.append((step, 1, symbol))
    return events


def draw_motif(rhythm: str, beat: int, generator: np.random.Generator) -> Motif:
    """Motif with the given rhythm ('x' start, '-' hold, '.' rest) and a random singable contour."""
    wanted = min(DISTINCT_OFFSETS, rhythm.count("x"))
    for _ in range(CONTOUR_TRIES):
        events = _draw_events(rhythm, generator)
        if len({offset for _, _, offset in events}) >= wanted:
            break
    return Motif(events, len(rhythm), beat)


def _draw_events(rhythm: str, generator: np.random.Generator) -> tuple[tuple[int, int, int], ...]:
    events: list[tuple[int, int, int]] = []
    offset, move = 0, 0
    for start, length, _ in parse(rhythm):
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


def invert(motif: Motif) -> Motif:
    """Each move in the other direction."""
    return replace(motif, events=tuple((start, length, -offset) for start, length, offset in motif.events))


def augment(motif: Motif) -> Motif:
    """The first half of the bar at half the speed."""
    kept = [event for event in motif.events if 2 * event[0] < motif.bar]
    events = tuple((2 * start, min(2 * length, motif.bar - 2 * start), offset) for start, length, offset in kept)
    return replace(motif, events=events)


def diminish(motif: Motif) -> Motif:
    """The head of the motif, hurried: it comes at every beat group of the bar, each time a step higher.

    The head is the first beat, or two beats of a bar of four; where it has one note only, that note is repeated on
    each beat as a neighbour figure.
    """
    group = motif.beat * (2 if motif.bar == 4 * motif.beat else 1)
    head = [event for event in motif.events if event[0] < group]
    if len(head) < 2:
        half = max(1, motif.beat // 2)
        head = [(0, motif.beat - half, 0), (motif.beat - half, half, 1)]
        group = motif.beat
    events: list[tuple[int, int, int]] = []
    for index, base in enumerate(range(0, motif.bar, group)):
        rise = min(index, 2)
        events += [(base + start, min(length, group - start), offset + rise) for start, length, offset in head]
    return replace(motif, events=tuple(events))


def ornament(motif: Motif) -> Motif:
    """Each note of a beat or more gives its last part to an upper neighbour."""
    events: list[tuple[int, int, int]] = []
    for start, length, offset in motif.events:
        if length < motif.beat:
            events.append((start, length, offset))
            continue
        tail = max(1, motif.beat // 2)
        events += [(start, length - tail, offset), (start + length - tail, tail, offset + 1)]
    return replace(motif, events=tuple(events))


OPERATIONS = {"invert": invert, "augment": augment, "diminish": diminish, "ornament": ornament}
