"""Faults of the machine around a command, installed in the fork that it runs in (see tests/commands.py)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable

NEW_MOUNTS = 0x00020000  # unshare(2): mounts that no other process sees


def closed_pipe() -> None:
    """Whoever read our output has gone, as `head -1` does, or a program that keeps a log."""
    reader, writer = os.pipe()
    os.close(reader)
    _print_to(writer)


def stuck_pipe() -> None:
    """Whoever reads our output has stopped reading; the pipe is full."""
    _, writer = os.pipe()
    room = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, bytes(room))
    _print_to(writer)


def lost_terminal() -> None:
    """Our terminal's window was closed."""
    master, slave = os.openpty()
    os.close(master)
    _print_to(slave)


def stuck_terminal() -> None:
    """Our terminal shows nothing any more, as over a connection that hangs, and Ctrl-S has been pressed in it."""
    master, slave = os.openpty()
    os.write(master, b"\x13")
    _print_to(slave)


def full_log() -> None:
    """Our output goes to a log on a full disk."""
    _print_to(os.open("/dev/full", os.O_WRONLY))


READERS: list[Callable[[], None]] = [closed_pipe, stuck_pipe, lost_terminal, stuck_terminal, full_log]


def _print_to(descriptor: int) -> None:
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def small_shared_memory(size: str) -> None:
    """/dev/shm has `size`, such as "64m", as containers have it; needs root.

    Raises:
        OSError: it cannot be made small here.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    for words in (["--make-rprivate", "/"], ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", "/dev/shm"]):
        if subprocess.run(["mount", *words], capture_output=True).returncode:
            raise OSError("mount")


def can_mount() -> bool:
    """Whether `small_shared_memory` works here, tried in another process."""
    code = "from tests.odd_machines import small_shared_memory; small_shared_memory('1m')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
