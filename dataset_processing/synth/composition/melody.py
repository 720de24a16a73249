"""The lead: motifs set on the chords of their bars, and cadences that lead to and rest on a tone of arrival."""

from __future__ import annotations

from dataclasses import dataclass

from dataset_processing.synth.composition.motifs import OPERATIONS, Motif
from dataset_processing.synth.composition.plan import Plan
from dataset_processing.synth.composition.score import MotifUse, Note, Section
from dataset_processing.synth.theory import SEMITONES, Chord, nearest, pitches_in

# A sequence sets its motif this many semitones (about a third) higher or lower than it was.
SEQUENCE_SEMITONES = 4.0
OFF_BEAT_ACCENT = 0.86


@dataclass
class _Line:
    """Where the lead is: the last pitch, and the pitch on which the last motif began."""

    previous: float
    anchor: float


def ladder(plan: Plan, chord: Chord, span: tuple[int, int]) -> list[int]:
    """Pitches of the span that a melody may use over a chord: the game's degrees and the tones of the chord."""
    melodic = tuple(chord.scale[degree] for degree in plan.game.melody_degrees)
    return pitches_in(tuple({*melodic, *chord.tones}), plan.tonic, *span)


def set_motif(motif: Motif, scale: list[int], chordal: list[int], around: float) -> list[tuple[int, int, int]]:
    """Notes (first step, length, MIDI pitch) of a motif.

    scale, chordal: pitches allowed at all, and on the beat or for long notes; around: where the line starts.
    """
    anchor = scale.index(nearest(chordal, around))
    notes: list[tuple[int, int, int]] = []
    previous_offset = 0
    for start, length, offset in motif.events:
        place = anchor + offset
        if not 0 <= place < len(scale):
            place = anchor - offset
        pitch = scale[min(max(place, 0), len(scale) - 1)]
        if start % motif.beat == 0 or length >= motif.beat:
            pitch = nearest(chordal, pitch)
            if notes and pitch == notes[-1][2] and offset != previous_offset:
                pitch = _next_tone(chordal, pitch, upward=offset > previous_offset)
        previous_offset = offset
        notes.append((start, length, pitch))
    return notes


def _next_tone(chordal: list[int], pitch: int, *, upward: bool) -> int:
    """The neighbour of a chord tone in a direction, or in the other one at the end of the range."""
    place = chordal.index(pitch) + (1 if upward else -1)
    if not 0 <= place < len(chordal):
        place = chordal.index(pitch) + (-1 if upward else 1)
    return chordal[place]


def _cadence(plan: Plan, chord: Chord, use: MotifUse, line: _Line, closing: bool) -> list[tuple[int, int, int]]:
    """A held tone of arrival: the tonic at a full close, another tone of the chord at a half one."""
    game, span = plan.game, plan.game.lead_range
    if use.motif == "close" or use.operation == "full":
        goals = pitches_in((0,), plan.tonic, *span)
    else:
        goals = pitches_in(tuple(tone for tone in chord.tones if tone) or chord.tones, plan.tonic, *span)
    goal = nearest(goals, line.previous)
    bar, beat = game.steps_per_bar, game.steps_per_beat
    if closing:
        return [(0, bar, goal)]
    # The last beat of an inner cadence is left for the answer of another part.
    return [(0, bar - beat, goal)]


def _lead_to_tonic(notes: list[tuple[int, int, int]], plan: Plan, chord: Chord) -> list[tuple[int, int, int]]:
    """The bar before a full close ends on a neighbour of the tonic, where one lies in the scale of its chord."""
    start, length, pitch = notes[-1]
    target = nearest(pitches_in((0,), plan.tonic, *plan.game.lead_range), pitch)
    scale = [p for p in ladder(plan, chord, plan.game.lead_range) if 0 < abs(p - target) <= 3]
    inside = [p for p in scale if (p - plan.tonic) % SEMITONES in chord.tones]
    near = inside or scale
    if not near or (not inside and (start % plan.game.steps_per_beat == 0 or length >= plan.game.steps_per_beat)):
        return notes
    return [*notes[:-1], (start, length, nearest(near, target))]


def _start_near(plan: Plan, section: Section, index: int, use: MotifUse, line: _Line) -> float:
    """Pitch near which the motif of a bar begins."""
    low, high = plan.game.lead_range
    centre = (low + high) / 2.0 + section.arrangement.register
    if section.letter == "build":
        # The line climbs through its range up to the return of the theme.
        return low + (high - low) * (0.25 + 0.5 * index / max(1, section.bars - 1))
    if use.operation == "sequence":
        return line.anchor + (SEQUENCE_SEMITONES if line.anchor < centre else -SEQUENCE_SEMITONES)
    # The line is drawn half way back to its centre each bar, so it neither sticks nor drifts away.
    return centre if index == 0 else (line.previous + centre) / 2.0


def _bar_notes(plan: Plan, section: Section, index: int, line: _Line, closing: bool) -> list[tuple[int, int, int]]:
    chord, use = section.chords[index], section.motifs[index]
    if not use.motif:
        return []
    if use.motif in ("cadence", "close"):
        return _cadence(plan, chord, use, line, closing)
    motif = plan.motifs[use.motif]
    if use.operation in OPERATIONS:
        motif = OPERATIONS[use.operation](motif)
    scale = ladder(plan, chord, plan.game.lead_range)
    chordal = pitches_in(chord.tones, plan.tonic, *plan.game.lead_range)
    notes = set_motif(motif, scale, chordal, _start_near(plan, section, index, use, line))
    line.anchor = notes[0][2]
    following = section.motifs[index + 1] if index + 1 < section.bars else MotifUse("")
    if following.operation == "full" or following.motif == "close":
        notes = _lead_to_tonic(notes, plan, chord)
    return notes


def write_lead(plan: Plan, sections: tuple[Section, ...]) -> list[Note]:
    """Notes of the lead, in order."""
    game = plan.game
    centre = sum(game.lead_range) / 2.0
    line = _Line(centre, centre)
    notes: list[Note] = []
    for section in sections:
        if "lead" in section.arrangement.silent:
            continue
        for index in range(section.bars):
            closing = section is sections[-1] and index == section.bars - 1
            begin = (section.first_bar + index) * game.beats_per_bar
            for step, length, pitch in _bar_notes(plan, section, index, line, closing):
                accent = 1.0 if step % game.steps_per_beat == 0 else OFF_BEAT_ACCENT
                duration = length / game.steps_per_beat * (1.0 if closing else game.staccato)
                velocity = section.level(index) * accent
                notes.append(Note(begin + step / game.steps_per_beat, duration, pitch, velocity, "lead"))
                line.previous = pitch
    return notes
