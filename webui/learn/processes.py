"""Processes by number and start time: a number alone may have passed to another process since."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import psutil

SAME = 2.0  # seconds by which a process's start may seem to move, where the clock is set


def mark_of(pid: int) -> dict[str, Any]:
    """`{"pid", "started"}` of a process, to find it again; `started` is 0 where it is gone."""
    try:
        return {"pid": pid, "started": psutil.Process(pid).create_time()}
    except psutil.Error:
        return {"pid": pid, "started": 0.0}


def is_alive(mark: object) -> bool:
    """Whether the very process runs that a mark was made of; None and nonsense are no process."""
    try:
        process = psutil.Process(int(mark["pid"]))
        same = abs(process.create_time() - float(mark["started"])) < SAME
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, TypeError, KeyError, ValueError, OverflowError):
        return False


def send(mark: object, number: int) -> bool:
    """Sends a signal, if the process is still there; returns whether it was."""
    if not is_alive(mark):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(mark["pid"]), number)
    return True
