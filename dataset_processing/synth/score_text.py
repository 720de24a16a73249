"""A score as text for a reader: key, form, the chords of each bar, cadences, and what becomes of the motifs."""

from __future__ import annotations

from dataset_processing.synth.composition import Motif, Score, Section
from dataset_processing.synth.midi import key_signature
from dataset_processing.synth.theory import SEMITONES, Chord

SHARP_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLAT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
CADENCES = {"half": "half cadence", "full": "full cadence", "open": "no cadence"}
SILENT_COUNTER = "rests"


def describe(score: Score, title: str) -> str:
    """The text, in lines of plain ASCII; bars are counted from 1."""
    sharps, _ = key_signature(score.tonic, score.mode)
    names = SHARP_NAMES if sharps >= 0 else FLAT_NAMES
    bars = round(score.beats / score.beats_per_bar)
    numerator, denominator = score.metre
    lines = [
        title,
        "",
        f"key     {names[score.tonic]} {score.mode}",
        f"metre   {numerator}/{denominator}, {score.beats_per_bar} beats a bar",
        f"tempo   {score.tempo:g} beats a minute",
        f"length  {bars} bars, {score.seconds:.1f} s",
        f"form    {' '.join(f'{section.letter}({section.bars})' for section in score.sections)}",
        "",
        *(f"motif {name}  {_rhythm(motif)}  {_contour(motif)}" for name, motif in score.motifs.items()),
    ]
    for section in score.sections:
        lines += ["", *_section(score, section, names)]
    return "\n".join(lines) + "\n"


def _rhythm(motif: Motif) -> str:
    """The rhythm of a motif as its pattern, with a stroke before each beat."""
    steps = ["."] * motif.bar
    for start, length, _ in motif.events:
        steps[start : start + length] = ["x", *["-"] * (length - 1)]
    return " ".join("".join(steps[start : start + motif.beat]) for start in range(0, motif.bar, motif.beat))


def _contour(motif: Motif) -> str:
    return "scale steps " + " ".join(f"{offset:+d}" if offset else "0" for _, _, offset in motif.events)


def _chord(chord: Chord, tonic: int, names: tuple[str, ...]) -> str:
    """The letter name of a chord: C, Cm, C7 or Cmaj7."""
    minor = (chord.tones[1] - chord.root) % SEMITONES == 3
    seventh = {10: "7", 11: "maj7"}[(chord.tones[3] - chord.root) % SEMITONES] if len(chord.tones) > 3 else ""
    return names[(tonic + chord.root) % SEMITONES] + ("m" if minor else "") + seventh


def _lead_of_bar(score: Score, bar: int, names: tuple[str, ...]) -> str:
    """Pitches of the lead in a bar, with octaves (C4 is middle C)."""
    begin, end = bar * score.beats_per_bar, (bar + 1) * score.beats_per_bar
    heard = [note.pitch for note in score.notes if note.part == "lead" and begin <= note.start < end]
    return " ".join(f"{names[pitch % SEMITONES]}{pitch // SEMITONES - 1}" for pitch in heard)


def _section(score: Score, section: Section, names: tuple[str, ...]) -> list[str]:
    arrangement = section.arrangement
    span = f"bars {section.first_bar + 1}-{section.first_bar + section.bars}"
    silent = sorted(arrangement.silent & {note.part for note in score.notes})
    resting = f"; resting: {', '.join(silent)}" if silent else ""
    lines = [
        f"{section.letter}, {span}: {CADENCES[section.cadence]}",
        f"  groove {arrangement.drums}, counter-melody {arrangement.counter or SILENT_COUNTER}, "
        f"loudness {arrangement.level:.2f} to {arrangement.end_level:.2f}{resting}",
    ]
    for index, (chord, use) in enumerate(zip(section.chords, section.motifs, strict=True)):
        bar = section.first_bar + index
        sounding = _lead_of_bar(score, bar, names)
        motif = str(use) if sounding else "rest"
        row = f"  {bar + 1:3d}  {chord.numeral:6s} {_chord(chord, score.tonic, names):6s} {motif:13s} {sounding}"
        lines.append(row.rstrip())
    return lines
