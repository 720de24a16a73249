"""Ogg pages: every page is checked, and every stream of a chained file counted, before the decoder is believed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path

from dualdiffusion.audio.decode.claim import AudioError, Claim

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class Stream:
    """One logical stream: its codec, sample rate (Hz), samples to skip at the start, and last position in samples."""

    codec: str
    sample_rate: int = 0
    skip: int = 0
    position: int = 0
    next_page: int = 0
    ended: bool = False


@dataclass
class Part:
    """One link of a chain: the bytes from start to end are an Ogg file of their own."""

    start: int
    end: int
    streams: dict[int, Stream] = field(default_factory=dict)

    @property
    def audio(self) -> Stream | None:
        """The first stream that holds audio."""
        return next((stream for stream in self.streams.values() if stream.sample_rate), None)

    @property
    def claim(self) -> Claim:
        """How much audio it holds, by its last position."""
        frames = max(self.audio.position - self.audio.skip, 0) if self.audio else 0
        return Claim(frames, 4096, start=self.start, end=self.end)


@dataclass(frozen=True)
class OggFile:
    """What a file holds: its chained parts, the name of their codec, and notes."""

    parts: tuple[Part, ...]
    codec: str
    notes: tuple[str, ...]


def inspect(path: Path, start: int = 0) -> OggFile:
    """Walks all pages of a file from byte `start` on.

    Raises:
        AudioError: a damaged or missing page, a file without its end, or no audio stream.
    """
    parts, notes = _read_pages(path.read_bytes(), start)
    streams = [stream for part in parts for stream in part.streams.values()]
    audio = [part.audio for part in parts if part.audio]
    if not audio or len(audio) < len(parts):
        held = ", ".join(stream.codec for stream in streams) or "nothing"
        raise AudioError(f"an Ogg file without audio that can be read: it holds {held}")
    if not audio[-1].ended:
        raise AudioError("truncated: the Ogg stream stops without its end-of-stream page")
    # What follows shows that nothing of the file is missing; a station that goes over to the next piece may not say so.
    if open_ends := sum(not stream.ended for stream in audio):
        notes.append(f"{open_ends} of its parts do not state their end")
    if len(parts) > 1:
        notes.append(f"a chained Ogg file of {len(parts)} parts, decoded as one track")
    if len(streams) > len(audio):
        notes.append("holds other streams than its first audio, which are left out")
    return OggFile(tuple(parts), f"Ogg {audio[0].codec}", tuple(notes))


def _read_pages(data: bytes, at: int) -> tuple[list[Part], list[str]]:
    parts: list[Part] = []
    notes: list[str] = []
    while at < len(data):
        if data[at : at + 4] != b"OggS":
            following = data.find(b"OggS", at)
            if following >= 0 and _between_parts(data, following, parts):
                notes.append(f"{following - at} bytes between its parts are not Ogg, and are left out")
                at = following
                continue
            if following >= 0:
                raise AudioError(f"damaged: no Ogg page where one must start (byte {at})")
            notes.append(f"{len(data) - at} bytes after its end are not Ogg")
            break
        body, end = _page(data, at)
        if end > len(data):
            raise AudioError("truncated: the file ends in the middle of an Ogg page")
        if not _is_whole(data, at, end):
            raise AudioError(f"damaged: the checksum of the Ogg page at byte {at} is wrong")
        _take_page(data, at, body, end, parts)
        at = end
    return parts, notes


def first_page(data: bytes) -> int:
    """Where the first page stands that begins a stream and is whole; -1 where there is none."""
    at = -1
    while (at := data.find(b"OggS", at + 1)) >= 0:
        if _begins_stream(data, at):
            return at
    return -1


def _page(data: bytes, at: int) -> tuple[int, int]:
    """Where the body of the page at byte `at` begins and ends; behind the data where the page is cut off."""
    segments = data[at + 26] if at + 27 <= len(data) else 255
    body = at + 27 + segments
    return body, body + sum(data[at + 27 : body])


def _is_whole(data: bytes, at: int, end: int) -> bool:
    stated = int.from_bytes(data[at + 22 : at + 26], "little")
    return _checksum(data[at : at + 22] + bytes(4) + data[at + 26 : end]) == stated


def _begins_stream(data: bytes, at: int) -> bool:
    _, end = _page(data, at)
    return end <= len(data) and bool(data[at + 5] & 2) and _is_whole(data, at, end)


def _between_parts(data: bytes, following: int, parts: list[Part]) -> bool:
    """Whether other bytes stand where nothing is missing: behind the end of a part, and before a stream begins."""
    ended = bool(parts) and all(stream.ended for stream in parts[-1].streams.values())
    return ended and _begins_stream(data, following)


def _take_page(data: bytes, at: int, body: int, end: int, parts: list[Part]) -> None:
    flags, serial = data[at + 5], int.from_bytes(data[at + 14 : at + 18], "little")
    number = int.from_bytes(data[at + 18 : at + 22], "little")
    if flags & 2:
        # Beginnings that follow each other are streams side by side; one after other pages begins the next part.
        if not parts or any(stream.next_page > 1 for stream in parts[-1].streams.values()):
            parts.append(Part(at, end))
        parts[-1].streams[serial] = _open_stream(data[body:end])
        parts[-1].streams[serial].next_page = number
    stream = parts[-1].streams.get(serial) if parts else None
    if stream is None:
        raise AudioError("damaged: an Ogg stream without its beginning")
    if number != stream.next_page:
        raise AudioError(f"damaged: {abs(number - stream.next_page)} Ogg pages are missing before byte {at}")
    parts[-1].end = end
    stream.next_page = number + 1
    position = int.from_bytes(data[at + 6 : at + 14], "little", signed=True)
    stream.position = max(stream.position, position)
    stream.ended = stream.ended or bool(flags & 4)


def _open_stream(packet: bytes) -> Stream:
    """Reads the identification header that begins a logical stream."""
    if packet[:7] == b"\x01vorbis":
        return Stream("Vorbis", int.from_bytes(packet[12:16], "little"))
    if packet[:8] == b"OpusHead":
        return Stream("Opus", 48000, int.from_bytes(packet[10:12], "little"))
    if packet[:5] == b"\x7fFLAC":
        return Stream("FLAC", int.from_bytes(packet[27:30], "big") >> 4)
    if packet[:8] == b"Speex   ":
        return Stream("Speex", int.from_bytes(packet[36:40], "little"))
    return Stream("Theora video" if packet[1:7] == b"theora" else "unknown codec")


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32: the polynomial of zlib's, with the bits of every byte the other way round and no inversions."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")
