"""The bass: roots and fifths, walking lines, and a scale step that leads into each new root."""

from __future__ import annotations

from dataset_processing.synth.composition.motifs import parse
from dataset_processing.synth.composition.plan import Plan
from dataset_processing.synth.composition.score import Note, Section
from dataset_processing.synth.theory import SEMITONES, Chord, pitches_in

BASS_LEVEL = 0.95
# One beat of a pedal, slow and fast, by steps in a beat.
PEDAL_PULSES = {3: ("r-.", "r-r"), 4: ("r--.", "r-r-")}


def _root(plan: Plan, root: int) -> int:
    low = plan.game.bass_low
    return pitches_in((root,), plan.tonic, low, low + SEMITONES - 1)[0]


def _approach(scale: list[int], root: int, following: int) -> tuple[int, int]:
    """The two scale steps ("b", then "a") that lead to the coming root, from the side of the present one."""
    below, above = [p for p in scale if p < following], [p for p in scale if p > following]
    if root <= following and len(below) > 1:
        return below[-2], below[-1]
    if len(above) > 1:
        return above[1], above[0]
    return below[-2], below[-1]


def _walk(scale: list[int], chordal: list[int], root: int, goal: int, count: int) -> list[int]:
    """`count` pitches between root and goal: by step where the way is that long, else by tones of the chord."""
    low, high = sorted((root, goal))
    between = [pitch for pitch in scale if low < pitch < high]
    if len(between) >= count:
        chosen = [between[round((index + 1) * (len(between) + 1) / (count + 1)) - 1] for index in range(count)]
        return chosen if goal > root else chosen[::-1]
    upward = [pitch for pitch in chordal if pitch > root and pitch != goal]
    return [upward[index % len(upward)] for index in range(count)]


def _pitches(plan: Plan, chord: Chord, following: int, pattern: str) -> dict[str, list[int]]:
    """Pitches of each symbol of a pattern, in order of use."""
    low = plan.game.bass_low
    root = _root(plan, chord.root)
    # The leading steps are those of the chord's scale, and never the coming root itself.
    scale = [p for p in pitches_in(chord.scale, plan.tonic, low - 2, low + 16) if p != following]
    before, approach = _approach(scale, root, following)
    chordal = pitches_in(chord.tones, plan.tonic, low, low + 16)
    third = root + (chord.tones[1] - chord.root) % SEMITONES
    fifth = root + (chord.tones[2] - chord.root) % SEMITONES
    walk = _walk(scale, chordal, root, before if "b" in pattern else approach, pattern.count("w"))
    single = {"r": root, "3": third, "5": fifth, "o": root + SEMITONES, "a": approach, "b": before}
    return {**{symbol: [pitch] for symbol, pitch in single.items()}, "w": walk or [fifth]}


def _bar_pattern(plan: Plan, section: Section, index: int, moves: bool) -> str:
    """The pattern of a bar; before a new phrase its last beat walks up or down to the next root."""
    if section.arrangement.pedal:
        # A pulse on every beat, then twice a beat as the tension grows.
        slow, fast = PEDAL_PULSES[plan.game.steps_per_beat]
        return (slow if index < section.bars // 2 else fast) * plan.game.beats_per_bar
    pattern = plan.bass[section.arrangement.figures]
    if index == section.bars - 1 and moves:
        beat = plan.game.steps_per_beat
        return pattern[:-beat] + ("b-a-" if beat == 4 else "b-a")
    return pattern


def write_bass(plan: Plan, sections: tuple[Section, ...]) -> list[Note]:
    """Notes of the bass."""
    game, notes = plan.game, []
    bars = [(section, index, chord) for section in sections for index, chord in enumerate(section.chords)]
    for place, (section, index, chord) in enumerate(bars):
        begin, level = (section.first_bar + index) * game.beats_per_bar, BASS_LEVEL * section.level(index)
        if "bass" in section.arrangement.silent:
            continue
        if place == len(bars) - 1:
            notes.append(Note(begin, game.beats_per_bar, _root(plan, chord.root), level, "bass"))
            break
        following = _root(plan, bars[place + 1][2].root)
        pedal = section.arrangement.pedal
        root = _root(plan, section.chords[-1].root if pedal else chord.root)
        pattern = _bar_pattern(plan, section, index, following != _root(plan, chord.root))
        pitches = _pitches(plan, chord, following, pattern)
        if pedal:
            pitches["r"] = [root]
        used = dict.fromkeys(pitches, 0)
        for step, length, symbol in parse(pattern):
            row = pitches[symbol]
            pitch = row[used[symbol] % len(row)]
            used[symbol] += 1
            accent = 1.0 if step % game.steps_per_beat == 0 else 0.9
            duration = length / game.steps_per_beat * game.staccato
            notes.append(Note(begin + step / game.steps_per_beat, duration, pitch, level * accent, "bass"))
    return notes
