"""How much of a machine a process may have: open files, processes, memory that processes share. Imports no torch."""

from __future__ import annotations

import errno
import multiprocessing
import os
import tempfile

from dualdiffusion.machine import system
from dualdiffusion.machine.memory import is_out_of_memory
from dualdiffusion.machine.notices import tell_once

OPEN_FILES = 16384
"""Files that a process may have open at once, where it may raise its limit so far."""
LEAST_OPEN_FILES = 128
"""Fewer, and libraries fail in the middle of their work."""
SOCKET_PATH = 100
"""Bytes of a socket's path: systems allow 104 or 108, with a zero at the end."""
SOCKET_NAME = len("/pymp-12345678/listener-12345678")
"""What multiprocessing puts after the folder for temporary files."""


def raise_open_files() -> str | None:
    """Lets this process open more files than systems allow by default, 1,024 or 256.

    Returns:
        None; or, where it may open too few to work at all, the words that say so and what to do.
    """
    allowed = system.allow_open_files(OPEN_FILES)
    if allowed is None or allowed >= LEAST_OPEN_FILES:
        return None
    return (
        f"this process may have {allowed} files open at once and needs {LEAST_OPEN_FILES}; raise the limit with "
        "ulimit -n 4096, or start the container with --ulimit nofile=4096"
    )


def shortage(error: BaseException) -> str | None:
    """What a process ran out of, other than memory and disk, and what to do; None: it was something else."""
    number = error.errno if isinstance(error, OSError) else None
    # The last is what a process says that got a message without the open file in it.
    if number in (errno.EMFILE, errno.ENFILE) or "Too many open files" in str(error) or "of ancdata" in str(error):
        return (
            "too many files are open at once; raise the limit with ulimit -n 4096, or lower num_workers in training "
            "and processes in a dataset's config"
        )
    if number == errno.EAGAIN or "can't start new thread" in str(error):
        return (
            "the system starts no further process or thread; raise the limit (ulimit -u, or the container's "
            "--pids-limit), or lower num_workers in training and processes in a dataset's config"
        )
    if "No usable temporary directory" in str(error):
        return "there is no folder for temporary files; set TMPDIR to one that may be written to"
    return None


def no_room(error: BaseException) -> tuple[str, str] | None:
    """Why a file cannot be written, or a failing disk not be read, and what to do; None: it was something else."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOSPC:
        return "the disk is full", "free some space"
    if number == getattr(errno, "EDQUOT", -1):
        return "this account's share of the disk is full", "free some space"
    if number == errno.EFBIG:
        return (
            "a file would be larger than it may be here",
            "take another disk than FAT, or raise ulimit -f",
        )
    if number in system.FAILING:
        return f"the disk or share fails ({os.strerror(number)})", "see whether it is there"
    return None


def can_share(processes: int) -> bool:
    """Whether so many processes can have semaphores in common, as a pool of them must; told once where they cannot.

    A container may have no memory for that, or its system no such call.
    """
    context = multiprocessing.get_context("spawn")
    try:
        # As many as queues and events of a pool are made of, a page each; what is made here is given back at once.
        _ = [context.Lock() for _ in range(8 + 4 * processes)]
    except (ImportError, OSError) as error:
        if is_out_of_memory(error):
            raise
        reason = getattr(error, "strerror", None) or str(error).split(".")[0]
        tell_once(
            f"processes cannot share anything on this machine ({system.SHARED_MEMORY}: {reason}): all is done in one "
            "process, which takes longer"
        )
        return False
    return True


def too_deep_for_sockets() -> str | None:
    """The folder for temporary files where its path is too long for the sockets that processes make in it, else None.

    Through those they hand shared memory to one another; a DataLoader waits for ever for what could not be handed on.
    """
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + SOCKET_NAME > SOCKET_PATH else None


def shares(size: int, times: int) -> bool:
    """Whether processes can share memory, and there is room for `times` parts of `size` bytes, and half still left.

    It is mapped, and taken page by page: a process that finds none left is ended by the kernel.
    """
    left = system.shared_memory_left()
    if too_deep_for_sockets():
        return False
    return left is None or 2 * times * size <= left
