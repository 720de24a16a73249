"""Flushing and naming files by whatever means the file system has. Imports no torch.

Shares of other machines, FUSE mounts, USB sticks and some volumes of containers lack hard links, or refuse to flush a
folder or even a file. Each has a second way here, and is told of once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from dualdiffusion.machine import system
from dualdiffusion.machine.notices import tell_once

# What is lost when a file or folder is flushed; anything else is a file system that does not do this.
LOST = system.FAILING | system.FULL
# What making a name says for reasons that are no lack of links.
NO_NAME = system.errors("EEXIST", "ENOENT", "EROFS", "ENAMETOOLONG", "ENOTDIR") | LOST
# Windows renames over no file that another program has just opened, such as one that looks for viruses.
TRIES, PAUSE = 20, 0.05  # seconds


def sync_file(path: Path) -> None:
    """Flushes a finished file's contents to the disk.

    Raises:
        OSError: they cannot be written, such as to a full or a failing disk, or a share that is away.
    """
    with open(path, "rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            # What is lost is safety from power cuts; a full or failing disk is another matter.
            if error.errno in LOST:
                raise
            _tell_unsynced(path.parent, "files")


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut, where the system and the file system can do that.

    Raises:
        OSError: the disk is full or failing, or the share away.
    """
    try:
        system.flush_folder(folder)
    except OSError as error:
        if error.errno in LOST:
            raise
        _tell_unsynced(folder, "folders")


def _tell_unsynced(folder: Path, what: str) -> None:
    # Named by its device, as a run writes to many folders of one file system.
    tell_once(
        f"the file system of {_mount_of(folder)} does not flush {what}: a power cut may lose what was written last"
    )


def _mount_of(folder: Path) -> Path:
    """The highest folder on the same device."""
    folder = Path(os.path.abspath(folder))
    with contextlib.suppress(OSError):
        device = folder.stat().st_dev
        while folder.parent != folder and folder.parent.stat().st_dev == device:
            folder = folder.parent
    return folder


def replace(source: Path, target: Path) -> None:
    """Renames a file over another, or to a new name.

    Raises:
        OSError: it cannot be done.
    """
    for left in reversed(range(TRIES)):
        try:
            os.replace(source, target)
            return
        except PermissionError as error:
            if not left or getattr(error, "winerror", None) is None:
                raise
            time.sleep(PAUSE)


def give_name(temporary: Path, path: Path) -> None:
    """Makes a finished file known by a name that, unlike with a rename, no other process can have taken just now.

    The temporary may be gone afterwards (where there are no links), or may still be there: remove it then.

    Raises:
        FileExistsError: the name is taken.
        OSError: neither way works.
    """
    try:
        system.link(temporary, path)
    except OSError as error:
        if error.errno in NO_NAME:
            raise
        # Made empty first, which fails where the name is taken: a rename alone would replace what is there.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            replace(temporary, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        tell_once(f"the file system of {_mount_of(path.parent)} has no hard links: names are taken before files are")


def copy_files(source: Path, target: Path) -> None:
    """Copies the files of a folder and of its subfolders; not their permissions, which many shares let nobody set.

    Raises:
        OSError: such as a full disk.
    """
    for path in sorted(source.rglob("*")):
        if path.is_file():
            to = target / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
