"""The length that WAV, AIFF, AU and FLAC headers state, against the bytes that are there."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from dataset_processing.decode.claim import AudioError, Claim
from dataset_processing.decode.mpeg import skip_id3

_UNKNOWN = 0xFFFFFFFF


def claim(path: Path, kind: str) -> Claim:
    """What the header of a WAV, AIFF, AU or FLAC file says; nothing for other kinds.

    Raises:
        AudioError: the header promises more bytes than the file has, or there is no audio in it.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        if kind == "WAV":
            return _chunks(file, size, b"data", "little")
        if kind == "AIFF":
            return _chunks(file, size, b"SSND", "big")
        if kind == "AU":
            return _au(file, size)
        if kind == "FLAC":
            return _flac(file)
    return Claim()


def _chunks(file: IO[bytes], size: int, wanted: bytes, order: str) -> Claim:
    """Finds the audio chunk of a RIFF or FORM file and checks that all of it is there."""
    file.seek(12)
    wide = 0
    while len(header := file.read(8)) == 8:
        name, length = header[:4], int.from_bytes(header[4:], order)  # type: ignore[arg-type]
        at = file.tell()
        if name == b"ds64":
            wide = int.from_bytes(file.read(16)[8:], "little")
        if name == wanted:
            available = size - at
            if length == _UNKNOWN and wide:
                length = wide
            if length == _UNKNOWN or (length == 0 and available > 1024):
                return Claim(notes=("its header does not state a length (a recording that was not closed)",))
            _check_bytes(length, available)
            return Claim()
        file.seek(at + length + length % 2)
    raise AudioError("holds no audio data: truncated, or only a header")


def _au(file: IO[bytes], size: int) -> Claim:
    header = file.read(12)
    start, length = int.from_bytes(header[4:8], "big"), int.from_bytes(header[8:12], "big")
    if length == _UNKNOWN:
        return Claim(notes=("its header does not state a length",))
    _check_bytes(length, size - start)
    return Claim()


def _check_bytes(stated: int, available: int) -> None:
    if stated > available:
        share = available / stated if stated else 0
        raise AudioError(
            f"truncated: the header states {stated} bytes of audio, the file has {max(available, 0)} ({share:.0%})"
        )


def _flac(file: IO[bytes]) -> Claim:
    start = skip_id3(file.read(10 + 10))
    file.seek(start)
    head = file.read(42)
    if len(head) < 42 or head[4] & 0x7F != 0:
        raise AudioError("a FLAC file without a valid header: truncated or damaged")
    info = int.from_bytes(head[18:26], "big")
    frames, bits = info & (1 << 36) - 1, (info >> 36 & 0x1F) + 1
    md5 = head[26:42]
    notes = () if frames else ("its header does not state a length",)
    return Claim(frames or None, 0, notes, md5 if any(md5) else None, bits)
