"""The frozen records that describe a game: its chip, its mix and its composing habits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from dataset_processing.synth.drums import Drum

# A voice: (frequency in Hz, held seconds, sample rate in Hz) -> mono float32 (samples,), release included.
Voice = Callable[[float, float, int], np.ndarray]


@dataclass(frozen=True)
class Chip:
    """A sound chip: a voice for each part ("lead", "harmony", "bass", "pad") and a drum for each percussion key."""

    name: str
    voices: Mapping[str, Voice]
    drums: Mapping[int, Drum]


@dataclass(frozen=True)
class PartMix:
    """How a part sits in the mix: linear gain, pan -1 (left)..1 (right), left/right detuning in cents, sends 0..1."""

    gain: float
    pan: float = 0.0
    spread_cents: float = 0.0
    echo: float = 0.0
    reverb: float = 0.0


@dataclass(frozen=True)
class Space:
    """Echo (delay in beats, feedback 0..1, taps that swap sides) and reverb (decay to -60 dB in s, high cut in Hz)."""

    echo_beats: float = 0.75
    echo_feedback: float = 0.45
    reverb_seconds: float = 0.0
    reverb_high: float = 5000.0


# Rows of a drum pattern by percussion key.
DrumPattern = Mapping[int, str]


@dataclass(frozen=True)
class Harmony:
    """The harmonic language of a game in one mode; chords are numerals as in `theory.build_chord`, one a bar.

    themes: openings of the A phrases, which a cadence completes to four bars; contrasts: four bars each, for the
    B phrases; half and full: cadences of two or three chords that leave a phrase open or close it; vamps: four bars
    each, for intro and break; builds: four bars over a pedal, the root of the last one; endings: the last two bars.
    """

    themes: tuple[str, ...]
    contrasts: tuple[str, ...]
    half: tuple[str, ...]
    full: tuple[str, ...]
    vamps: tuple[str, ...]
    builds: tuple[str, ...]
    endings: tuple[str, ...]


@dataclass(frozen=True)
class Grooves:
    """Drum patterns of one bar: for the theme, its contrast, reduced parts, the final theme, and bars of fill.

    roll: the percussion key that rolls in a build-up; crash: the key that marks the first beat of a section.
    """

    main: tuple[DrumPattern, ...]
    contrast: tuple[DrumPattern, ...]
    light: tuple[DrumPattern, ...]
    full: tuple[DrumPattern, ...]
    fills: tuple[DrumPattern, ...]
    roll: int
    crash: int


@dataclass(frozen=True)
class Lines:
    """Rhythms and figures of one bar: the first of each pair of tuples for the themes, the second for contrast."""

    lead: tuple[str, ...]
    lead_contrast: tuple[str, ...]
    harmony: tuple[str, ...]
    harmony_contrast: tuple[str, ...]
    bass: tuple[str, ...]
    bass_contrast: tuple[str, ...]


@dataclass(frozen=True)
class Game:
    """A game: everything the composer and the renderer need to know.

    `place` orders the games of the corpus, from 1: `synth --games N` takes the first N, so that a new game gets the
    next free number.
    Patterns are strings with one character for each step of a bar (`steps_per_beat` to the beat: 4 for sixteenths,
    3 for triplets and compound metres): a letter or digit starts a note, '-' holds it, '.' is silence. Lead rhythms
    use 'x'; harmony uses 'x' (whole chord) or digits (chord voice, arpeggio); bass uses 'r' root, '3', '5', 'o'
    octave, 'w' walking on towards the approach, 'b' and 'a' the two scale steps that lead to the next root; drums
    use 'X' loud, 'x' plain, 'o' soft. Ranges are MIDI pitches (low, high), tempo in beats per minute, `metre` the
    time signature as written. `counter_voice` is the chip's voice that plays the counter-melody. `tone` is the
    voicing of the console's output: (hertz, decibels) points of an equaliser over the whole mix, ascending, held
    level beyond the first and last.
    """

    name: str
    place: int
    chip: Chip
    tempo: tuple[float, float]
    metre: tuple[int, int]
    beats_per_bar: int
    steps_per_beat: int
    harmony: Mapping[str, Harmony]
    lead_range: tuple[int, int]
    harmony_range: tuple[int, int]
    bass_low: int
    lines: Lines
    grooves: Grooves
    mix: Mapping[str, PartMix]
    title_nouns: tuple[str, ...]
    tone: tuple[tuple[float, float], ...]
    space: Space = field(default_factory=Space)
    pad_range: tuple[int, int] | None = None
    counter_voice: str = "lead"
    melody_degrees: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    staccato: float = 0.9

    @property
    def steps_per_bar(self) -> int:
        """Characters of a pattern."""
        return self.beats_per_bar * self.steps_per_beat

    @property
    def counter_range(self) -> tuple[int, int]:
        """Pitches of the counter-melody: the lower half of the lead's and a fifth below it."""
        return self.lead_range[0] - 7, (self.lead_range[0] + self.lead_range[1]) // 2
