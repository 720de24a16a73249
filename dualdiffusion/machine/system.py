"""What only some systems have, each with a second way for the others: nothing else asks which system this is.

Locks of the kernel, hangups, held signals, groups of processes, hard links, flushed folders, limits on open files and
what a process tells of another are POSIX's or Linux's alone. Imports no torch.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import IO, Any

import psutil

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""What a terminal that goes away sends; None where there is no such signal."""
STOP_SIGNALS = tuple(number for number in (signal.SIGTERM, HANGUP) if number is not None)
"""What asks a process to end, other than Ctrl-C."""
SHARED_MEMORY = Path("/dev/shm")


def errors(*names: str) -> set[int]:
    """The numbers of those errors that this system knows."""
    return {getattr(errno, name) for name in names if hasattr(errno, name)}


FULL = errors("ENOSPC", "EDQUOT", "EFBIG")
"""What a disk says that takes no more."""
FAILING = errors("EIO", "ESTALE", "EREMOTEIO", "ENODEV", "ENOTCONN", "EHOSTDOWN", "ETIMEDOUT")
"""What a disk or share says that is damaged, or away."""


def lock(file: IO[Any]) -> None:
    """Holds an open file by the kernel's own lock, which ends with the process, however it ends.

    Raises:
        BlockingIOError: another process holds it.
        OSError: ENOSYS where the system has no such locks; others as the file system says.
    """
    if fcntl is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def link(source: Path, target: Path) -> None:
    """Gives a file a second name.

    Raises:
        FileExistsError: the name is taken.
        OSError: ENOSYS where the system has no hard links; others as the file system says.
    """
    if not hasattr(os, "link"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    os.link(source, target)


def flush_folder(folder: Path) -> None:
    """Makes changes of names in a folder survive a power cut; does nothing where the system opens no folders.

    Raises:
        OSError: as the file system says.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows, whose file system keeps a journal; or a folder that may only be written to
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def signals_held(*numbers: int) -> Iterator[None]:
    """Inside the block these signals wait; processes started in it never get any. Nothing where none can be held."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let the signals through again if it were started inside
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set(numbers))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def group_of_its_own() -> dict[str, Any]:
    """Arguments that start a process which Ctrl-C in our terminal does not reach, for `subprocess` and `asyncio`."""
    if hasattr(os, "setsid"):
        return {"start_new_session": True}
    return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}


def end_group(process: int) -> None:
    """Ends a process that was started with `group_of_its_own`, and what it started, at once."""
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        if hasattr(os, "killpg"):
            os.killpg(process, getattr(signal, "SIGKILL", signal.SIGTERM))
            return
        parent = psutil.Process(process)
        for each in [*parent.children(recursive=True), parent]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def was_killed(code: int) -> bool:
    """Whether a process's exit code says that it was ended at once, as the kernel does where memory runs out."""
    return code == -int(getattr(signal, "SIGKILL", 9))


def is_parent(process: int) -> bool:
    """Whether a process that started this one still runs."""
    # Where orphans are not adopted by another process, they keep the number of the one that has ended.
    return os.getppid() == process and (hasattr(os, "fork") or psutil.pid_exists(process))


def process_text(process: int | None, what: str) -> bytes:
    """The words of a process's command line, or its environment as NAME=VALUE, each ended by a zero byte.

    Args:
        process: None for this one.
        what: "cmdline" or "environ".

    Returns:
        As it was started, where the system tells that; empty where the process is gone or nothing is told.
    """
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process or 'self'}/{what}").read_bytes()
    with contextlib.suppress(psutil.Error, OSError):
        of = psutil.Process(process)
        words = of.cmdline() if what == "cmdline" else [f"{name}={value}" for name, value in of.environ().items()]
        return b"".join(os.fsencode(word) + b"\0" for word in words)
    return b""


def allowed_processors() -> set[int]:
    """Numbers of the processors that the scheduler may put us on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def processor_description() -> str:
    """What the system says of its first processor; empty where it says nothing."""
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return ""


def allow_open_files(wanted: int) -> int | None:
    """Raises this process's limit of open files to `wanted`, or as far as it may be.

    Returns:
        How many may then be open; None where there is no such limit.
    """
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    for value in (wanted, 10240):  # as macOS has a limit of its own beside the hard one, 10240
        value = value if hard == endless else min(value, hard)
        if soft == endless or soft >= value:
            break
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (value, hard))
            soft = value
    return None if soft == endless else soft


def limit_memory(most: int) -> None:
    """Lets this process, and what it starts, have so many bytes of address space, where there are such limits."""
    if resource is not None:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


def shared_memory_left() -> int | None:
    """Bytes of memory that processes may still share; None where that is not bounded by a file system of its own."""
    try:
        return shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return None


def user_id() -> int | str:
    """The number of the account; "unknown" where accounts have none."""
    return os.getuid() if hasattr(os, "getuid") else "unknown"
