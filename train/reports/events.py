"""TensorBoard's event files, written at once and whole.

TensorBoard's own writer hands events to a thread. When the disk is full, that thread prints a traceback and dies, and
what is written later is lost, also when there is room again.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from pathlib import Path
from typing import IO

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

PREFIX = "events.out.tfevents."


def append_whole(file: IO[bytes], data: bytes) -> None:
    """Appends all of `data` to an unbuffered file, or nothing of it.

    Raises:
        OSError: such as a full disk; the file is as it was.
    """
    end = file.seek(0, os.SEEK_END)
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise


def _second_for(folder: Path) -> int:
    """Now, in seconds since 1970, or later where that is needed for a name after those of the folder's event files.

    TensorBoard reads a folder's files in the order of their names, and follows the last one. A rollback may come within
    a second of the start; and clocks are set back.
    """
    taken = [path.name.removeprefix(PREFIX).partition(".")[0] for path in folder.glob(f"{PREFIX}*")]
    return max([time.time_ns() // 10**9, *(int(second) + 1 for second in taken if second.isdecimal())])


class EventFile:
    """A new event file in `folder`.

    Args:
        first_step: TensorBoard forgets events of this and later steps in older files of the folder.

    Raises:
        OSError: such as a full disk, and no file is left; also of `add`, which leaves out that event only.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        path = folder / f"{PREFIX}{_second_for(folder):010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        try:
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
            self._write(Event(wall_time=time.time(), step=first_step, session_log=SessionLog(status=SessionLog.START)))
        except BaseException:
            self._file.close()
            path.unlink(missing_ok=True)
            raise

    def add(self, summary: Summary, step: int) -> None:
        """Writes one summary."""
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, event: Event) -> None:
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        append_whole(self._file, record.getvalue())
