"""How long a standard MIDI file plays, and what it says of itself (MIDI 1.0, RP-001).

Only what a synthesizer does not tell beforehand is read: times, tempi, and two texts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from library import CannotPlayError, text_of

_TITLE, _COPYRIGHT, _TEMPO = 0x03, 0x02, 0x51
_DEFAULT_TEMPO = 500_000  # microseconds of a quarter note: 120 a minute
_NOTE_ON = 0x9


@dataclass
class _Found:
    """What the tracks say; times in ticks."""

    end: int = 0
    notes: int = 0
    tempi: list[tuple[int, int]] = field(default_factory=list)
    texts: dict[int, bytes] = field(default_factory=dict)


def told_of(data: bytes) -> dict[str, str | float | None]:
    """{"length": seconds, "title", "copyright"} of a file that begins with "MThd".

    Raises:
        CannotPlayError: it is damaged, or holds no notes.
    """
    found = _Found()
    try:
        size, _, _, division = struct.unpack_from(">IHHH", data, 4)
        at = 8 + size
        while at + 8 <= len(data):
            name, size = struct.unpack_from(">4sI", data, at)
            if name == b"MTrk":
                _read_track(data[at + 8 : at + 8 + size], found)
            at += 8 + size
    except (struct.error, IndexError):
        raise CannotPlayError("its events end in the middle of one") from None
    if division & 0x8000:
        raise CannotPlayError("its times are in film frames, which FluidSynth does not play")
    if not found.notes:
        raise CannotPlayError("it holds no notes")
    texts = {name: text_of(found.texts.get(kind)) for name, kind in (("title", _TITLE), ("copyright", _COPYRIGHT))}
    return {"length": round(_seconds(found, division), 3), **texts}


def _seconds(found: _Found, division: int) -> float:
    seconds, before, tempo = 0.0, 0, _DEFAULT_TEMPO
    for tick, changed in sorted(found.tempi):
        seconds += (tick - before) * tempo
        before, tempo = tick, changed
    return (seconds + (found.end - before) * tempo) / 1e6 / max(division, 1)


def _read_track(data: bytes, found: _Found) -> None:
    at = tick = status = 0
    while at < len(data):
        step, at = _number(data, at)
        tick += step
        if data[at] & 0x80:  # else the status before is meant again
            status, at = data[at], at + 1
        if status == 0xFF:
            kind = data[at]
            size, at = _number(data, at + 1)
            _take_meta(kind, data[at : at + size], tick, found)
        elif status in (0xF0, 0xF7):
            size, at = _number(data, at)
        else:
            size = 1 if status >> 4 in (0xC, 0xD) else 2
            found.notes += status >> 4 == _NOTE_ON and data[at + 1] > 0
        at += size
    found.end = max(found.end, tick)


def _take_meta(kind: int, payload: bytes, tick: int, found: _Found) -> None:
    if kind == _TEMPO and len(payload) == 3:
        found.tempi.append((tick, int.from_bytes(payload, "big")))
    elif kind in (_TITLE, _COPYRIGHT):
        found.texts.setdefault(kind, payload)  # the first track's name is the title of the piece


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and the place after it."""
    value = 0
    while True:
        value, at = value << 7 | data[at] & 0x7F, at + 1
        if data[at - 1] < 0x80:
            return value, at
