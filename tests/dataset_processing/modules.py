"""Small pieces of game music, written byte by byte: each holds a square wave of a known pitch.

The programs for sound chips are machine code of a few instructions that set the chip's registers once.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

PAUSE = 0
"""The pitch (Hz) of a song that is silent."""
_NTSC_CLOCK = 1789773


def mod(title: str = "tone", *, rows: int = 64, mark: bytes = b"M.K.") -> bytes:
    """A ProTracker module of one pattern: a loop of 32 samples at period 428 (8287 Hz), 259 Hz on the left.

    It breaks off after `rows` rows, each of 0.12 s.
    """
    sample = struct.pack(">22sHBBHH", b"square", 16, 0, 64, 0, 16)
    head = title.encode().ljust(20, b"\0") + sample + struct.pack(">22sHBBHH", b"", 0, 0, 0, 0, 1) * 30
    pattern = bytearray(1024)
    pattern[0:4] = bytes((0x01, 0xAC, 0x10, 0))
    if rows < 64:
        at = (rows - 1) * 16 + 4
        pattern[at : at + 4] = bytes((0, 0, 0x0D, 0))  # pattern break, and nothing follows
    return head + bytes((1, 127)) + bytes(128) + mark + bytes(pattern) + b"\x40" * 16 + b"\xc0" * 16


def midi(notes: Sequence[tuple[int, float]] = ((69, 1.0),), *, tempo: float = 120.0, title: str = "tone") -> bytes:
    """A MIDI file: notes (number, seconds) one after the other on a flute, which rings hardly on."""
    ticks = 480

    def number(value: int) -> bytes:
        digits = bytes((value & 0x7F,))
        while value := value >> 7:
            digits = bytes((value & 0x7F | 0x80,)) + digits
        return digits

    meta = b"\0\xff\x03" + number(len(title.encode())) + title.encode()
    meta += b"\0\xff\x51\x03" + round(6e7 / tempo).to_bytes(3, "big") + b"\0\xff\x2f\0"
    events = b"\0\xc0\x49"  # General MIDI's flute
    for note, seconds in notes:
        length = number(round(seconds * ticks * tempo / 60))
        events += b"\0\x90" + bytes((note, 100)) + length + bytes((note, 0))  # the second by running status
    tracks = (meta, events + b"\0\xff\x2f\0")
    head = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), ticks)
    return head + b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks)


def s3m(title: str = "two", orders: Sequence[int] = (0, 255, 0, 255)) -> bytes:
    """A Scream Tracker 3 module of one pattern; the orders that an end mark (255) parts are sub-songs."""
    instrument_at, pattern_at, data_at = 0x100, 0x180, 0x200
    head = title.encode().ljust(28, b"\0") + b"\x1a\x10\0\0"
    head += struct.pack("<HHHHHH4s", len(orders), 1, 1, 0, 0x1320, 2, b"SCRM")
    head += bytes((64, 6, 125, 0xB0, 0, 0)) + bytes(10) + bytes((0, 8)) + b"\xff" * 30
    head += bytes(orders) + struct.pack("<HH", instrument_at >> 4, pattern_at >> 4)
    instrument = b"\x01" + b"SQUARE".ljust(12, b"\0") + b"\0" + struct.pack("<H", data_at >> 4)
    instrument += struct.pack("<IIIBBBBI", 32, 0, 32, 64, 0, 0, 1, 8363) + bytes(12) + b"square".ljust(28, b"\0")
    instrument += b"SCRS"
    rows = b"\x20\x40\x01\0" + b"\0" * 63  # note C-4 of instrument 1 in channel 0
    pattern = struct.pack("<H", len(rows) + 2) + rows
    data = b"\xc0" * 16 + b"\x40" * 16
    file = bytearray(data_at + len(data))
    for at, part in ((0, head), (instrument_at, instrument), (pattern_at, pattern), (data_at, data)):
        file[at : at + len(part)] = part
    return bytes(file)


def vgm(*, seconds: float = 1.0, loop: float = 0.0, hertz: float = 440.4, tags: Sequence[str] = ()) -> bytes:
    """The first voice of an SN76489 for `seconds`, of which the last `loop` are stated to repeat; GD3 tags."""
    divider = round(3579545 / 32 / hertz)
    start = bytes((0x50, 0x80 | divider & 15, 0x50, divider >> 4, 0x50, 0x90, 0x50, 0xBF, 0x50, 0xDF, 0x50, 0xFF))
    before, inside = round((seconds - loop) * 44100), round(loop * 44100)
    commands = start + _waits(before) + _waits(inside) + b"\x66"
    gd3 = b""
    if tags:
        text = "".join(tag + "\0" for tag in tags).encode("utf-16-le")
        gd3 = b"Gd3 " + struct.pack("<II", 0x100, len(text)) + text
    head = bytearray(64)
    head[0:4], head[8:12] = b"Vgm ", struct.pack("<I", 0x150)
    head[4:8] = struct.pack("<I", 64 + len(commands) + len(gd3) - 4)
    head[12:16], head[24:28] = struct.pack("<I", 3579545), struct.pack("<I", before + inside)
    head[20:24] = struct.pack("<I", 64 + len(commands) - 20 if gd3 else 0)
    if loop:
        head[28:36] = struct.pack("<II", 64 + len(start) + len(_waits(before)) - 28, inside)
    head[40:44], head[52:56] = struct.pack("<HBB", 9, 16, 0), struct.pack("<I", 12)
    return bytes(head) + commands + gd3


def _waits(samples: int) -> bytes:
    return b"".join(b"\x61" + struct.pack("<H", min(0xFFFF, samples - start)) for start in range(0, samples, 0xFFFF))


def _program(hertz: Sequence[float], frames: Sequence[int]) -> tuple[bytes, int, int]:
    """6502 code at $8000 for the first pulse of an NES, (code, init, play): the pitch of a song, for so many frames."""
    periods = [max(round(_NTSC_CLOCK / 16 / pitch) - 1, 0) if pitch else 0 for pitch in hertz]
    count = len(hertz)

    def init(table: int) -> bytes:
        code = b"\xaa\xa9\x0f\x8d\x15\x40\xa9\xbf\x8d\x00\x40\xa9\x08\x8d\x01\x40"  # TAX; on, volume 15, no sweep
        code += b"\xbd" + struct.pack("<H", table + 2 * count) + b"\x85\x00"  # frames,X -> $00
        code += b"\xbd" + struct.pack("<H", table) + b"\x8d\x02\x40"
        return code + b"\xbd" + struct.pack("<H", table + count) + b"\x8d\x03\x40\x60"

    # LDA $00; BEQ out; DEC $00; BNE out; LDA #0; STA $4015; out: RTS
    play = b"\xa5\x00\xf0\x09\xc6\x00\xd0\x05\xa9\x00\x8d\x15\x40\x60"
    size = len(init(0))
    tables = bytes(p & 255 for p in periods) + bytes(p >> 8 for p in periods) + bytes(frames)
    return init(0x8000 + size + len(play)) + play + tables, 0x8000, 0x8000 + size


def nsf(hertz: Sequence[float] = (440,), frames: Sequence[int] = (), game: str = "Castle") -> bytes:
    """An NES program of several songs; `frames` (60 a second) says when each falls silent, 0: never."""
    code, init, play = _program(hertz, frames or [0] * len(hertz))
    head = b"NESM\x1a\x01" + bytes((len(hertz), 1)) + struct.pack("<HHH", 0x8000, init, play)
    for text in (game, "Composer", "1990 Maker"):
        head += text.encode().ljust(32, b"\0")
    return head + struct.pack("<H", 16639) + bytes(8) + struct.pack("<H", 19997) + bytes(6) + code


def nsfe(
    hertz: Sequence[float] = (440, 330), *, titles: Sequence[str] = (), seconds: Sequence[float] = (), fade: float = 0
) -> bytes:
    """The same with a title and a length for each song, and one fade (s) for all."""
    code, init, play = _program(hertz, [0] * len(hertz))
    info = struct.pack("<HHHBBBB", 0x8000, init, play, 0, 0, len(hertz), 0)
    chunks = [(b"INFO", info), (b"DATA", code), (b"auth", b"Castle\0Composer\x001990 Maker\0Ripper\0")]
    if titles:
        chunks.append((b"tlbl", b"".join(title.encode() + b"\0" for title in titles)))
    if seconds:
        chunks.append((b"time", b"".join(struct.pack("<i", round(1000 * length)) for length in seconds)))
        chunks.append((b"fade", struct.pack("<i", round(1000 * fade)) * len(seconds)))
    return b"NSFE" + b"".join(struct.pack("<I", len(data)) + name + data for name, data in [*chunks, (b"NEND", b"")])


def spc(*, seconds: int = 2, fade: int = 1000, title: str = "Hall", game: str = "Castle") -> bytes:
    """A Super NES program with ID666 tags (fade in ms): a loop of 16 samples at 8 kHz, 500 Hz on the left."""
    registers = (
        (0x6C, 0x20), (0x0C, 0x7F), (0x1C, 0x7F), (0x5D, 0x03), (0x00, 0x7F), (0x01, 0x00), (0x02, 0x00), (0x03, 0x04),
        (0x04, 0x00), (0x05, 0x00), (0x07, 0x7F), (0x2D, 0), (0x3D, 0), (0x4D, 0), (0x5C, 0), (0x4C, 0x01),
    )  # fmt: skip
    code = b"".join(b"\x8f" + bytes((register, 0xF2)) + b"\x8f" + bytes((value, 0xF3)) for register, value in registers)
    file = bytearray(0x10200)
    file[0:37] = b"SNES-SPC700 Sound File Data v0.30\x1a\x1a\x1a\x1e"
    file[0x25:0x27] = struct.pack("<H", 0x0200)
    file[0x2B] = 0xEF
    for at, text in ((0x2E, title), (0x4E, game), (0x7E, "From the hall"), (0x9E, "01/02/2003"), (0xB1, "Composer")):
        file[at : at + len(text)] = text.encode()
    file[0xA9 : 0xA9 + len(str(seconds))] = str(seconds).encode()
    file[0xAC : 0xAC + len(str(fade))] = str(fade).encode()
    memory = 0x100
    file[memory + 0x200 : memory + 0x200 + len(code) + 2] = code + b"\x2f\xfe"  # and then for ever on the spot
    file[memory + 0x300 : memory + 0x304] = struct.pack("<HH", 0x400, 0x400)  # the sample's start and loop
    file[memory + 0x400 : memory + 0x409] = b"\xc3" + b"\x77" * 4 + b"\x99" * 4
    return bytes(file)


def gbs(hertz: float = 440, songs: int = 1) -> bytes:
    """A Game Boy program: its first pulse, on the right."""
    divider = 2048 - round(131072 / hertz)
    writes = (
        (0x26, 0x80), (0x24, 0x77), (0x25, 0x01), (0x11, 0x80), (0x12, 0xF0), (0x13, divider & 255),
        (0x14, 0x80 | divider >> 8),
    )  # fmt: skip
    code = b"".join(b"\x3e" + bytes((value, 0xE0, register)) for register, value in writes) + b"\xc9"
    head = b"GBS\x01" + bytes((songs, 1)) + struct.pack("<HHHH", 0x400, 0x400, 0x400 + len(code) - 1, 0xDFFF) + bytes(2)
    return head + b"".join(text.ljust(32, b"\0") for text in (b"Castle", b"Composer", b"1990 Maker")) + code


def kss(hertz: float = 440) -> bytes:
    """An MSX program: the first voice of its AY-3-8910."""
    divider = round(3579545 / 32 / hertz)
    writes = ((7, 0x3E), (8, 15), (0, divider & 255), (1, divider >> 8))
    code = (
        b"".join(bytes((0x3E, register, 0xD3, 0xA0, 0x3E, value, 0xD3, 0xA1)) for register, value in writes) + b"\xc9"
    )
    return b"KSCC" + struct.pack("<HHHH", 0x4000, len(code), 0x4000, 0x4000 + len(code) - 1) + bytes(4) + code


def sap(hertz: float = 440) -> bytes:
    """An Atari program: the first voice of its POKEY."""
    divider = round(1773447 / 28 / 2 / hertz) - 1
    writes = ((0xD208, 0), (0xD201, 0xAF), (0xD200, divider))
    code = b"".join(b"\xa9" + bytes((value,)) + b"\x8d" + struct.pack("<H", at) for at, value in writes) + b"\x60"
    head = f'SAP\r\nAUTHOR "Composer"\r\nNAME "Hall"\r\nTYPE B\r\nINIT 2000\r\nPLAYER {0x2000 + len(code) - 1:X}\r\n'
    return head.encode() + b"\xff\xff" + struct.pack("<HH", 0x2000, 0x2000 + len(code) - 1) + code


def hes(hertz: float = 440) -> bytes:
    """A PC Engine program: the first voice of its HuC6280, with a square for a waveform, on the left."""
    period = round(3579545 / 32 / hertz)
    writes = [(0, 0), (1, 0xFF), (2, period & 255), (3, period >> 8), (4, 0x40), (4, 0)]
    writes += [(6, 31 if place < 16 else 0) for place in range(32)] + [(5, 0xF0), (4, 0x9F)]
    code = b"".join(bytes((0xA9, value, 0x8D, register, 0x08)) for register, value in writes) + b"\x80\xfe"
    head = b"HESM\0\0" + struct.pack("<H", 0x8000) + bytes((0xFF, 0xF8, 0, 0, 0, 0, 0, 0))
    return head + b"DATA" + struct.pack("<III", len(code), 0, 0) + code


def xm(title: str = "extended") -> bytes:
    """A FastTracker II module of one pattern: the loop of 32 samples at 8363 Hz."""
    orders = bytes(256)
    head = b"Extended Module: " + title.encode().ljust(20) + b"\x1a" + b"tests".ljust(20) + b"\x04\x01"
    head += struct.pack("<IHHHHHHHH", 276, 1, 0, 2, 1, 1, 1, 6, 125) + orders
    rows = bytes((0x83, 49, 1)) + b"\x80" * (2 * 64 - 1)  # note C-4 of instrument 1 in channel 1, then nothing
    pattern = struct.pack("<IBHH", 9, 0, 64, len(rows)) + rows
    instrument = struct.pack("<I22sBHI", 263, b"square", 0, 1, 40) + bytes(263 - 33)
    sample = struct.pack("<IIIBbBBbB22s", 32, 0, 32, 64, 0, 1, 128, 0, 0, b"square")
    data = [0x40] * 16 + [0xC0] * 16
    changes = bytes(value - before & 255 for before, value in zip([0, *data], data, strict=False))
    return head + pattern + instrument + sample + changes
