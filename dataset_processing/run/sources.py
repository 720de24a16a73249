"""Finding the files of a source folder: every file is listed, and what is not a track says why."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dataset_processing.run.names import Names, readable
from dataset_processing.run.system_folders import LEFT_OUT, why_left_out
from dataset_processing.step import Record
from dualdiffusion.audio.decode.sniff import AUDIO_EXTENSIONS, SCORE_EXTENSIONS, SIDE_EXTENSIONS, extension_of

_RECORDINGS = AUDIO_EXTENSIONS - SCORE_EXTENSIONS
_UNFINISHED = (
    *("part", "partial", "filepart", "crdownload", "opdownload", "download", "tmp", "aria2"),
    *("!ut", "!qb", "!bt", "bc!", "!sync"),
)


@dataclass(frozen=True)
class Found:
    """A path below the source folder; `problem` says why it is not read.

    away: there should be something, maybe a whole folder of music, that cannot be reached now.
    """

    file: str
    problem: str = ""
    size: int = 0
    mtime_ns: int = 0
    away: bool = False


def list_records(source: Path, names: Names, dataset: Path | None = None) -> list[Record]:
    """One record per file, sorted by path; those that may be tracks are named, all others are refused.

    A link does not lead into `dataset`, which is made from the source.
    """
    records = []
    files = sorted(walk(source, dataset), key=lambda found: found.file)
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
    if found.problem.startswith(LEFT_OUT):
        return record.refused(found.problem, audio=False)
    if name.startswith("._"):
        return record.refused("what a Mac keeps beside a file on other disks, not the file itself", audio=False)
    if name.startswith("."):
        if not extension_of(name.strip(".")) and not name.startswith(".."):
            return record.refused("a hidden file (its name starts with a dot)", audio=False)
        if name.strip(".") not in AUDIO_EXTENSIONS:
            return record.refused("a hidden file (its name starts with a dot)", audio=False)
    if found.problem:
        return record.refused(found.problem, audio=audio or found.away)
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


def walk(source: Path, avoid: Path | None = None) -> Iterator[Found]:
    """All files below `source`. Links to folders are followed, but every folder is read once, and `avoid` never.

    Real folders come before links to them, so that a link never takes a folder's tracks over to another game.
    """
    root = source.resolve()
    visited = dict.fromkeys(map(_place, root.parents), "a link to a folder that holds the source itself")
    if avoid is not None and avoid.is_dir():
        visited[_place(avoid)] = "a link to the dataset that is made from the source"
    pending: list[str] = [""]
    links: list[str] = []
    while pending or links:
        is_link = not pending
        folder = links.pop(0) if is_link else pending.pop()
        try:
            if is_link and (problem := _inside_left_out(root, root / folder)):
                yield Found(folder, problem)
                continue
            place = _place(source / folder)
            if place in visited:
                yield Found(folder, visited[place])
                continue
            visited[place] = "a link to a folder that is read already"
            entries = sorted(os.scandir(source / folder), key=lambda entry: entry.name)
        except OSError as error:
            yield Found(folder or ".", f"this folder cannot be read: {error.strerror}", away=True)
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not _is_folder(entry):
                yield _look(entry, path)
            elif problem := why_left_out(entry.name):
                yield Found(path, problem)
            else:
                (links if entry.is_symlink() else pending).append(path)


def _place(folder: Path) -> tuple[int, int]:
    """What a folder is, whatever path leads to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _inside_left_out(root: Path, link: Path) -> str:
    """Why the folder below `root` that a link leads into is left out, if it is: it may go to yesterday's snapshot."""
    target = link.resolve()
    if not target.is_relative_to(root):
        return ""
    return next(filter(None, map(why_left_out, target.relative_to(root).parts)), "")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or into a folder that may not be read
        return False


def _look(entry: os.DirEntry[str], path: str) -> Found:
    try:
        status = entry.stat()
    except OSError as error:
        away = extension_of(entry.name) not in SIDE_EXTENSIONS and not entry.name.startswith(".")
        if error.errno == errno.ELOOP:
            return Found(path, "a symbolic link that leads to itself", away=away)
        if entry.is_symlink():
            return Found(path, f"a broken symbolic link (to {os.readlink(entry.path)!r})", away=away)
        return Found(path, f"cannot be read: {error.strerror}", away=away)
    if not stat.S_ISREG(status.st_mode):
        return Found(path, "not a regular file (a pipe, socket or device)")
    return Found(path, "", status.st_size, status.st_mtime_ns)
