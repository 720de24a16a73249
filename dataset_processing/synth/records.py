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


@dataclass(frozen=True)
class Game:
    """A game: everything the composer and the renderer need to know.

    Patterns are strings with one character for each sixteenth of a bar: a letter or digit starts a note, '-' holds
    it, '.' is silence. Lead rhythms use 'x'; harmony uses 'x' (whole chord) or digits (chord voice, arpeggio); bass
    uses 'r' root, '3', '5', 'o' octave, 'a' approach to the next root; drums use 'X' loud, 'x' plain, 'o' soft.
    Ranges are MIDI pitches (low, high), tempo in beats per minute. `tone` is the voicing of the console's output:
    (hertz, decibels) points of an equaliser over the whole mix, ascending, held level beyond the first and last.
    """

    name: str
    chip: Chip
    tempo: tuple[float, float]
    beats_per_bar: int
    modes: tuple[str, ...]
    lead_range: tuple[int, int]
    harmony_range: tuple[int, int]
    bass_low: int
    lead_rhythms: tuple[str, ...]
    cadence_rhythm: str
    harmony_patterns: tuple[str, ...]
    bass_patterns: tuple[str, ...]
    drum_patterns: tuple[Mapping[int, str], ...]
    fill: Mapping[int, str]
    mix: Mapping[str, PartMix]
    title_nouns: tuple[str, ...]
    tone: tuple[tuple[float, float], ...]
    space: Space = field(default_factory=Space)
    pad_range: tuple[int, int] | None = None
    melody_degrees: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    staccato: float = 0.9
