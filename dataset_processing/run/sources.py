"""Finding the files of a source folder: every file is listed, and what is not a track says why."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dataset_processing.decode.sniff import AUDIO_EXTENSIONS, SCORE_EXTENSIONS, SIDE_EXTENSIONS, extension_of
from dataset_processing.run.names import Names, readable
from dataset_processing.step import Record

_RECORDINGS = AUDIO_EXTENSIONS - SCORE_EXTENSIONS
_UNFINISHED = ("part", "partial", "crdownload", "download", "tmp", "!ut", "!qb", "aria2")


@dataclass(frozen=True)
class Found:
    """A path below the source folder; `problem` says why it is not read."""

    file: str
    problem: str = ""
    size: int = 0
    mtime_ns: int = 0


def list_records(source: Path, names: Names) -> list[Record]:
    """One record per file, sorted by path; those that may be tracks are named, all others are refused."""
    records = []
    files = sorted(walk(source), key=lambda found: found.file)
    recordings = {_stem(found.file) for found in files if extension_of(found.file) in _RECORDINGS}
    for found in files:
        record = _judge(found)
        if extension_of(found.file) in SCORE_EXTENSIONS and _stem(found.file) in recordings:
            record = record.refused("the score of the recording beside it", audio=False)
        if record.kept:
            folder, track = names.assign(record.file, record.game)
            record = replace(record, folder=folder, track=track)
        records.append(record)
    return records


def _stem(file: str) -> str:
    """The path without its extension."""
    return file.rpartition(".")[0]


def _judge(found: Found) -> Record:
    """The record of a file as far as its name and place tell."""
    *parents, name = found.file.split("/")
    game = readable(parents[0]) if parents else ""
    extension = extension_of(name)
    audio = extension in AUDIO_EXTENSIONS
    record = Record(found.file, game, audio=audio or extension not in SIDE_EXTENSIONS)
    if name.startswith("."):
        if not extension_of(name.strip(".")) and not name.startswith(".."):
            return record.refused("a hidden file (its name starts with a dot)", audio=False)
        if name.strip(".") not in AUDIO_EXTENSIONS:
            return record.refused("a hidden file (its name starts with a dot)", audio=False)
    if found.problem:
        return record.refused(found.problem, audio=audio)
    if extension in _UNFINISHED:
        inner = extension_of(name[: -len(extension) - 1])
        return record.refused(f"an unfinished download (.{extension})", audio=inner in AUDIO_EXTENSIONS)
    if extension in SIDE_EXTENSIONS:
        return record.refused(f"not audio (.{extension})", audio=False)
    if not parents:
        return record.refused(
            "lies directly in the source folder: put it into a folder named after its game", audio=audio
        )
    return replace(record, identity=(found.size, found.mtime_ns))


def walk(source: Path) -> Iterator[Found]:
    """All files below `source`. Links to folders are followed, but every folder is read once.

    Real folders come before links to them, so that a link never takes a folder's tracks over to another game.
    """
    visited: set[tuple[int, int]] = set()
    pending: list[str] = [""]
    links: list[str] = []
    while pending or links:
        is_link = not pending
        folder = links.pop(0) if is_link else pending.pop()
        try:
            status = os.stat(source / folder)
            if (status.st_dev, status.st_ino) in visited:
                yield Found(folder, "a link to a folder that is read already")
                continue
            visited.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(source / folder), key=lambda entry: entry.name)
        except OSError as error:
            yield Found(folder or ".", f"this folder cannot be read: {error.strerror}")
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            is_folder = _is_folder(entry)
            if is_folder and not entry.name.startswith("."):
                (links if entry.is_symlink() else pending).append(path)
            elif is_folder:
                yield Found(path, "a hidden folder (its name starts with a dot)")
            else:
                yield _look(entry, path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or into a folder that may not be read
        return False


def _look(entry: os.DirEntry[str], path: str) -> Found:
    try:
        status = entry.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return Found(path, "a symbolic link that leads to itself")
        if entry.is_symlink():
            return Found(path, f"a broken symbolic link (to {os.readlink(entry.path)!r})")
        return Found(path, f"cannot be read: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return Found(path, "not a regular file (a pipe, socket or device)")
    return Found(path, "", status.st_size, status.st_mtime_ns)
