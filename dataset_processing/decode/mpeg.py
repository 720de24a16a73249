"""MPEG audio (MP3) told apart from noise, and counted frame by frame: its headers lie or are absent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dataset_processing.decode.claim import AudioError, Claim

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


def claim(path: Path) -> Claim:
    """Counts a file's frames one by one.

    Raises:
        AudioError: no frames, or fewer than its Xing header states, or it ends within a frame.
    """
    data = path.read_bytes()
    start = find_frames(data, skip_id3(data), within=len(data))
    if start is None:
        raise AudioError("holds no MP3 frames that follow each other: truncated, damaged, or not MP3")
    first = parse_header(data, start)
    assert first is not None
    stated, skipped = _info_frame(data, start, first)
    at = start + (first.bytes if skipped is not None else 0)
    frames, lost, cut = _count(data, at, first)
    notes = [f"{lost} bytes between its frames are not MP3"] if lost else []
    if stated is not None and frames < stated - 1:
        seconds = first.samples / first.sample_rate
        raise AudioError(
            f"truncated: it holds {frames * seconds:.2f} s of the {stated * seconds:.2f} s that its header states"
        )
    if cut and stated is None:
        raise AudioError("truncated: the file ends in the middle of a frame")
    if cut:
        notes.append("its last frame is cut short")
    # Encoder delay and padding are removed by the decoder, and the first frames may lean on data before the file.
    tolerance = (skipped or 0) + 3 * first.samples
    return Claim(frames * first.samples, tolerance, tuple(notes))


def _count(data: bytes, at: int, first: FrameHeader) -> tuple[int, int, bool]:
    """Complete frames from `at` on, bytes lost between frames, and whether the file ends within a frame."""
    frames = lost = 0
    kind, end = _kind(first), len(data)
    while at < end:
        header = parse_header(data, at)
        if header and _kind(header) == kind:
            if at + header.bytes > end:
                return frames, lost, True
            frames += 1
            at += header.bytes
        elif data.startswith(_TAIL_MARKS, at) or not data[at:].strip(b"\0"):
            break
        else:
            found = find_frames(data, at + 1, in_row=2, within=end)
            lost += (end if found is None else found) - at
            at = end if found is None else found
    return frames, lost, False


def _info_frame(data: bytes, at: int, header: FrameHeader) -> tuple[int | None, int | None]:
    """(Frames stated, samples of delay and padding) of a Xing, Info or VBRI frame; (None, None) for a plain frame."""
    side = (17 if header.mono else 32) if header.version == 3 else (9 if header.mono else 17)
    frame = data[at : at + header.bytes]
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big"), 0
    tag = frame[4 + side :]
    if tag[:4] not in (b"Xing", b"Info"):
        return None, None
    flags = int.from_bytes(tag[4:8], "big")
    stated = int.from_bytes(tag[8:12], "big") if flags & 1 else None
    lame = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    gap = int.from_bytes(tag[lame + 21 : lame + 24], "big")
    return stated, (gap >> 12) + (gap & 0xFFF)
