"""The counter-melody: it answers in the lead's rests, follows it in thirds, or moves against it."""

from __future__ import annotations

from dataset_processing.synth.composition.melody import OFF_BEAT_ACCENT, ladder, set_motif
from dataset_processing.synth.composition.plan import Plan
from dataset_processing.synth.composition.score import Note, Section
from dataset_processing.synth.theory import SEMITONES, Chord, nearest, pitches_in

# The counter-melody stays this much softer than the lead.
COUNTER_LEVEL = 0.9
# Intervals under the lead (semitones) at which a second voice follows, in order of preference: thirds, then sixths.
PARALLEL = (3, 4, 8, 9)
CONSONANT = (3, 4, 5, 7, 8, 9)
Event = tuple[float, float, int]


def _thirds(plan: Plan, chord: Chord, lead: list[Note]) -> list[Event]:
    """A third or sixth under each note of the lead, within the scale of the chord."""
    allowed = ladder(plan, chord, plan.game.counter_range)
    events: list[Event] = []
    for note in lead:
        below = [note.pitch - interval for interval in PARALLEL]
        found = next((pitch for pitch in below if pitch in allowed), None)
        if found is not None:
            events.append((note.start, note.duration, found))
    return events


def _contrary(plan: Plan, chord: Chord, lead: list[Note], begin: float, previous: list[int]) -> list[Event]:
    """One tone of the chord every two beats that moves against the lead (down where it rises)."""
    game, events = plan.game, []
    tones = pitches_in(chord.tones, plan.tonic, *game.counter_range)
    length = 2 if game.beats_per_bar % 2 == 0 else game.beats_per_bar
    for offset in range(0, game.beats_per_bar, length):
        start = begin + offset
        inside = [note.pitch for note in lead if start <= note.start < start + length]
        last = previous[-1] if previous else sum(game.counter_range) // 2
        rising = len(inside) > 1 and inside[-1] > inside[0]
        options = [p for p in tones if (p < last if rising else p > last)] or tones
        clear = [p for p in options if not inside or (inside[0] - p) % SEMITONES in CONSONANT] or options
        pitch = nearest(clear, last)
        previous.append(pitch)
        events.append((float(start), length * game.staccato, pitch))
    return events


def _answer(plan: Plan, chord: Chord, lead: list[Note], begin: float) -> list[Event]:
    """The head of motif a, in the first rest or held tone of the lead that is a beat long or more."""
    game = plan.game
    for beat in range(game.beats_per_bar - 1, 0, -1):
        start = begin + beat
        if any(start - 1e-9 <= note.start < start + 1 for note in lead):
            continue
        scale = ladder(plan, chord, game.counter_range)
        chordal = pitches_in(chord.tones, plan.tonic, *game.counter_range)
        head = set_motif(plan.motifs["a"], scale, chordal, sum(game.counter_range) / 2.0)
        step = game.steps_per_beat // 2 if game.steps_per_beat % 2 == 0 else game.steps_per_beat - 1
        lengths = ((0, step), (step, game.steps_per_beat - step))
        return [
            (start + at / game.steps_per_beat, long / game.steps_per_beat * game.staccato, pitch)
            for (at, long), (_, _, pitch) in zip(lengths, head, strict=False)
        ]
    return []


def _solo(plan: Plan, chord: Chord, begin: float, index: int) -> list[Event]:
    """A motif in the counter's own register, for a break: a and b in turn."""
    game = plan.game
    motif = plan.motifs["b" if index % 2 else "a"]
    scale = ladder(plan, chord, game.counter_range)
    chordal = pitches_in(chord.tones, plan.tonic, *game.counter_range)
    return [
        (begin + step / game.steps_per_beat, length / game.steps_per_beat * game.staccato, pitch)
        for step, length, pitch in set_motif(motif, scale, chordal, sum(game.counter_range) / 2.0)
    ]


def write_counter(plan: Plan, sections: tuple[Section, ...], lead: list[Note]) -> list[Note]:
    """Notes of the counter-melody to a lead that is already written."""
    game, notes = plan.game, []
    previous: list[int] = []
    for section in sections:
        kind = section.arrangement.counter
        for index, chord in enumerate(section.chords) if kind else ():
            begin = (section.first_bar + index) * game.beats_per_bar
            heard = [note for note in lead if begin <= note.start < begin + game.beats_per_bar]
            if kind == "thirds":
                events = _thirds(plan, chord, heard)
            elif kind == "contrary":
                events = _contrary(plan, chord, heard, begin, previous)
            elif kind == "answer":
                events = _answer(plan, chord, heard, begin)
            else:
                # A break without a lead is the counter's solo; with one, it answers.
                alone = "lead" in section.arrangement.silent
                events = _solo(plan, chord, begin, index) if alone else _answer(plan, chord, heard, begin)
            for start, duration, pitch in events:
                accent = 1.0 if float(start).is_integer() else OFF_BEAT_ACCENT
                velocity = COUNTER_LEVEL * section.level(index) * accent
                notes.append(Note(start, duration, pitch, velocity, "counter"))
    return notes
