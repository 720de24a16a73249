"""What tests read from a composed score."""

from __future__ import annotations

from dataset_processing.synth.composition import Note, Score, Section


def notes_of(score: Score, part: str, section: Section | None = None, bar: int | None = None) -> list[Note]:
    """Notes of a part, of a section's bars or one bar of it."""
    first, count = (0, 10**6) if section is None else (section.first_bar, section.bars)
    if bar is not None:
        first, count = first + bar, 1
    begin, end = first * score.beats_per_bar, (first + count) * score.beats_per_bar
    return [note for note in score.notes if note.part == part and begin <= note.start < end]


def find_sections(score: Score, letter: str) -> list[Section]:
    return [section for section in score.sections if section.letter == letter]


def strokes(score: Score, section: Section, bar: int) -> set[tuple[float, int]]:
    """(beat of the bar, percussion key) of the drums of a bar."""
    begin = (section.first_bar + bar) * score.beats_per_bar
    return {(round(note.start - begin, 3), note.pitch) for note in notes_of(score, "drums", section, bar)}


def classes(score: Score, notes: list[Note]) -> list[int]:
    """Pitch classes above the tonic."""
    return [(note.pitch - score.tonic) % 12 for note in notes]
