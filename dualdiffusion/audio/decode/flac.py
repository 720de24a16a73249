"""What a FLAC file says of its own length, and where its audio starts if what stands before it is damaged.

FLAC's layout is that of RFC 9639, sections 8 (metadata) and 9.1 (frame headers).
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from typing import IO

from dualdiffusion.audio.decode.claim import AudioError, Claim
from dualdiffusion.audio.decode.section import before_tags

_STREAMINFO_END = 42
_LAST_BLOCK = 0x80
_MOST_KINDS = 6  # of metadata blocks: from STREAMINFO, 0, to PICTURE
_TAIL = 1 << 20  # bytes at the end in which the last frame is looked for
_TRIES = 8
_CRC16 = []  # of one byte: x^16 + x^15 + x^2 + 1
for _value in range(256):
    _value <<= 8
    for _ in range(8):
        _value = (_value << 1 ^ (0x8005 if _value & 0x8000 else 0)) & 0xFFFF
    _CRC16.append(_value)


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
    end = before_tags(file, file.seek(0, os.SEEK_END))
    with _contents(file) as data:
        held = _held(data, end, int.from_bytes(head[10:12], "big"))
        if data.find(b"fLaC\0\0\0\x22", start + _STREAMINFO_END) >= 0:
            notes += ("another FLAC file follows it and is left out",)
        elif not _is_frame(data, _after_metadata(data, start)):
            # Such as a picture of more than 16 MiB, whose block cannot state its size.
            first = _first_frame(data, start + _STREAMINFO_END)
            header = head[:4] + bytes([_LAST_BLOCK]) + head[5:]
            notes += ("its tags or pictures state a wrong size, and are left out",)
        elif frames and held > frames:
            rate = info >> 44
            notes += (
                f"its header states {frames / rate:.2f} s, it holds {held / rate:.2f} s; all of it is used, though it "
                "cannot be compared with the checksum of all",
            )
            frames, md5 = held, bytes(16)
            header = head[:18] + (info >> 36 << 36 | held).to_bytes(8, "big") + md5
            first = start + _STREAMINFO_END
    if header and first < 0:
        header, first, notes = b"", start, notes[:-1]
    # libsndfile refuses the end of a file that does not state its length.
    md5 = md5 if any(md5) else None
    return Claim(frames or None, 0, notes, md5, bits, first, header=header, needs_ffmpeg=not frames)


@contextlib.contextmanager
def _contents(file: IO[bytes]) -> Iterator[mmap.mmap | bytes]:
    """A file's bytes, mapped; read where no file can be mapped, as on some shares."""
    try:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        file.seek(0)
        yield file.read()
        return
    with mapped:
        yield mapped


def _held(data: mmap.mmap | bytes, end: int, block_samples: int) -> int:
    """How many samples per channel come to the end of a file's last frame; 0 where that cannot be told.

    Args:
        end: of the frames, in bytes.
        block_samples: of all frames but the last, where frames are counted and not samples.
    """
    begin = end
    for _ in range(_TRIES):
        begin = data.rfind(b"\xff", max(end - _TAIL, 0), begin)
        while begin >= 0 and (frame := _frame(data, begin)) is None:
            begin = data.rfind(b"\xff", max(end - _TAIL, 0), begin)
        if begin < 0:
            return 0
        number, samples, by_sample = frame
        if _crc16(data[begin:end]) == 0:  # its last two bytes are those of the others
            return samples + (number if by_sample else number * block_samples)
    return 0


def _after_metadata(data: mmap.mmap | bytes, start: int) -> int:
    """Where the first frame should be by what the metadata blocks state of their sizes; -1 if they state nonsense."""
    at, kind = start + 4, 0
    while not kind & _LAST_BLOCK:
        if at + 4 > len(data) or data[at] & 0x7F > _MOST_KINDS:
            return -1
        kind = data[at]
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    return at


def _first_frame(data: mmap.mmap | bytes, at: int) -> int:
    """The first frame from byte `at` on; -1 if there is none."""
    while (at := data.find(b"\xff", at)) >= 0:
        if _is_frame(data, at):
            return at
        at += 1
    return -1


def _is_frame(data: mmap.mmap | bytes, at: int) -> bool:
    """Whether the header of a file's first frame stands at byte `at`."""
    frame = _frame(data, at)
    return frame is not None and frame[0] == 0


def _frame(data: mmap.mmap | bytes, at: int) -> tuple[int, int, bool] | None:
    """The frame header at byte `at`, if its CRC-8 is right: number, samples per channel, and whether it counts them."""
    head = data[at : at + 20] if at >= 0 else b""
    if len(head) < 8 or head[0] != 0xFF or head[1] & 0xFE != 0xF8:
        return None
    block, rate, first = head[2] >> 4, head[2] & 15, head[4]
    more = 0 if first < 0x80 else 7 - (first ^ 0xFF).bit_length()  # of the number's bytes, as in UTF-8
    size = 5 + more
    length = size + {6: 1, 7: 2}.get(block, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if block == 0 or rate == 15 or 0x80 <= first < 0xC0 or len(head) <= length or _crc8(head[:length]) != head[length]:
        return None
    number = first & 0x7F if not more else first & 0x3F >> more
    for byte in head[5:size]:
        number = number << 6 | byte & 0x3F
    if block in (6, 7):
        samples = int.from_bytes(head[size : size + block - 5], "big") + 1
    else:
        samples = 192 if block == 1 else 576 << block - 2 if block < 6 else 256 << block - 8
    return number, samples, bool(head[1] & 1)


def _crc16(data: bytes) -> int:
    """The CRC-16 of FLAC's frames; 0 over a whole frame."""
    value = 0
    for byte in data:
        value = value << 8 & 0xFF00 ^ _CRC16[value >> 8 ^ byte]
    return value


def _crc8(data: bytes) -> int:
    """The CRC-8 of FLAC's frame headers: x^8 + x^2 + x + 1."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x107 if value & 0x80 else 0)) & 0x1FF
    return value & 0xFF
