"""Scales, chords and progressions, as pitch classes above the tonic."""

from __future__ import annotations

from dataclasses import dataclass

SEMITONES = 12
SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}
# Four-bar progressions as scale degrees (0 = tonic chord): first for the A phrases, then for the B phrases. Degrees
# whose triad is diminished in the mode are never used.
PROGRESSIONS: dict[str, tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]] = {
    "major": (
        ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 0, 4), (0, 2, 3, 4), (0, 3, 1, 4)),
        ((3, 4, 2, 5), (5, 3, 0, 4), (1, 4, 0, 5), (3, 0, 1, 4)),
    ),
    "lydian": (
        ((0, 1, 0, 1), (0, 1, 2, 5), (0, 4, 1, 0), (0, 2, 1, 4)),
        ((5, 1, 2, 4), (2, 5, 1, 1), (4, 1, 5, 2)),
    ),
    "mixolydian": (
        ((0, 6, 3, 0), (0, 3, 6, 0), (0, 4, 3, 6), (0, 3, 0, 6)),
        ((3, 0, 6, 3), (6, 3, 0, 4), (5, 3, 6, 4)),
    ),
    "dorian": (
        ((0, 3, 0, 3), (0, 6, 3, 0), (0, 2, 3, 6), (0, 1, 2, 3)),
        ((2, 3, 0, 6), (3, 6, 2, 0), (6, 3, 4, 0)),
    ),
    "minor": (
        ((0, 5, 2, 6), (0, 3, 6, 2), (0, 6, 5, 4), (0, 5, 3, 4), (0, 2, 6, 3)),
        ((5, 6, 0, 0), (3, 0, 4, 0), (2, 6, 3, 4), (5, 2, 3, 4)),
    ),
    "phrygian": (
        ((0, 1, 0, 6), (0, 1, 2, 1), (0, 6, 1, 0), (0, 5, 1, 0)),
        ((5, 6, 0, 1), (2, 1, 6, 0), (3, 1, 5, 0)),
    ),
}
# Half cadence (last two bars of a varied phrase) and full close (the last bar goes to the tonic), per mode.
HALF_CADENCES: dict[str, tuple[int, int]] = {
    "major": (1, 4),
    "lydian": (1, 4),
    "mixolydian": (3, 6),
    "dorian": (3, 6),
    "minor": (3, 4),
    "phrygian": (6, 1),
}


@dataclass(frozen=True)
class Chord:
    """Pitch classes above the tonic: root, triad tones (root, third, fifth) and the seven notes of its scale."""

    degree: int
    tones: tuple[int, int, int]
    scale: tuple[int, ...]

    @property
    def root(self) -> int:
        """Pitch class of the root."""
        return self.tones[0]


def build_chord(mode: str, degree: int) -> Chord:
    """Triad on a scale degree 0..6. In minor the fifth degree gets the leading tone, and so does its scale."""
    scale = SCALES[mode]
    if mode == "minor" and degree == 4:
        scale = (*scale[:6], SEMITONES - 1)
    tones = tuple(scale[(degree + step) % 7] for step in (0, 2, 4))
    return Chord(degree, (tones[0], tones[1], tones[2]), scale)


def pitches_in(classes: tuple[int, ...], tonic: int, low: int, high: int) -> list[int]:
    """All MIDI pitches from low to high whose class above the tonic is among the given ones, ascending."""
    return [pitch for pitch in range(low, high + 1) if (pitch - tonic) % SEMITONES in classes]


def nearest(candidates: list[int], target: float) -> int:
    """The candidate closest to the target (the lower one on a tie)."""
    return min(candidates, key=lambda pitch: (abs(pitch - target), pitch))
