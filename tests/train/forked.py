"""The real training command with faults (see tests/commands.py).

Faults happen inside the fork, to the command's own calls: a kill at any byte that it writes or between any two of its
calls that change the disk, a full disk under some files, a loss that is not a number.
"""

from __future__ import annotations

import builtins
import errno
import functools
import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import train.update
from tests import commands

# As many bytes as a moment between two calls counts for, when it is to be hit as well.
MOMENT = 3000
LIMIT = 280.0  # seconds after which a command hangs, on however busy a machine
T = TypeVar("T")
CALLS = ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir")


@dataclass(frozen=True)
class Result:
    """How a forked command ended."""

    code: int  # minus the signal's number, where one killed it
    output: str  # of both streams

    @property
    def lines(self) -> list[str]:
        return [line for line in self.output.splitlines() if line.strip()]


def run(config: Path, log: Path, *overrides: str, fault: Callable[[], object] | None = None) -> Result:
    """`python train.py CONFIG --set OVERRIDES`, with a fault installed first; `fault` must be picklable.

    Args:
        log: a file that gets all that was printed.
    """
    words = ["train.py", config, *(["--set", *overrides] if overrides else [])]
    result = commands.run(words, timeout=LIMIT, prepare=fault, merged=True, forks=True)
    log.write_text(result.stdout)
    return Result(result.returncode, result.stdout)


def run_together(config: Path, log: Path, *overrides: str, processes: int) -> list[Result]:
    """The same command in several processes that train together, as `torchrun` starts them; their results by rank."""
    logs = [log.with_name(f"{log.name}-{rank}") for rank in range(processes)]
    return in_ranks(lambda rank, fault: run(config, logs[rank], *overrides, fault=fault), processes)


def in_ranks(start: Callable[[int, Callable[[], object]], T], processes: int) -> list[T]:
    """What `start` gives for each rank, all at a time; it gets a rank, and what makes a fork the process of that."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    faults = [functools.partial(as_rank, rank, processes, port) for rank in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        return list(pool.map(start, range(processes), faults))


def as_rank(rank: int, processes: int, port: int) -> None:
    """What torchrun tells a process, in the only place where torch looks for it."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in {**ranks, **where}.items()})


# A kill at a position: bytes written so far, plus MOMENT before and after each call that changes the disk.


class Clock:
    """Counts up to a position, and there ends the process as SIGKILL from outside would."""

    def __init__(self, position: int) -> None:
        self.position, self.now = position, 0

    def write(self, count: int) -> int:
        """How many of `count` bytes may still be written; the caller then calls `passed`."""
        return min(count, self.position - self.now)

    def passed(self, count: int) -> None:
        self.now += count
        if self.now >= self.position:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_at(position: int, folder: Path) -> Clock:
    """Installs a kill at a position, counted over everything that is written in `folder`."""
    clock = Clock(position)
    os.fsync = lambda descriptor: None  # a moment like others, but only a power cut needs what it does, and it is slow
    _intercept_writing(folder, lambda path, mode: CountedFile(path, mode, clock))
    for name in CALLS:
        setattr(os, name, _counted(getattr(os, name), clock))
    return clock


def count_to(report: Path, folder: Path) -> None:
    """Counts positions, and writes down how many there are, without a kill."""
    clock = kill_at(sys.maxsize, folder)
    end = sys.exit

    def leave(code: Any = None) -> None:
        report.write_text(str(clock.now))
        end(code)

    sys.exit = leave


class CountedFile(io.FileIO):
    """A file whose writing stops in the middle when the clock says so."""

    def __init__(self, path: str, mode: str, clock: Clock) -> None:
        super().__init__(path, mode)
        self._clock = clock

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        written = super().write(memoryview(data).cast("B")[: self._clock.write(size)])
        self._clock.passed(written)
        return written


def _counted(call: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    @functools.wraps(call)
    def counted(*args: Any, **kwargs: Any) -> Any:
        clock.passed(MOMENT)
        result = call(*args, **kwargs)
        clock.passed(MOMENT)
        return result

    return counted


def _intercept_writing(folder: Path, make: Callable[[str, str], io.FileIO]) -> None:
    """Files of `folder` that are opened for writing are made by `make`, from path and mode."""
    plain = io.open

    def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, *args: Any, **kwargs: Any) -> Any:
        inside = isinstance(file, str | os.PathLike) and str(file).startswith(f"{folder}{os.sep}")
        if not inside or not set(mode) & set("wa+") or str(file).endswith(".lock"):
            return plain(file, mode, buffering, encoding, *args, **kwargs)
        raw = make(os.fspath(file), mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding=encoding or "utf-8")

    io.open = builtins.open = opened


# A full disk under some files.


class FullFile(io.FileIO):
    """A file on a disk with so much room: a write gets as far as there is room, and the next one is refused."""

    def __init__(self, path: str, mode: str, room: list[int]) -> None:
        super().__init__(path, mode)
        self._room = room

    def write(self, data: Any) -> int:
        part = memoryview(data).cast("B")[: self._room[0]]
        if not part and memoryview(data).nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(part)
        self._room[0] -= written
        return written


def full_for(folder: Path, names: tuple[str, ...], room: int) -> None:
    """Installs a disk that has `room` bytes for all files of `folder` with one of `names` in their paths."""
    left = [room]

    def make(path: str, mode: str) -> io.FileIO:
        return FullFile(path, mode, left) if any(name in path for name in names) else io.FileIO(path, mode)

    _intercept_writing(folder, make)


# A signal from outside, at whatever moment it comes.


def when(there: Callable[[], object], then: Callable[[], object]) -> None:
    """Does something as soon as something is there, while the command runs."""

    def watch() -> None:
        while not there():
            time.sleep(0.002)
        then()

    threading.Thread(target=watch, daemon=True).start()


def signal_when(path: Path, number: int) -> None:
    """Sends the process a signal once a path is there."""
    when(path.exists, functools.partial(os.kill, os.getpid(), number))


# Losses and gradients that are not finite.


def break_loss(samples: tuple[int, ...], kind: str, seed_of_first: bool = False) -> None:
    """In steps that begin at one of these sample numbers, the loss or its gradient is made "nan" or "inf".

    kind: "loss nan" changes the loss's value and not its gradient; "gradient inf" the gradient only.
    seed_of_first: only before any going back to a checkpoint.
    """
    what, value = kind.split()
    original = train.update.Update.backward

    def broken(self: Any, batches: Any, position: Any, first: int) -> Any:
        due = position.samples in samples and not (seed_of_first and position.rollbacks)
        outputs = original(self, batches, position, first)
        if due and what == "loss":
            outputs[-1].loss.data[0] = float(value)
        elif due:
            parameters = self.module_trainer.module.parameters()
            next(p for p in parameters if p.grad is not None).grad.view(-1)[0] = float(value)
        return outputs

    train.update.Update.backward = broken
