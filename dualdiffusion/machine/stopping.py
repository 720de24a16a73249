"""Signals that ask a command to stop. Imports no torch.

A command that is asked to end, or whose terminal goes away, leaves as with Ctrl-C: by an exception, so that temporary
files are removed, locks are let go and other processes of ours are ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from dualdiffusion.machine.system import HANGUP, STOP_SIGNALS


class Stopped(KeyboardInterrupt):
    """A signal has asked this process to end.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """What a process that was stopped so exits with, as shells count: 128 + the signal's number."""
    return 128 + getattr(interrupt, "number", signal.SIGINT)


def raise_when_stopped() -> None:
    """From now on such signals raise `Stopped`; those that are ignored, as by nohup, stay so."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _Once())


class _Once:
    """Raises `Stopped` once; a second request to end is followed at once, a second hangup is the same one."""

    def __init__(self) -> None:
        self._came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self._came:
            self._came = True
            raise Stopped(number)
        if number != HANGUP:  # which comes from the system and again from the shell
            os._exit(128 + number)


@contextlib.contextmanager
def stopped_by(handler: Callable[[int, FrameType | None], object], *numbers: int | None) -> Iterator[None]:
    """Inside the block these signals call `handler`, unless they are ignored, as by nohup; None stands for none."""
    before: dict[int, object] = {}
    for number in numbers:
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)  # type: ignore[arg-type]
