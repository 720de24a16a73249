"""MPEG audio (MP3) told apart from noise, and counted frame by frame: its headers lie or are absent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dualdiffusion.audio.decode.claim import AudioError, Claim, left_out

# kbit/s by (MPEG version 1?, layer); index 0 is "free format" and 15 is invalid.
_BIT_RATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_DECODER_DELAY = 529
_UNKNOWN = 0xFFFFFFFF
_TAIL_MARKS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")


@dataclass(frozen=True)
class FrameHeader:
    """One frame: its length in bytes, its samples per channel, and what must not change from frame to frame."""

    bytes: int
    samples: int
    sample_rate: int
    version: int
    layer: int
    mono: bool


def parse_header(data: bytes, at: int) -> FrameHeader | None:
    """The frame header at byte `at`; None where there is none."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return None
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    rate_index, bit_rate_index = data[at + 2] >> 2 & 3, data[at + 2] >> 4
    if version == 1 or layer == 4 or rate_index == 3 or bit_rate_index in (0, 15):
        return None
    sample_rate = _SAMPLE_RATES[version][rate_index]
    bits = _BIT_RATES[version == 3, layer][bit_rate_index - 1] * 1000
    padding = data[at + 2] >> 1 & 1
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    length = (12 * bits // sample_rate + padding) * 4 if layer == 1 else samples // 8 * bits // sample_rate + padding
    return FrameHeader(length, samples, sample_rate, version, layer, data[at + 3] >> 6 == 3)


def skip_id3(data: bytes, at: int = 0) -> int:
    """The first byte after the ID3v2 tags that stand at `at`."""
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size + (10 if data[at + 5] & 0x10 else 0)
    return at


def find_frames(data: bytes, at: int, *, in_row: int = 3, within: int = 65536) -> int | None:
    """The first byte from `at` on where `in_row` frames of the same kind follow each other; None if there is none."""
    end = min(len(data), at + within)
    while (at := data.find(b"\xff", at, end)) >= 0:
        position, first = at, parse_header(data, at)
        header, count = first, 0
        while header and first and (header.version, header.layer, header.sample_rate) == _kind(first):
            count += 1
            position += header.bytes
            if count == in_row or (position == len(data) and count > 1):
                return at
            header = parse_header(data, position)
        at += 1
    return None


def _kind(header: FrameHeader) -> tuple[int, int, int]:
    return header.version, header.layer, header.sample_rate


@dataclass
class _Part:
    """One of the files that an MP3 file was joined from: frames and bytes stated (None: not), frames found, their kind.

    delay, padding: samples that the encoder added. start, end: in the file; first_frame: where its sound starts.
    """

    stated: int | None
    delay: int = 0
    padding: int = 0
    frames: int = 0
    start: int = 0
    end: int = 0
    stated_bytes: int = 0
    first_frame: int = 0
    header: FrameHeader | None = None

    @property
    def missing(self) -> int:
        """Frames that are stated and not there; 1 where nothing is stated."""
        return 1 if self.stated is None else self.stated - self.frames

    @property
    def has_its_bytes(self) -> bool:
        """Whether as many bytes are there as are stated, give or take a frame: then the count of frames is wrong."""
        frame = self.header.bytes if self.header else 0
        return self.stated_bytes > 0 and self.end - self.start >= self.stated_bytes - frame

    @property
    def claim(self) -> Claim:
        """What the decoder gets, and what it must deliver."""
        samples = self.header.samples if self.header else 0
        # Decoders cut the padding off where a wrong count of frames tells them to: they must not see it.
        wrong = abs(self.missing) > 1
        tolerance = self.delay + self.padding + 3 * samples
        return Claim(self.frames * samples, tolerance, start=self.first_frame if wrong else self.start, end=self.end)


@dataclass
class _Walk:
    """What stands in a file from its first frame to its end, in bytes and frames."""

    parts: list[_Part]
    end: int
    lost: int = 0
    first_lost: int = 0
    cut: bool = False


@dataclass(frozen=True)
class MpegFile:
    """What an MP3 file holds: a claim for each of the files that it was joined from (mostly one), and notes."""

    parts: tuple[Claim, ...]
    notes: tuple[str, ...]


def inspect(path: Path) -> MpegFile:
    """Counts a file's frames one by one.

    Raises:
        AudioError: no frames, fewer than its header states, something else between them, or it ends within a frame.
    """
    data = path.read_bytes()
    begin = skip_id3(data)
    start = find_frames(data, begin, within=len(data))
    if start is None:
        raise AudioError("holds no MP3 frames that follow each other: truncated, damaged, or not MP3")
    first = parse_header(data, start)
    assert first is not None
    walk = _walk(data, start, first)
    notes = [f"{start - begin} bytes before its first frame are left out"] if data[begin:start].strip(b"\0") else []
    notes += _judge(walk, first)
    tail = data[walk.end :].strip(b"\0")
    if tail and not tail.startswith(_TAIL_MARKS) and b"APETAGEX" not in tail and not walk.cut:
        notes += left_out(len(data) - walk.end)
    # Encoder delay and padding are removed by the decoder, and the first frames may lean on data before the file.
    return MpegFile(tuple(part.claim for part in walk.parts if part.frames), tuple(notes))


def _judge(walk: _Walk, first: FrameHeader) -> list[str]:
    """Notes on what was found; AudioError where sound is missing."""
    notes = []
    frame_seconds = first.samples / first.sample_rate
    whole = True
    for part in walk.parts:
        missing = part.missing
        # The last frames may be nothing but the encoder's padding; but sound comes out of the decoder late.
        whole = whole and missing * first.samples <= max(part.padding - _DECODER_DELAY, 0)
        if part.stated is None:
            continue
        seconds = part.header.samples / part.header.sample_rate if part.header else frame_seconds
        found, stated = part.frames * seconds, part.stated * seconds
        # Some programs count the frame with the header too.
        if missing > 1 and not part.has_its_bytes:
            raise AudioError(f"truncated: it holds {found:.2f} s of the {stated:.2f} s that its header states")
        if abs(missing) > 1:
            notes.append(f"holds {found:.2f} s although its header states {stated:.2f} s; all of it is used")
    if walk.lost and not whole:
        raise AudioError(f"damaged after {walk.first_lost * frame_seconds:.2f} s: {walk.lost} bytes are not MP3")
    if walk.lost:
        notes.append(f"{walk.lost} bytes between its frames are not MP3")
    if walk.cut and not whole:
        raise AudioError("truncated: the file ends in the middle of a frame")
    if walk.cut:
        notes.append("its last frame is cut short")
    if len(walk.parts) > 1:
        notes.append(f"{len(walk.parts)} MP3 files joined to one, decoded as one track")
    return notes


def _walk(data: bytes, at: int, first: FrameHeader) -> _Walk:
    walk = _Walk([], at)
    kind, end, tagged = _kind(first), len(data), False
    while at < end:
        header = parse_header(data, at)
        if header and _kind(header) == kind:
            if at + header.bytes > end:
                walk.cut = True
                break
            begun = _info_frame(data, at, header)
            if begun or tagged or not walk.parts or not _is_like(header, walk.parts[-1].header):
                walk.parts.append(begun or _Part(None))
                walk.parts[-1].start, walk.parts[-1].header = at, header
                walk.parts[-1].first_frame = at + header.bytes if begun else at
            tagged = False
            walk.parts[-1].frames += begun is None
            at = walk.end = walk.parts[-1].end = at + header.bytes
        elif data.startswith(_TAIL_MARKS, at):
            at, tagged = _skip_tag(data, at), True
        else:
            # Frames of another kind begin another part; so many in a row are no accident.
            found = find_frames(data, at, in_row=4, within=4) or find_frames(data, at + 1, in_row=2, within=end)
            if found is None:
                break
            other = parse_header(data, found)
            if other and _kind(other) != kind and find_frames(data, found, in_row=4, within=4) is None:
                raise AudioError("its sample rate or kind of MPEG changes on the way; split it first")
            kind = _kind(other) if other else kind
            walk.first_lost = walk.first_lost or sum(part.frames for part in walk.parts)
            walk.lost += found - at
            at = found
    return walk


def _is_like(header: FrameHeader, first: FrameHeader | None) -> bool:
    """Whether a frame belongs to a part that began with `first`: one decoder makes one kind of sound."""
    return first is not None and _kind(header) == _kind(first) and header.mono == first.mono


def _skip_tag(data: bytes, at: int) -> int:
    """The first byte after the tag at `at`; another tag or frame may follow."""
    if data.startswith(b"ID3", at):
        return skip_id3(data, at)
    if data.startswith(b"TAG", at):
        return at + 128
    if data.startswith(b"APETAGEX", at):
        footer = not data[at + 23] & 0x20 if at + 24 <= len(data) else True
        return at + 32 + (0 if footer else int.from_bytes(data[at + 12 : at + 16], "little"))
    ends = [data.find(mark, at) for mark in (b"LYRICS200", b"LYRICSEND")]
    return min([end + 9 for end in ends if end >= 0], default=len(data))


def _info_frame(data: bytes, at: int, header: FrameHeader) -> _Part | None:
    """What a Xing, Info or VBRI frame says of the frames after it; None for a frame of sound."""
    side = (17 if header.mono else 32) if header.version == 3 else (9 if header.mono else 17)
    if data.startswith(b"VBRI", at + 36):
        stated_bytes, stated = (int.from_bytes(data[at + k : at + k + 4], "big") for k in (46, 50))
        return _Part(stated, stated_bytes=stated_bytes)
    if not data.startswith((b"Xing", b"Info"), at + 4 + side):
        return None
    tag = data[at + 4 + side : at + header.bytes]
    flags = int.from_bytes(tag[4:8], "big")
    stated = int.from_bytes(tag[8:12], "big") if flags & 1 else None
    at_bytes = 8 + 4 * (flags & 1)
    stated_bytes = int.from_bytes(tag[at_bytes : at_bytes + 4], "big") if flags & 2 else 0
    lame = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    gap = int.from_bytes(tag[lame + 21 : lame + 24], "big")
    stated = None if stated in (0, _UNKNOWN) else stated
    return _Part(stated, gap >> 12, gap & 0xFFF, stated_bytes=0 if stated_bytes == _UNKNOWN else stated_bytes)
