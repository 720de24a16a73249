"""A score as a Standard MIDI File of format 1: a conductor's track, then one track a part.

After the MIDI Manufacturers Association's "Standard MIDI Files 1.0" (1988): chunks of big-endian fields, in which
events carry the ticks since the one before them as a number of seven bits a byte.
"""

from __future__ import annotations

import struct

from dataset_processing.synth.composition import Note, Score
from dataset_processing.synth.theory import SCALES, SEMITONES

TICKS_PER_QUARTER = 480
# Channel and General MIDI program of each part; channel 9 is that of percussion.
CHANNELS = {"lead": 0, "counter": 1, "harmony": 2, "pad": 3, "bass": 4, "drums": 9}
PROGRAMS = {"lead": 80, "counter": 71, "harmony": 6, "pad": 48, "bass": 33}
MINOR_THIRD = 3
# Events of one tick are written in this order: what has no sound, then ends of notes, then their starts.
META, NOTE_OFF, NOTE_ON = 0, 1, 2
Event = tuple[int, int, bytes]


def key_signature(tonic: int, mode: str) -> tuple[int, bool]:
    """Sharps (negative: flats), -5..6, and whether it is minor; a mode takes the key of its tonic and third."""
    minor = SCALES[mode][2] == MINOR_THIRD
    major = (tonic + MINOR_THIRD) % SEMITONES if minor else tonic
    fifths = 7 * major % SEMITONES
    return (fifths if fifths <= 6 else fifths - SEMITONES), minor


def quarters_per_beat(score: Score) -> float:
    """Quarter notes in a beat: 1, or 1.5 in a compound metre."""
    numerator, denominator = score.metre
    return 4 * numerator / denominator / score.beats_per_bar


def encode_midi(score: Score, title: str, notice: str) -> bytes:
    """The bytes of the file.

    Quarters have `TICKS_PER_QUARTER` ticks; velocities 0..1 become 1..127. title and notice (of the licence) go into
    the first track, beside tempo, metre, key and a marker for each section.
    """
    parts = [part for part in CHANNELS if any(note.part == part for note in score.notes)]
    ticks = round(TICKS_PER_QUARTER * quarters_per_beat(score))
    tracks = [_conductor(score, title, notice, ticks)]
    tracks += [_part(part, [note for note in score.notes if note.part == part], ticks) for part in parts]
    end = round(score.beats * ticks)
    head = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), TICKS_PER_QUARTER)
    return head + b"".join(_chunk(events, end) for events in tracks)


def _meta(kind: int, payload: bytes) -> bytes:
    return bytes((0xFF, kind)) + _number(len(payload)) + payload


def _number(value: int) -> bytes:
    """A whole number >= 0 in seven bits a byte, all but the last with the high bit set."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(0x80 | value & 0x7F)
    return bytes(reversed(digits))


def _chunk(events: list[Event], end: int) -> bytes:
    data, now = bytearray(), 0
    for tick, _, message in [*sorted(events), (max([end, *(tick for tick, _, _ in events)]), META, _meta(0x2F, b""))]:
        data += _number(tick - now) + message
        now = tick
    return b"MTrk" + struct.pack(">I", len(data)) + bytes(data)


def _conductor(score: Score, title: str, notice: str, ticks: int) -> list[Event]:
    sharps, minor = key_signature(score.tonic, score.mode)
    numerator, denominator = score.metre
    quarters = quarters_per_beat(score)
    # The metronome ticks on the beat: 24 MIDI clocks to a quarter, 36 to the dotted one of a compound metre.
    metre = bytes((numerator, denominator.bit_length() - 1, round(24 * quarters), 8))
    events = [
        (0, META, _meta(0x03, title.encode())),
        (0, META, _meta(0x02, notice.encode())),
        (0, META, _meta(0x51, round(60e6 / (score.tempo * quarters)).to_bytes(3, "big"))),
        (0, META, _meta(0x58, metre)),
        (0, META, _meta(0x59, struct.pack(">bB", sharps, minor))),
    ]
    for section in score.sections:
        start = section.first_bar * score.beats_per_bar * ticks
        events.append((start, META, _meta(0x06, section.letter.encode())))
    return events


def _part(part: str, notes: list[Note], ticks: int) -> list[Event]:
    channel = CHANNELS[part]
    events = [(0, META, _meta(0x03, part.encode()))]
    if part in PROGRAMS:
        events.append((0, META, bytes((0xC0 | channel, PROGRAMS[part]))))
    for note in notes:
        start = round(note.start * ticks)
        end = max(start + 1, round((note.start + note.duration) * ticks))
        velocity = min(127, max(1, round(127 * note.velocity)))
        events.append((start, NOTE_ON, bytes((0x90 | channel, note.pitch, velocity))))
        events.append((end, NOTE_OFF, bytes((0x80 | channel, note.pitch, 0))))
    return events
