"""Output names: safe on every file system, never shared by two sources, and stable when files are added."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from dualdiffusion.files import read_json, write_json

MAX_BYTES = 160
"""Longest name in bytes of UTF-8, without suffix: file systems allow 255, archives and other tools less."""

_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_AMIGA = ("mod", "xm", "it", "s3m", "med", "okt")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def readable(name: str) -> str:
    """A file name as text: bytes that are not UTF-8 are read as Latin-1, and composed characters are used (NFC)."""
    text = "".join(bytes([ord(c) - 0xDC00]).decode("latin-1") if 0xDC80 <= ord(c) <= 0xDCFF else c for c in name)
    return unicodedata.normalize("NFC", text)


def safe_name(name: str) -> str:
    """`name` as a file name that Linux, macOS and Windows accept, and that no command takes for an option."""
    text = _FORBIDDEN.sub("_", readable(name))
    text = "".join("_" if unicodedata.category(c)[0] == "C" and c not in "\u200c\u200d" else c for c in text)
    text = re.sub(r"^[-.~\s]", "_", text.rstrip(" .")) or "_"
    if _RESERVED.fullmatch(text):
        text = f"_{text}"
    return _cut(text, MAX_BYTES)


def stem_of(name: str) -> str:
    """A file name without its extension; Amigas put it first (`mod.title`), and there the whole name stays."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and len(extension) <= 5 and stem.lower() not in _AMIGA else name


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode("utf-8", "ignore").rstrip(" .")


def _mark(identity: str) -> str:
    return "~" + hashlib.sha256(os.fsencode(identity)).hexdigest()[:8]


@dataclass
class Names:
    """The names given so far. A file keeps its name for as long as it is there, whatever is added beside it.

    Where two sources want one name (also if they differ only in case), the first by path gets it and the other gets a
    mark made from its path.
    """

    folders: dict[str, str] = field(default_factory=dict)
    tracks: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    @staticmethod
    def load(path: Path) -> Names:
        """The names that were saved, or none yet."""
        data: dict[str, dict[str, str]] = read_json(path) if path.exists() else {"folders": {}, "tracks": {}}
        names = Names(data["folders"], data["tracks"])
        names._taken = {folder.casefold() for folder in names.folders.values()}
        names._taken |= {track.casefold() for track in names.tracks.values()}
        return names

    def save(self, path: Path) -> None:
        """Writes the names, where they have changed."""
        data = {"folders": dict(sorted(self.folders.items())), "tracks": dict(sorted(self.tracks.items()))}
        if not path.exists() or read_json(path) != data:
            write_json(path, data)

    def assign(self, file: str, game: str, song: str = "") -> tuple[str, str]:
        """(folder, track) of a source file, or of one of its songs; to be called in the order of paths.

        Args:
            file: path relative to the source folder; of a song, with the song's number behind it.
            game: the first level of the path.
            song: what stands behind the file's name where the file holds several songs.
        """
        if game not in self.folders:
            self.folders[game] = self._free("", safe_name(game), game)
        folder = self.folders[game]
        if file not in self.tracks:
            inner = file.split("/")[1 : -1 if song else None]
            wanted = " - ".join([*inner[:-1], stem_of(inner[-1])]) + (f" {song}" if song else "")
            self.tracks[file] = folder + "/" + self._free(folder + "/", safe_name(wanted), file)
        return folder, self.tracks[file].partition("/")[2]

    def _free(self, prefix: str, wanted: str, identity: str) -> str:
        name = wanted
        if (prefix + name).casefold() in self._taken:
            name = _cut(wanted, MAX_BYTES - 9) + _mark(identity)
        self._taken.add((prefix + name).casefold())
        return name

    def forget(self, present: set[str]) -> list[str]:
        """Drops files that are not in `present`; returns their names (`folder/track`)."""
        gone = [file for file in self.tracks if file not in present]
        return [self.tracks.pop(file) for file in gone]
