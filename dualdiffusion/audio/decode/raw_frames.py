"""Raw AAC (ADTS) and AC-3 streams, counted frame by frame: they have no header that could state a length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dualdiffusion.audio.decode.claim import AudioError, Claim, left_out
from dualdiffusion.audio.decode.mpeg import skip_id3

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AC3_RATES = (48000, 44100, 32000)
_AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_TAGS = (b"TAG", b"APETAGEX", b"ID3")


@dataclass(frozen=True)
class Frame:
    """One frame: its length in bytes, the samples per channel that it adds, and its sample rate (Hz)."""

    bytes: int
    samples: int
    sample_rate: int


def claim(path: Path, kind: str, start: int = 0) -> Claim:
    """Counts the frames of an "AAC" or "AC-3" stream that begins at byte `start`; nothing for other kinds.

    Raises:
        AudioError: it ends within a frame, or something else stands between its frames.
    """
    parse = _PARSERS.get(kind)
    if parse is None:
        return Claim()
    data = path.read_bytes()
    at = start
    samples = longest = rate = 0
    while at < len(data):
        frame = parse(data, at)
        if frame is None:
            # Parts of a stream from the web, one behind the other, begin with a tag each.
            following = skip_id3(data, at)
            if following == at or not parse(data, following):
                break
            at = following
            continue
        if at + frame.bytes > len(data):
            raise AudioError("truncated: the file ends in the middle of a frame")
        samples += frame.samples
        longest, rate = max(longest, frame.samples), rate or frame.sample_rate
        at += frame.bytes
    if 0 < len(data) - at < 7 and data[at:].startswith((b"\xff", b"\x0b")):
        raise AudioError("truncated: the file ends in the middle of a frame")
    if _frames_follow(parse, data, at):
        raise AudioError(f"damaged after {samples / max(rate, 1):.2f} s: something else stands between its frames")
    if not samples:
        raise AudioError(f"holds no {kind} frames that follow each other: truncated or damaged")
    tail = data[at : at + 8]
    notes = () if tail.startswith(_TAGS) or not data[at:].strip(b"\0") else left_out(len(data) - at)
    if data[:start].strip(b"\0") and not data.startswith(_TAGS):
        notes += (f"{start} bytes before its first frame are left out",)
    return Claim(samples, 2 * longest, notes, start=start, end=at, sample_rate=rate)


def first_frame(data: bytes) -> int:
    """Where the first AAC frame stands that three others follow; -1 where there is none."""
    begin = -1
    while (begin := data.find(b"\xff", begin + 1)) >= 0:
        at = begin
        for _ in range(4):
            frame = adts_frame(data, at)
            if frame is None:
                break
            at += frame.bytes
        else:
            return begin
    return -1


def _frames_follow(parse: Callable[[bytes, int], Frame | None], data: bytes, at: int) -> bool:
    """Whether two frames follow each other, or one ends the file, somewhere after byte `at`."""
    mark = b"\xff" if parse is adts_frame else b"\x0b\x77"
    while (at := data.find(mark, at + 1)) >= 0:
        first = parse(data, at)
        end = at + first.bytes if first else 0
        if first and (end == len(data) or parse(data, end)):
            return True
    return False


def adts_frame(data: bytes, at: int) -> Frame | None:
    """The AAC frame (ISO/IEC 13818-7, 6.2) at byte `at`; None where there is none."""
    head = data[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= len(_AAC_RATES):
        return None
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return Frame(length, 1024 * ((head[6] & 3) + 1), _AAC_RATES[head[2] >> 2 & 15]) if length > 7 else None


def ac3_frame(data: bytes, at: int) -> Frame | None:
    """The AC-3 or E-AC-3 frame (ETSI TS 102 366) at byte `at`; None where there is none."""
    head = data[at : at + 6]
    if len(head) < 6 or head[:2] != b"\x0b\x77":
        return None
    if head[5] >> 3 > 10:
        length = 2 * ((head[2] & 7) << 8 | head[3]) + 2
        code, blocks = head[4] >> 6, (1, 2, 3, 6)[head[4] >> 4 & 3]
        rate = _AC3_RATES[code] if code < 3 else _AC3_RATES[head[4] >> 4 & 3] // 2 if head[4] >> 4 & 3 < 3 else 0
        dependent = head[2] >> 6 == 1
        return Frame(length, 0 if dependent else 256 * (6 if code == 3 else blocks), rate) if rate else None
    code, size = head[4] >> 6, head[4] & 63
    if code == 3 or size // 2 >= len(_AC3_KBITS):
        return None
    words = _AC3_KBITS[size // 2] * 96_000 // _AC3_RATES[code] + (size & 1 if code == 1 else 0)
    return Frame(2 * words, 1536, _AC3_RATES[code])


_PARSERS = {"AAC": adts_frame, "AC-3": ac3_frame}
