"""What a FLAC file says of its own length, and where its audio starts if what stands before it is damaged.

FLAC's layout is that of RFC 9639, sections 8 (metadata) and 9.1 (frame headers).
"""

from __future__ import annotations

import mmap
from typing import IO

from dualdiffusion.audio.decode.claim import AudioError, Claim

_STREAMINFO_END = 42
_LAST_BLOCK = 0x80
_MOST_KINDS = 6  # of metadata blocks: from STREAMINFO, 0, to PICTURE


def claim(file: IO[bytes], start: int) -> Claim:
    """What the header of a FLAC file says that begins at byte `start`.

    Raises:
        AudioError: there is no such header.
    """
    file.seek(start)
    head = file.read(_STREAMINFO_END)
    if len(head) < _STREAMINFO_END or head[4] & 0x7F != 0:
        raise AudioError("a FLAC file without a valid header: truncated or damaged")
    info = int.from_bytes(head[18:26], "big")
    frames, bits = info & (1 << 36) - 1, (info >> 36 & 0x1F) + 1
    md5 = head[26:42]
    notes = () if frames else ("its header does not state a length",)
    header, first = b"", start
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"fLaC\0\0\0\x22", start + _STREAMINFO_END) >= 0:
            notes += ("another FLAC file follows it and is left out",)
        elif not _is_frame(data, _after_metadata(data, start)):
            # Such as a picture of more than 16 MiB, whose block cannot state its size.
            first = _first_frame(data, start + _STREAMINFO_END)
            header = head[:4] + bytes([_LAST_BLOCK]) + head[5:]
            notes += ("its tags or pictures state a wrong size, and are left out",)
    if header and first < 0:
        header, first, notes = b"", start, notes[:-1]
    # libsndfile refuses the end of a file that does not state its length.
    md5 = md5 if any(md5) else None
    return Claim(frames or None, 0, notes, md5, bits, first, header=header, needs_ffmpeg=not frames)


def _after_metadata(data: mmap.mmap, start: int) -> int:
    """Where the first frame should be by what the metadata blocks state of their sizes; -1 if they state nonsense."""
    at, kind = start + 4, 0
    while not kind & _LAST_BLOCK:
        if at + 4 > len(data) or data[at] & 0x7F > _MOST_KINDS:
            return -1
        kind = data[at]
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    return at


def _first_frame(data: mmap.mmap, at: int) -> int:
    """The first frame from byte `at` on; -1 if there is none."""
    while (at := data.find(b"\xff", at)) >= 0:
        if _is_frame(data, at):
            return at
        at += 1
    return -1


def _is_frame(data: mmap.mmap, at: int) -> bool:
    """Whether the header of a file's first frame stands at byte `at`: number 0, and the right CRC-8."""
    head = data[at : at + 16] if at >= 0 else b""
    if len(head) < 8 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[4] != 0:
        return False
    block, rate = head[2] >> 4, head[2] & 15
    length = 5 + {6: 1, 7: 2}.get(block, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    return block != 0 and rate != 15 and len(head) > length and _crc8(head[:length]) == head[length]


def _crc8(data: bytes) -> int:
    """The CRC-8 of FLAC's frame headers: x^8 + x^2 + x + 1."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x107 if value & 0x80 else 0)) & 0x1FF
    return value & 0xFF
