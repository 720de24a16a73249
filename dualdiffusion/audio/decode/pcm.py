"""The length that WAV, Wave64, AIFF, CAF, AU and FLAC headers state, against the bytes that are there."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dualdiffusion.audio.decode import flac, speakers
from dualdiffusion.audio.decode.claim import AudioError, Claim, left_out
from dualdiffusion.audio.decode.section import Section, after_zeros, before_tags

_UNKNOWN = 0xFFFFFFFF
_HARMLESS = 64  # bytes that are not missed: a thousandth of a second at most
_FILE_STARTS = (b"RIFF", b"riff", b"FORM", b"caff")
_TAG_STARTS = (b"TAG", b"ID3")
# Programs that write to a pipe cannot know the length. They state 0, or the largest number that 31 or 32 bits hold,
# less the size of their header or rounded down to whole blocks.
_STREAMED_31, _STREAMED_32 = range(0x7FFF0000, 0x80000001), range(0xFFFF0000, 1 << 32)
_NOT_CLOSED = "its header does not state a length (a recording that was not closed)"
_WRONG_LENGTH = "its header states a wrong length; all of its audio is used"
_NOT_PADDED = "a part of its header is not padded as it should be"
_TAIL = 1 << 20  # bytes at the end in which chunks are looked for that follow audio of unknown length
# Names of usual parts of WAV and AIFF files: one that stands where padding should be shows that there is none.
_USUAL = frozenset(
    b"fmt |data|LIST|fact|bext|JUNK|junk|PAD |id3 |ID3 |cue |smpl|inst|iXML|COMM|SSND|NAME|AUTH|ANNO|MARK|INST|FVER|"
    b"(c) |COMT|CHAN|APPL|ds64|PEAK|_PMX|LGWV|DISP|acid|strc|cart|aXML|chna|axml|FLLR|levl|bxml|plst|adtl|wavl|slnt"
    b"".split(b"|")
)


_AFTER_AUDIO = re.compile(b"|".join(re.escape(name) for name in sorted(_USUAL - {b"data", b"SSND", b"fmt "})))


def claim(path: Path, kind: str, start: int = 0) -> Claim:
    """What the header of a WAV, Wave64, AIFF, CAF, AU or FLAC file says that begins at byte `start` of a file.

    Raises:
        AudioError: the header promises more bytes than the file has, states the impossible, or there is no audio.
    """
    size = path.stat().st_size
    with open(path, "rb") as whole:
        if kind == "FLAC":
            return flac.claim(whole, start)
        file = Section(whole, start, size)
        found = _au(file, size - start) if kind == "AU" else _chunks(file, size - start, _LAYOUTS[kind])
    return replace(found, start=found.start + start, end=None if found.end is None else found.end + start)


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


@dataclass
class _Walk:
    """What stands in the chunks of a file: the one with audio, those that describe it, and what is odd.

    body, length: where the audio starts, or None, and the bytes that its chunk holds in truth. end: after the last
    chunk. to_end: the audio goes on to the end of the file. wide: the length that an RF64 file states. parts: bodies
    of chunks that say what the audio is.
    """

    end: int
    body: int | None = None
    length: int = 0
    wide: int = 0
    to_end: bool = False
    odd: list[str] = field(default_factory=list)
    parts: dict[bytes, bytes] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def _chunks(file: Section, size: int, layout: _Layout) -> Claim:
    """Walks all chunks of a file and checks that there is one with audio, and all of it."""
    magic = file.read(12)
    walk = _walk(file, size, layout, int.from_bytes(magic[4:8], layout.order) + 8)
    if walk.body is None:
        raise AudioError("holds no audio data: truncated, or only a header")
    # libsndfile reads a Wave64 file beyond the end of its audio.
    details = walk.details | {"needs_ffmpeg": layout.name_bytes == 16 or "needs_ffmpeg" in walk.details}
    notes: tuple[str, ...] = tuple(dict.fromkeys(walk.odd))
    if not walk.to_end:
        end = min(walk.end, size)
        file.seek(end)
        tail = file.read(65536)
        notes += () if not tail.strip(b"\0") or tail.startswith(_TAG_STARTS) else left_out(size - end)
        details["end"] = end
    rebuilt = _rebuilt(walk, magic, layout) if walk.odd else b""
    if rebuilt:
        # Decoders differ in what they make of odd headers: they get one that states what was found.
        details |= {"header": rebuilt, "start": walk.body, "end": walk.body + walk.length}
    return Claim(notes=notes, **details)


def _walk(file: Section, size: int, layout: _Layout, stated_size: int) -> _Walk:
    at, walk = layout.first, _Walk(layout.first)
    while at + layout.name_bytes + layout.length_bytes <= size and not walk.to_end:
        file.seek(at)
        name = file.read(layout.name_bytes)[:4]
        length = int.from_bytes(file.read(layout.length_bytes), layout.order)
        body = file.tell()
        length -= body - at if layout.counts_header else 0
        found = walk.body is not None
        if name == bytes(4) and not found:
            at = after_zeros(file, at)
            walk.odd.append(_NOT_PADDED)
            continue
        if found and name in _FILE_STARTS:
            break
        if length < 0 or not all(32 <= byte < 127 for byte in name) or (found and body + length > size):
            break
        if name == layout.audio:
            if found:
                raise AudioError("holds its audio in several pieces (chunks), which players read in different ways")
            length = _audio_length(walk, length, size - body, layout, stated_size, body)
            walk.body, walk.length = body, length
            walk.to_end = walk.to_end or body + length >= size
            if walk.to_end:
                walk.end = size
                walk.length = (
                    _before_chunks(file, body, before_tags(file, size), layout) if _NOT_CLOSED in walk.odd else length
                )
        else:
            file.seek(body)
            _describe(walk, name, file.read(min(length, 4096)))
        at = _next(file, body + length, layout, walk)
        walk.end = at
    return walk


def _before_chunks(file: Section, body: int, end: int, layout: _Layout) -> int:
    """The length of audio from `body` to `end` that does not state it: what comes before chunks at the end is audio."""
    begin = max(body, end - _TAIL)
    file.seek(begin)
    tail = file.read(end - begin)
    for found in _AFTER_AUDIO.finditer(tail):
        at = found.start()
        while tail[at : at + 4] in _USUAL and at < len(tail):
            at += 8 + int.from_bytes(tail[at + 4 : at + 8], layout.order)
            at += at % 2 if at < len(tail) else 0
        if at == len(tail):
            return begin + found.start() - body
    return end - body


def _describe(walk: _Walk, name: bytes, body: bytes) -> None:
    """Takes what a chunk says of the audio."""
    if name in (b"fmt ", b"COMM"):
        walk.parts[name] = body
    if name == b"ds64":
        walk.wide = int.from_bytes(body[8:16], "little")
    elif name == b"fmt ":
        walk.details |= _wav_format(body[:40])
    elif name == b"desc":
        walk.details |= {"needs_ffmpeg": True} if body[8:12] == b"alac" else {}


def _next(file: Section, end: int, layout: _Layout, walk: _Walk) -> int:
    """Where the chunk after one that ends at `end` starts: padded, unless another begins where padding should be."""
    padded = -(-end // layout.align) * layout.align
    if padded == end or layout.align != 2:
        return padded
    file.seek(end)
    following = file.read(5)
    if following[:4] in _USUAL and following[1:] not in _USUAL:
        walk.odd.append(_NOT_PADDED)
        return end
    return padded


def _audio_length(walk: _Walk, length: int, available: int, layout: _Layout, stated_size: int, body: int) -> int:
    """The bytes of audio that are there; AudioError where the file is cut off."""
    if length == _UNKNOWN and walk.wide:
        length = walk.wide
    if _never_closed(length, available, layout.length_bytes):
        walk.to_end = True
        walk.odd.append(_NOT_CLOSED)
        return available
    # A length that counts the header too, or one too many in a file that knows its own size, is a slip: nothing is
    # missing. A file that was cut off is shorter than both say.
    excess = length - available
    slip = excess <= _HARMLESS or excess in (body - 8, body) or abs(stated_size - body - available) <= 1
    if available < length and layout.length_bytes == 4 and slip:
        walk.odd.append(_WRONG_LENGTH)
        return available
    _check_bytes(length, available)
    return length


def _never_closed(length: int, available: int, length_bytes: int) -> bool:
    """Whether a length is what a recorder writes before it knows how long the recording will be."""
    if length_bytes == 8 or length >= 1 << 62:
        return length >= 1 << 62
    streamed = length in _STREAMED_31 or length in _STREAMED_32
    return length == _UNKNOWN or (length == 0 and available > 1024) or (available < length and streamed)


def _rebuilt(walk: _Walk, magic: bytes, layout: _Layout) -> bytes:
    """A plain header for the audio that was found; empty where none can be made."""
    if walk.length >= 0xFFFF0000:
        return b""
    if layout.audio == b"data" and layout.first == 12 and b"fmt " in walk.parts:
        chunk = _chunk(b"fmt ", walk.parts[b"fmt "], "<") + b"data" + struct.pack("<I", walk.length)
        return b"RIFF" + struct.pack("<I", 4 + len(chunk) + walk.length) + b"WAVE" + chunk
    if layout.audio == b"SSND" and len(walk.parts.get(b"COMM", b"")) >= 18:
        common = walk.parts[b"COMM"]
        channels, _, bits = struct.unpack_from(">hIh", common)
        frame = channels * -(-bits // 8)
        if frame > 0 and common[18:22] in (b"", b"NONE", b"sowt", b"twos"):
            common = common[:2] + struct.pack(">I", max(walk.length - 8, 0) // frame) + common[6:]
        chunk = _chunk(b"COMM", common, ">") + b"SSND" + struct.pack(">I", walk.length)
        return b"FORM" + struct.pack(">I", 4 + len(chunk) + walk.length) + magic[8:12] + chunk
    return b""


def _chunk(name: bytes, body: bytes, order: str) -> bytes:
    return name + struct.pack(f"{order}I", len(body)) + body + bytes(len(body) % 2)


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


def _au(file: Section, size: int) -> Claim:
    header = file.read(12)
    start, length = int.from_bytes(header[4:8], "big"), int.from_bytes(header[8:12], "big")
    available = size - start
    if _never_closed(length, available, 4):
        file.seek(0)
        head = file.read(min(start, 4096))
        end = before_tags(file, size)
        if len(head) != start or end - start >= 0xFFFF0000:
            return Claim(notes=(_NOT_CLOSED,))
        head = head[:8] + struct.pack(">I", end - start) + head[12:]
        return Claim(notes=(_NOT_CLOSED,), header=head, start=start, end=end)
    _check_bytes(length, available)
    return Claim(notes=left_out(available - length))


def _check_bytes(stated: int, available: int) -> None:
    if stated > available:
        share = available / stated if stated else 0
        raise AudioError(
            f"truncated: the header states {stated} bytes of audio, the file has {max(available, 0)} ({share:.0%})"
        )
