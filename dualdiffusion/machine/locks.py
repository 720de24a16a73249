"""Holding a file for one process, by whatever means the system and the file system have. Imports no torch.

The kernel's own locks end with their process, however it ends. Some file systems have none (Lustre, some NFS and FUSE
mounts, some container volumes): there a second file stands for the lock and names its owner, and one whose owner is no
longer alive counts for nothing.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import IO

import psutil

from dualdiffusion.machine import system
from dualdiffusion.machine.notices import tell_once

# What a lock on a share of Windows says while another machine holds it; anything else means that there are none.
HELD = system.errors("EACCES")
MARK_SUFFIX = ".held"


class FileLock:
    """A lock on an open file.

    Args:
        file: opened for reading and writing; it may hold anything.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._mark = Path(f"{file.name}{MARK_SUFFIX}")
        self._by_mark = False

    def try_acquire(self) -> str | None:
        """Takes the lock if it is free.

        Returns:
            None: this process now holds it. Else the words for who does, such as "process 12".
        """
        if not self._by_mark:
            try:
                system.lock(self._file)
                return None
            except BlockingIOError:
                self._file.seek(0)
                return f"process {self._file.read().strip() or 'unknown'}"
            except OSError as error:
                if error.errno in HELD:
                    return "another process (or this file system grants no locks: then take a folder on another disk)"
            self._by_mark = True
            tell_once(f"{self._mark.parent}: this file system has no locks; {self._mark.name} stands for one")
        return self._try_mark()

    def release(self) -> None:
        """Lets go; the kernel's own lock ends when the file is closed."""
        if self._by_mark and _owner(self._mark) == _this_process():
            self._mark.unlink(missing_ok=True)

    def _try_mark(self) -> str | None:
        try:
            descriptor = os.open(self._mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            owner = _owner(self._mark)
            if owner and not _is_gone(owner):
                where = "" if owner["host"] == socket.gethostname() else f" on {owner['host']}"
                return f"process {owner['process']}{where} (if that has ended: remove {self._mark})"
            # Renamed first, to a name of our own: of two processes that find it left behind, only one may go on.
            aside = self._mark.with_name(f"{self._mark.name}-{os.getpid()}")
            try:
                os.replace(self._mark, aside)
            except FileNotFoundError:
                return "another process"  # which was faster
            aside.unlink(missing_ok=True)
            return self._try_mark()
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(_this_process(), file)
        return None


def _this_process() -> dict[str, str | int | float]:
    """What tells this process from any other, also from a later one with the same number."""
    return {"process": os.getpid(), "started": psutil.Process().create_time(), "host": socket.gethostname()}


def _owner(mark: Path) -> dict[str, str | int | float] | None:
    """The process that a mark names; None where it is not there, or not whole."""
    try:
        owner = json.loads(mark.read_text(encoding="utf-8"))
        return {"process": int(owner["process"]), "started": float(owner["started"]), "host": str(owner["host"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_gone(owner: dict[str, str | int | float]) -> bool:
    """Whether a process of this machine has ended; of another machine's nothing can be told."""
    if owner["host"] != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(owner["process"])).create_time() - float(owner["started"])) > 1
    except psutil.NoSuchProcess:
        return True
