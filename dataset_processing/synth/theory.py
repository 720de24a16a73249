"""Scales and chords, as pitch classes above the tonic."""

from __future__ import annotations

import re
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
NUMERALS = ("i", "ii", "iii", "iv", "v", "vi", "vii")
ACCIDENTALS = {"": 0, "b": -1, "#": 1}
# Semitones of the seventh above the root.
SEVENTHS = {"7": 10, "M7": 11}
NUMERAL_FORM = re.compile(r"(b|#)?([ivIV]+)(7|M7)?")


@dataclass(frozen=True)
class Chord:
    """A numeral with its pitch classes above the tonic: tones (root, third, fifth, then any seventh) and scale.

    The scale is that of the mode, with the letters of the chord altered as the chord needs them.
    """

    numeral: str
    tones: tuple[int, ...]
    scale: tuple[int, ...]

    @property
    def root(self) -> int:
        """Pitch class of the root."""
        return self.tones[0]

    @property
    def voices(self) -> tuple[int, ...]:
        """The three tones that an accompaniment plays: a seventh takes the place of the fifth."""
        return self.tones if len(self.tones) == 3 else (self.tones[0], self.tones[1], self.tones[3])


def build_chord(mode: str, numeral: str) -> Chord:
    """Chord of a Roman numeral over the tonic: capitals are major, small letters minor, 7 and M7 add a seventh.

    Roots are those of the major scale whatever the mode ("bVI" in minor), as in popular practice. Raises ValueError
    for a numeral of another form.
    """
    match = NUMERAL_FORM.fullmatch(numeral)
    if match is None or match[2].lower() not in NUMERALS:
        raise ValueError(f"numeral must be like i, bVI or V7, got {numeral!r}")
    degree = NUMERALS.index(match[2].lower())
    root = SCALES["major"][degree] + ACCIDENTALS[match[1] or ""]
    intervals = [0, 4 if match[2].isupper() else 3, 7]
    if match[3]:
        intervals.append(SEVENTHS[match[3]])
    tones = tuple((root + interval) % SEMITONES for interval in intervals)
    scale = list(SCALES[mode])
    for index, tone in enumerate(tones):
        scale[(degree + 2 * index) % 7] = tone
    return Chord(numeral, tones, tuple(scale))


def pitches_in(classes: tuple[int, ...], tonic: int, low: int, high: int) -> list[int]:
    """All MIDI pitches from low to high whose class above the tonic is among the given ones, ascending."""
    return [pitch for pitch in range(low, high + 1) if (pitch - tonic) % SEMITONES in classes]


def nearest(candidates: list[int], target: float) -> int:
    """The candidate closest to the target (the lower one on a tie)."""
    return min(candidates, key=lambda pitch: (abs(pitch - target), pitch))
