"""What a command prints, whatever becomes of whoever reads it. Imports no torch.

A run outlives its terminal, the program that its output is piped into, and the disk that its log is on. So nothing that
prints here can fail or wait: a thread hands on what is printed, and what nobody takes is dropped.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import stat
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import TextIO

from dualdiffusion.machine import system

PATIENCE = 0.5
"""Seconds that a print waits for a reader that does not read, once: until then, what is printed is out."""
GRACE = 10.0
"""Seconds without any progress that the end of a command waits for its reader."""
MOST = 4096
"""Prints that are kept for a reader that has stopped reading; then the oldest are dropped."""
# Descriptors of which nothing will ever be read again: a pipe, a terminal, a connection without another end.
GONE = system.errors("EPIPE", "EIO", "ENXIO", "EBADF", "ECONNRESET", "ECONNABORTED", "ENOTCONN", "ESHUTDOWN", "EINVAL")
RETRY = 0.05  # seconds
PIECE = 1 << 16  # bytes

_outlets: dict[int, Outlet] = {}  # by descriptor


def guard_output() -> None:
    """From now on no print of this process waits, or fails, because of its reader. Again: does nothing."""
    if _outlets:
        return
    _hold_descriptors()
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # started without it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (for the life of the process)
        elif _descriptor(stream) == descriptor and not (os.name == "nt" and stream.isatty()):
            _outlets[descriptor] = _outlet(descriptor)
            setattr(sys, name, _guarded(stream, _outlets[descriptor], descriptor))
    if _outlets:
        atexit.register(_finish_unless_interrupted)


def tell_at_once(text: str) -> None:
    """Prints a line on standard error from anywhere, such as a signal handler, where `print` must not be called."""
    data = f"{text}\n".encode(errors="replace")
    if 2 in _outlets:
        _outlets[2].put(2, data)
        return
    with contextlib.suppress(OSError):
        os.write(2, data)


def _finish_unless_interrupted() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        finish()


def finish() -> None:
    """Waits until all that was printed is read, unless nothing of it is for GRACE seconds; tells what was lost."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    outlets = set(_outlets.values())
    for outlet in outlets:
        outlet.settle(GRACE)
    lost = [outlet.lost for outlet in outlets if outlet.lost]
    if lost and 2 in _outlets:
        tell_at_once(f"warning: some of what was printed could not be written: {lost[0]}")
        _outlets[2].settle(PATIENCE)


class Outlet:
    """Writes, in a thread of its own and in order, what is put to descriptors of one open file.

    Attributes:
        lost: why something was lost of a file that is still there, such as on a full disk; None: nothing was.
    """

    def __init__(self) -> None:
        self.lost: str | None = None
        self._waiting: SimpleQueue[tuple[int, bytes] | threading.Event] = SimpleQueue()
        self._gone: set[int] = set()
        self._left_out, self._written, self._stuck = 0, 0, False
        self._thread: threading.Thread | None = None
        self._run()

    def put(self, descriptor: int, data: bytes) -> None:
        """Has something written, without waiting. May be called in a signal handler."""
        while self._waiting.qsize() >= MOST:
            with contextlib.suppress(Empty):
                if isinstance(oldest := self._waiting.get_nowait(), threading.Event):
                    oldest.set()
                else:
                    self._left_out += oldest[1].count(b"\n")
        self._waiting.put((descriptor, data))

    def write(self, descriptor: int, data: bytes) -> None:
        """Has something written, and waits for that while the reader keeps up."""
        self.put(descriptor, data)
        if self._stuck:
            self._run()
        else:
            self._stuck = not self._reached(PATIENCE)

    def settle(self, patience: float) -> None:
        """Waits until everything is written, unless nothing is for `patience` seconds."""
        before = -1
        while before != self._written:
            before = self._written
            if self._reached(patience):
                return

    def _reached(self, patience: float) -> bool:
        """Whether all that was put so far is written within so many seconds."""
        mark = threading.Event()
        self._waiting.put(mark)
        self._run()
        return mark.wait(patience)

    def _run(self) -> None:
        # Again where it is not there: a process that was forked off has none.
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._hand_on, name="output", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system starts no further one: then printing waits for its reader
                self._hand_on_what_waits()
            else:
                self._thread = thread

    def _hand_on(self) -> None:
        while True:
            self._hand_on_one(self._waiting.get())

    def _hand_on_what_waits(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._hand_on_one(self._waiting.get_nowait())

    def _hand_on_one(self, item: tuple[int, bytes] | threading.Event) -> None:
        if isinstance(item, threading.Event):
            item.set()
        else:
            if self._left_out:
                left_out, self._left_out = self._left_out, 0
                self._deliver(item[0], f"\n({left_out} lines are left out here: nobody read them)\n".encode())
            self._deliver(*item)
        if self._waiting.empty():
            self._stuck = False

    def _deliver(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest and descriptor not in self._gone:
            try:
                count = os.write(descriptor, rest[:PIECE])
                self._written, rest = self._written + count, rest[count:]
            except BlockingIOError:  # another program has made our terminal or pipe one that does not wait
                time.sleep(RETRY)
            except OSError as error:
                self._fail(descriptor, error)
                return

    def _fail(self, descriptor: int, error: OSError) -> None:
        regular = False
        with contextlib.suppress(OSError):
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if regular or error.errno not in GONE:
            self.lost = error.strerror
            return
        # All that lead to the same file, also for what libraries write past us.
        for same in {descriptor, *(other for other, outlet in _outlets.items() if outlet is self)}:
            self._gone.add(same)
            _point_at_nothing(same)


class _Printed(io.RawIOBase):
    """The lowest layer of a stream that prints to an outlet."""

    def __init__(self, outlet: Outlet, descriptor: int, stream: TextIO) -> None:
        self._outlet, self._descriptor, self._terminal = outlet, descriptor, stream.isatty()
        self.name = stream.name

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The descriptor that is written to."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is, or was, a terminal."""
        return self._terminal

    def write(self, data: bytes) -> int:
        """Hands everything on."""
        data = bytes(data)
        self._outlet.write(self._descriptor, data)
        return len(data)


def _guarded(stream: TextIO, outlet: Outlet, descriptor: int) -> io.TextIOWrapper:
    """A text stream like another one, that prints to an outlet."""
    with contextlib.suppress(OSError):
        stream.flush()
    raw = _Printed(outlet, descriptor, stream)
    # A name that the terminal's character set lacks is no reason to stop either: it is shown by escapes (\\u30b2).
    # Python's own choice for the C locale, surrogateescape in UTF-8, gives back any name byte by byte.
    lossless = stream.errors == "surrogateescape" and stream.encoding.lower() == "utf-8"
    errors = "surrogateescape" if lossless else "backslashreplace"
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),  # type: ignore[arg-type]
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _outlet(descriptor: int) -> Outlet:
    """The outlet of a descriptor's open file: what goes to one terminal by two descriptors keeps its order."""
    for other, outlet in _outlets.items():
        # Some systems give all pipes the number 0.
        if os.fstat(descriptor).st_ino and os.path.sameopenfile(other, descriptor):
            return outlet
    return Outlet()


def _hold_descriptors() -> None:
    """Opens what a process was started without: else the next file opened would be its standard output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            _point_at_nothing(descriptor)


def _point_at_nothing(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
