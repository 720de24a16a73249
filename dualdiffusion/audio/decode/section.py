"""Part of a file as a file of its own, and what stands before and after the audio: tags and padding."""

from __future__ import annotations

import io
import os
from typing import IO

from dualdiffusion.audio.decode.mpeg import skip_id3

_CHUNK = 1 << 20


class Section(io.RawIOBase):
    """The bytes from start to end of an open file, behind `header`, which stands for what the file says there."""

    def __init__(self, file: IO[bytes], start: int, end: int, header: bytes = b"") -> None:
        self._file, self._start, self._header = file, start, header
        self._size = len(header) + max(end - start, 0)
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes from the present position on; all that follow for -1."""
        left = max(self._size - self._at, 0)
        size = left if size < 0 else min(size, left)
        head = self._header[self._at : self._at + size]
        rest = b""
        if size > len(head):
            self._file.seek(self._start + self._at + len(head) - len(self._header))
            rest = self._file.read(size - len(head))
        self._at += len(head) + len(rest)
        return head + rest

    def readinto(self, buffer: memoryview) -> int:
        """Fills `buffer` as far as bytes follow; returns their number."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def tell(self) -> int:
        """The present position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a position, from the start, the present one or the end; returns it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at


def after_tags(file: IO[bytes], at: int = 0) -> int:
    """The first byte after the ID3v2 tags that stand at byte `at`, however many and however large."""
    while True:
        file.seek(at)
        head = file.read(10)
        following = at + skip_id3(head)
        if following == at:
            return at
        at = following


def after_zeros(file: IO[bytes], at: int) -> int:
    """The first byte from `at` on that is not zero; the length of the file if all are."""
    file.seek(at)
    while block := file.read(_CHUNK):
        rest = block.lstrip(b"\0")
        if rest:
            return at + len(block) - len(rest)
        at += len(block)
    return at


def before_tags(file: IO[bytes], end: int) -> int:
    """Where the audio of a file ends that does not say so itself: before an APEv2 and an ID3v1 tag."""
    for bytes_back, mark in ((128, b"TAG"), (32, b"APETAGEX")):
        if end < bytes_back:
            continue
        file.seek(end - bytes_back)
        tail = file.read(bytes_back)
        if not tail.startswith(mark):
            continue
        if mark == b"TAG":
            end -= bytes_back
            continue
        length, flags = int.from_bytes(tail[12:16], "little"), int.from_bytes(tail[20:24], "little")
        length += 32 if flags >> 31 else 0  # with a header of the same size in front
        end -= length if 32 <= length <= end else 0
    return end
