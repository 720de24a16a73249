"""The demos of a training, found in the event files that it writes for TensorBoard, as they appear."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event

PREFIX = "events.out.tfevents."
TAG = "audio/"
HEADER, FOOTER = 12, 4  # bytes around a record: its length and that number's checksum; the record's checksum
SMALLEST = 1000  # bytes; no record with sound is smaller
LARGEST = 64 * 2**20


@dataclass(frozen=True)
class Demo:
    """A sound in an event file."""

    id: str
    """Names it in addresses."""
    name: str
    """What it is, such as Castle/reconstruction."""
    samples: int
    """How many samples the training had seen."""
    time: float
    """When it was made, in seconds since 1970."""
    file: Path
    offset: int
    """Of its record."""
    size: int
    """Of its record, in bytes."""


class Demos:
    """Follows the event files of one run folder.

    A file that begins with a later start of the training makes what older files tell of the samples after it void, as
    TensorBoard has it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        self._found: list[Demo] = []

    def read(self) -> list[Demo]:
        """All demos so far, in the order in which they were made."""
        for path in sorted(self._folder.glob(f"{PREFIX}*")):
            try:
                with open(path, "rb") as file:
                    self._read_file(path, file)
            except OSError:
                continue
        return list(self._found)

    def sound(self, demo_id: str) -> bytes | None:
        """A demo as a WAV file; None where there is none of this id (any more)."""
        demo = next((demo for demo in self._found if demo.id == demo_id), None)
        if demo is None:
            return None
        try:
            with open(demo.file, "rb") as file:
                file.seek(demo.offset + HEADER)
                event = Event.FromString(file.read(demo.size))
        except (OSError, DecodeError):
            return None
        return event.summary.value[0].audio.encoded_audio_string

    def _read_file(self, path: Path, file: BinaryIO) -> None:
        offset, end = self._offsets.get(path, 0), file.seek(0, 2)
        while offset + HEADER + FOOTER <= end:
            file.seek(offset)
            (size,) = struct.unpack("<Q", file.read(HEADER)[:8])
            if size > LARGEST or offset + HEADER + size + FOOTER > end:
                break  # not whole yet, or damaged
            if size >= SMALLEST or offset < SMALLEST:
                self._take(path, offset, size, file.read(size))
            offset += HEADER + size + FOOTER
        self._offsets[path] = offset

    def _take(self, path: Path, offset: int, size: int, record: bytes) -> None:
        try:
            event = Event.FromString(record)
        except DecodeError:
            return
        if event.HasField("session_log") and event.session_log.status == event.session_log.START:
            self._found = [demo for demo in self._found if demo.samples < event.step or demo.file == path]
        for value in event.summary.value[:1]:
            if value.tag.startswith(TAG) and value.HasField("audio"):
                second = path.name.removeprefix(PREFIX).partition(".")[0]
                name = value.tag.removeprefix(TAG)
                self._found.append(Demo(f"{second}-{offset}", name, event.step, event.wall_time, path, offset, size))
