"""What a composed track is: notes, form and how each section is arranged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dataset_processing.synth.composition.motifs import Motif
from dataset_processing.synth.theory import Chord

PARTS = ("lead", "counter", "harmony", "pad", "bass", "drums")


@dataclass(frozen=True)
class Note:
    """start and duration in beats, MIDI pitch (a percussion key in part "drums"), velocity 0..1, part name."""

    start: float
    duration: float
    pitch: int
    velocity: float
    part: str


@dataclass(frozen=True)
class MotifUse:
    """What the lead plays in a bar: a motif ("a", "b", "c", "cadence", "close", "" for a rest) and what is done to it.

    operation: "state", "sequence", "invert", "ornament", "augment", "diminish", "half" or "full" (of a cadence).
    """

    motif: str
    operation: str = "state"

    def __str__(self) -> str:
        if not self.motif:
            return "rest"
        return self.motif if self.operation == "state" else f"{self.motif} {self.operation}"


@dataclass(frozen=True)
class Arrangement:
    """How a section is played.

    level, end_level: loudness 0..1 of its first and last bar; drums: name of the groove; figures: "main" or
    "contrast" patterns of harmony and bass; counter: what the counter-melody does ("" when silent, "answer",
    "thirds", "contrary", "solo"); register: semitones by which the lead moves; silent: parts that rest.
    """

    level: float
    end_level: float
    drums: str = "main"
    figures: str = "main"
    counter: str = ""
    register: int = 0
    pedal: bool = False
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Section:
    """A phrase of the form: letter, first bar, chord and motif of each bar, cadence ("half", "full", "open")."""

    letter: str
    first_bar: int
    chords: tuple[Chord, ...]
    cadence: str
    motifs: tuple[MotifUse, ...]
    arrangement: Arrangement

    @property
    def bars(self) -> int:
        """Length in bars."""
        return len(self.chords)

    def level(self, index: int) -> float:
        """Loudness 0..1 of a bar of the section, counted from 0."""
        first, last = self.arrangement.level, self.arrangement.end_level
        return first + (last - first) * index / max(1, self.bars - 1)


@dataclass(frozen=True)
class Score:
    """Notes sorted by start, with tempo (beats per minute), length in beats, tonic (pitch class 0..11) and form.

    metre is the time signature as written; in a compound one (12/8) a beat is a dotted quarter. motifs: by the names
    under which `Section.motifs` use them.
    """

    notes: tuple[Note, ...]
    tempo: float
    beats: float
    tonic: int
    mode: str
    sections: tuple[Section, ...]
    metre: tuple[int, int] = (4, 4)
    beats_per_bar: int = 4
    motifs: Mapping[str, Motif] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length of the written music in seconds, without the ringing of the last chord."""
        return self.beats * 60.0 / self.tempo
