"""The folders of music that a visitor may choose from: those below the roots that the server was started with.

Nothing else of the machine can be named: a folder is the number of a root and names below it, and a link counts as the
place that it leads to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.refusal import RefusedError

MOST_ENTRIES = 2000  # folders that are listed at once
MOST_VISITED = 500_000  # files and folders that are looked at for links


@dataclass(frozen=True)
class Place:
    """A folder below a root: which root, and the names below it, joined by "/"; empty for the root itself."""

    root: int
    path: str


class Roots:
    """The folders that the server was started with.

    Args:
        folders: existing folders; see `Settings.check`.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [folder.resolve() for folder in folders]

    def names(self) -> list[dict[str, Any]]:
        """`[{"root": 0, "name": "music"}, ...]`: no more of their paths than the last part."""
        return [{"root": number, "name": folder.name or "/"} for number, folder in enumerate(self._folders)]

    def folder(self, place: Place) -> Path:
        """The folder on this machine.

        Raises:
            RefusedError: 404 there is no such folder; 403 it leads out of the roots.
        """
        if not 0 <= place.root < len(self._folders):
            raise RefusedError(404, "root: there is no such folder of music; start the server with --music", "root")
        parts = [part for part in place.path.split("/") if part]
        if any(part in (".", "..") or "\\" in part or "\0" in part for part in parts):
            raise RefusedError(403, "path: leads out of the folder of music", "path")
        folder = self._folders[place.root].joinpath(*parts)
        try:
            found = folder.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise RefusedError(404, "path: there is no such folder", "path") from None
        if not self.holds(found):
            raise RefusedError(403, "path: is a link that leads out of the folder of music", "path")
        if not found.is_dir():
            raise RefusedError(404, "path: is no folder", "path")
        return folder

    def holds(self, path: Path) -> bool:
        """Whether a resolved path lies in one of the roots."""
        return any(path.is_relative_to(folder) for folder in self._folders)

    def listing(self, place: Place) -> dict[str, Any]:
        """The folders in a folder, by name, hidden ones and those that lead out left out; and how many files lie there.

        Returns:
            {"root", "path", "name", "folders": [{"name", "path"}], "files", "more": whether some are not listed}
        """
        folder = self.folder(place)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name.lower())
        except OSError as error:
            raise RefusedError(403, f"path: this folder cannot be read: {error.strerror}", "path") from None
        shown = [entry.name for entry in entries if not entry.name.startswith(".") and self._is_folder(entry)]
        prefix = f"{place.path.strip('/')}/" if place.path.strip("/") else ""
        return {
            "root": place.root,
            "path": place.path.strip("/"),
            "name": folder.name or "/",
            "folders": [{"name": name, "path": prefix + name} for name in shown[:MOST_ENTRIES]],
            "files": sum(not entry.name.startswith(".") and entry.is_file(follow_symlinks=False) for entry in entries),
            "more": len(shown) > MOST_ENTRIES,
        }

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            if not entry.is_dir():
                return False
            return not entry.is_symlink() or self.holds(Path(entry.path).resolve())
        except (OSError, RuntimeError):
            return False

    def check_links(self, folder: Path) -> None:
        """The dataset commands follow links: refuses a folder in which one leads out of all roots.

        Raises:
            RefusedError: 403, with the link's name.
        """
        for count, entry in enumerate(_entries(folder)):
            if count > MOST_VISITED:
                raise RefusedError(403, f"path: holds more than {MOST_VISITED} files; choose a smaller folder", "path")
            if not entry.is_symlink():
                continue
            try:
                inside = self.holds(Path(entry.path).resolve())
            except (OSError, RuntimeError):
                continue  # a link that leads to itself: the commands leave it out
            if not inside:
                name = os.path.relpath(entry.path, folder)
                raise RefusedError(403, f"path: {name!r} is a link that leads out of the folder of music", "path")


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below a folder; links are named, not followed."""
    pending = [str(folder)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue  # the commands say so
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
