"""The length that WAV, Wave64, AIFF, CAF, AU and FLAC headers state, against the bytes that are there."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from dataset_processing.decode import speakers
from dataset_processing.decode.claim import AudioError, Claim, left_out
from dataset_processing.decode.mpeg import skip_id3

_UNKNOWN = 0xFFFFFFFF
_FILE_STARTS = (b"RIFF", b"riff", b"FORM", b"caff")
_STREAMED = 0x7FFF0000  # programs that write to a pipe state about this length
_NOT_CLOSED = "its header does not state a length (a recording that was not closed)"


def claim(path: Path, kind: str) -> Claim:
    """What the header of a WAV, Wave64, AIFF, CAF, AU or FLAC file says; nothing for other kinds.

    Raises:
        AudioError: the header promises more bytes than the file has, states the impossible, or there is no audio.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        if kind == "FLAC":
            return _flac(file)
        if kind == "AU":
            return _au(file, size)
        if kind in _LAYOUTS:
            return _chunks(file, size, _LAYOUTS[kind])
    return Claim()


@dataclass(frozen=True)
class _Layout:
    """How a format's chunks are written: where the first stands, the name of the one with audio, and their header."""

    first: int
    audio: bytes
    name_bytes: int = 4
    length_bytes: int = 4
    order: Literal["little", "big"] = "little"
    counts_header: bool = False
    align: int = 2


_LAYOUTS = {
    "WAV": _Layout(12, b"data"),
    "AIFF": _Layout(12, b"SSND", order="big"),
    "CAF": _Layout(8, b"data", length_bytes=8, order="big", align=1),
    "Wave64": _Layout(40, b"data", name_bytes=16, length_bytes=8, counts_header=True, align=8),
}


def _chunks(file: IO[bytes], size: int, layout: _Layout) -> Claim:
    """Walks all chunks of a file and checks that there is one with audio, and all of it."""
    at, wide, found = layout.first, 0, None
    # libsndfile reads a Wave64 file beyond the end of its audio.
    details: dict[str, Any] = {"needs_ffmpeg": layout.name_bytes == 16}
    while at + layout.name_bytes + layout.length_bytes <= size:
        file.seek(at)
        name = file.read(layout.name_bytes)[:4]
        length = int.from_bytes(file.read(layout.length_bytes), layout.order)
        body = file.tell()
        length -= body - at if layout.counts_header else 0
        if found and name in _FILE_STARTS:
            break
        if length < 0 or not all(32 <= byte < 127 for byte in name) or (found and body + length > size):
            break
        if name == b"ds64":
            wide = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"fmt ":
            details |= _wav_format(file.read(min(length, 40)))
        elif name == b"desc":
            details |= {"needs_ffmpeg": file.read(12)[8:] == b"alac"}
        elif name == layout.audio and found is not None:
            raise AudioError("holds its audio in several pieces (data chunks), which players read in different ways")
        elif name == layout.audio:
            if length == _UNKNOWN and wide:
                length = wide
            if _never_closed(length, size - body, layout):
                return Claim(notes=(_NOT_CLOSED,), **details | {"needs_ffmpeg": length == 0})
            _check_bytes(length, size - body)
            found = body
        at = body + -(-length // layout.align) * layout.align
    if found is None:
        raise AudioError("holds no audio data: truncated, or only a header")
    at = min(at, size)
    file.seek(at)
    tail = file.read(65536)
    plain = not tail.strip(b"\0") or tail.startswith((b"TAG", b"ID3"))
    return Claim(end=at, notes=() if plain else left_out(size - at), **details)


def _never_closed(length: int, available: int, layout: _Layout) -> bool:
    """Whether a length is what a recorder writes before it knows how long the recording will be."""
    if layout.length_bytes == 8:
        return length >= 1 << 62
    return length == _UNKNOWN or (length == 0 and available > 1024) or (available < _STREAMED <= length <= 1 << 31)


def _wav_format(body: bytes) -> dict[str, Any]:
    """Checks a WAV file's format chunk, and reads from it which channel is which."""
    if len(body) < 14:
        raise AudioError("a damaged WAV file: its header is incomplete")
    tag, channels, rate = struct.unpack_from("<HHI", body)
    if not channels:
        raise AudioError("a damaged WAV file: its header states no channels")
    if not 0 < rate < 1 << 24:
        raise AudioError(f"a damaged WAV file: its header states a sample rate of {rate} Hz")
    if tag != 0xFFFE or len(body) < 24:
        return {}
    return {"speakers": speakers.of_mask(int.from_bytes(body[20:24], "little"), channels)}


def _au(file: IO[bytes], size: int) -> Claim:
    header = file.read(12)
    start, length = int.from_bytes(header[4:8], "big"), int.from_bytes(header[8:12], "big")
    if length == _UNKNOWN:
        return Claim(notes=("its header does not state a length",))
    _check_bytes(length, size - start)
    return Claim(notes=left_out(size - start - length))


def _check_bytes(stated: int, available: int) -> None:
    if stated > available:
        share = available / stated if stated else 0
        raise AudioError(
            f"truncated: the header states {stated} bytes of audio, the file has {max(available, 0)} ({share:.0%})"
        )


def _flac(file: IO[bytes]) -> Claim:
    start = skip_id3(file.read(20))
    file.seek(start)
    head = file.read(42)
    if len(head) < 42 or head[4] & 0x7F != 0:
        raise AudioError("a FLAC file without a valid header: truncated or damaged")
    info = int.from_bytes(head[18:26], "big")
    frames, bits = info & (1 << 36) - 1, (info >> 36 & 0x1F) + 1
    md5 = head[26:42]
    notes = () if frames else ("its header does not state a length",)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"fLaC\0\0\0\x22", start + 42) >= 0:
            notes += ("another FLAC file follows it and is left out",)
    # libsndfile refuses the end of a file that does not state its length.
    return Claim(frames or None, 0, notes, md5 if any(md5) else None, bits, start, needs_ffmpeg=not frames)
