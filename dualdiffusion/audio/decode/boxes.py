"""The outermost parts of MP4, Matroska, Windows Media and WavPack files: whether all of them are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

from dualdiffusion.audio.decode.claim import AudioError, Claim, left_out
from dualdiffusion.audio.decode.section import Section

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF_MORE = (b"\x90\x08\x00\x33", b"\xd3\x29\xe2\xd6", b"\xfe\x10\x3a\xfb")  # its three kinds of index
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEADER = 64 << 20  # bytes of it that are looked at
_ASF_RATE = 10_000_000
_ASF_TOLERANCE = 9600  # samples: a fifth of a second or less
_TAGS = (b"TAG", b"APETAGEX", b"ID3", b"LYRICSBEGIN")
_WAVPACK_FIRST_BLOCK = 0x800
_UNKNOWN = 0xFFFFFFFF


def claim(path: Path, kind: str, start: int = 0) -> Claim:
    """Where the audio ends that begins at byte `start` of a file, and for WavPack its length; else only its start.

    Raises:
        AudioError: a part is cut short, or one that is needed is missing.
    """
    walk = _WALKS.get(kind)
    if walk is None:
        return Claim(start=start)
    size = path.stat().st_size
    with open(path, "rb") as file:
        found = walk(Section(file, start, size), size - start)
    return replace(found, start=start, end=None if found.end is None else found.end + start)


def _mp4(file: IO[bytes], size: int) -> Claim:
    seen: set[bytes] = set()
    at = 0
    while at < size:
        file.seek(at)
        header = file.read(16)
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length == 0 and name == b"mdat":
            length = size - at
        if length < 8 or not name.isascii() or b"\0" in name or (name == b"ftyp" and name in seen):
            break
        if at + length > size:
            if b"moov" in seen and name not in (b"mdat", b"moof", b"moov"):
                break
            raise AudioError(f"truncated: the file ends in the middle of its audio or index ({name.decode()!r} box)")
        seen.add(name)
        at += length
    if b"moov" not in seen:
        raise AudioError("truncated or damaged: an MP4 file without its index (the 'moov' box)")
    file.seek(at)
    if b"moof" in seen and header[4:8] != b"ftyp" and b"moof" in file.read():
        raise AudioError(f"damaged: no MP4 box where one must start (byte {at})")
    return Claim(end=at, notes=left_out(size - at))


def _matroska(file: IO[bytes], size: int) -> Claim:
    at = 0
    for expected in (_EBML, _SEGMENT):
        file.seek(at)
        header = file.read(12)
        if header[:4] != expected:
            raise AudioError("a Matroska file whose beginning is damaged")
        width = 9 - header[4].bit_length()
        length = int.from_bytes(header[4 : 4 + width], "big") & (1 << 7 * width) - 1
        if width > 8 or length == (1 << 7 * width) - 1:
            return Claim(notes=("its header does not state a length (a recording that was not closed)",))
        at += 4 + width + length
    if at > size:
        raise AudioError(f"truncated: its header states {at} bytes, the file has {size} ({size / at:.0%})")
    return Claim(end=at, notes=left_out(size - at))


def _windows_media(file: IO[bytes], size: int) -> Claim:
    at = count = 0
    length = _asf_length(file.read(min(size, _ASF_HEADER)))
    while at < size:
        file.seek(at)
        header = file.read(24)
        if count >= 2 and header[:4] not in _ASF_MORE:
            break
        part = int.from_bytes(header[16:], "little")
        if part < 24 or at + part > size:
            raise AudioError(f"truncated or damaged: its header states {at + part} bytes, the file has {size}")
        at += part
        count += 1
    rate = _ASF_RATE if length else 0
    return Claim(length, _ASF_TOLERANCE, left_out(size - at), end=at, sample_rate=rate)


def _asf_length(header: bytes) -> int | None:
    """The length that the file properties state (ASF specification, 3.2), in units of 1 / `_ASF_RATE` s.

    FFmpeg's own is too long where large pictures stand in the header.
    """
    at = header.find(_ASF_PROPERTIES) + 24
    body = header[at : at + 68]
    if at < 24 or len(body) < 68 or body[64] & 1:  # a broadcast, whose length was not known
        return None
    duration, preroll = int.from_bytes(body[40:48], "little"), int.from_bytes(body[56:64], "little")
    return max(duration - preroll * (_ASF_RATE // 1000), 0) or None


def _wavpack(file: IO[bytes], size: int) -> Claim:
    at = frames = 0
    stated = _UNKNOWN
    while at < size:
        file.seek(at)
        header = file.read(32)
        if header[:4] != b"wvpk":
            break
        end = at + 8 + int.from_bytes(header[4:8], "little")
        if len(header) < 32 or end > size:
            raise AudioError("truncated: the file ends in the middle of a WavPack block")
        if at == 0:
            stated = int.from_bytes(header[12:16], "little")
        elif stated != _UNKNOWN and frames >= stated and header[16:20] == bytes(4):
            break  # another file follows
        if int.from_bytes(header[24:28], "little") & _WAVPACK_FIRST_BLOCK:
            frames += int.from_bytes(header[20:24], "little")
        at = end
    if stated != _UNKNOWN and frames < stated:
        raise AudioError(f"truncated or damaged: its blocks hold {frames / stated:.0%} of the audio that it states")
    file.seek(at)
    tail = file.read()
    notes = () if tail.startswith(_TAGS) and b"wvpk" not in tail else left_out(size - at)
    return Claim(frames, end=at, notes=notes)


_WALKS: dict[str, Callable[[IO[bytes], int], Claim]] = {
    "MP4": _mp4,
    "Matroska": _matroska,
    "Windows Media": _windows_media,
    "WavPack": _wavpack,
}
