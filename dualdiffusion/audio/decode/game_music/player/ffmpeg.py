"""Game music by the program `ffmpeg`, where it was built with a library that the system does not have by itself.

FFmpeg's own documentation of its demuxers says the options: https://ffmpeg.org/ffmpeg-formats.html. It tells of a song
what it prints of any input: its length, where the file states one, and tags.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

from library import BLOCK_FRAMES, CannotPlayError, MissingLibraryError, text_of

# By the reader that it stands for: demuxer, its option for the song, what its samples are, and bytes of one.
_WAYS = {"gme": ("libgme", "-track_index", "s16le", 2), "openmpt": ("libopenmpt", "-subsong", "f32le", 4)}
_NAMES = {"song": "title", "game": "album", "author": "artist", "title": "title", "artist": "artist"}
_NAMES |= {"copyright": "copyright", "comment": "comment", "date": "date"}
_INPUT = "file:/dev/stdin"  # which is a file, so that it can be searched


class Player:
    """The music on the standard input. reader: as in `__main__`; rate: of what is played (Hz).

    Raises:
        MissingLibraryError: there is no such program, it was built without the library, or plays no such music.
        CannotPlayError: it cannot read the music.
    """

    def __init__(self, reader: str, rate: int) -> None:
        if reader not in _WAYS:
            raise MissingLibraryError
        self._demuxer, self._option, self._samples, self._bytes = _WAYS[reader]
        self._rate, self._program = rate, shutil.which("ffmpeg") or ""
        if os.name == "nt" or not self._program:
            raise MissingLibraryError
        known = subprocess.run([self._program, "-hide_banner", "-demuxers"], capture_output=True, check=False).stdout
        if not re.search(rf"^\s*D\S*\s+{self._demuxer}\b", _lines(known), re.MULTILINE):
            raise MissingLibraryError
        first = self._told(0)
        self._songs = [first, *(self._told(place) for place in range(1, int(first.pop("tracks", None) or 1)))]
        for song in self._songs:
            song.pop("tracks", None)

    def songs(self) -> list[dict[str, str | float | None]]:
        """What it tells of each song: length in s, None where the file does not say, and texts."""
        return self._songs

    def _told(self, place: int) -> dict[str, str | float | None]:
        result = subprocess.run(self._command(place), stdin=self._stdin(), capture_output=True, check=False)
        text = _lines(result.stderr)
        if "Input #0" not in text:
            raise CannotPlayError(text_of(result.stderr.strip().splitlines()[-1] if result.stderr.strip() else b""))
        found = re.search(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", text)
        length = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None
        lines = re.findall(r"^ +(\w+) *: (.*)$", text, re.MULTILINE)
        texts: dict[str, str | float | None] = {_NAMES[key]: value for key, value in lines if key in _NAMES}
        tracks = next((value for key, value in lines if key == "tracks" and value.isdigit()), None)
        known = {"length": length, "tracks": tracks, **dict.fromkeys(_NAMES.values(), ""), **texts}
        # That a module has no loop is what tells it from a chip, whose loops FFmpeg does not tell.
        return known | ({"intro": None, "loop": None} if self._demuxer == "libgme" else {})

    def blocks(self, place: int) -> Iterator[bytes]:
        """Blocks of interleaved stereo samples of one song (from 0), for as long as it plays."""
        output = ["-ar", str(self._rate), "-ac", "2", "-f", self._samples, "pipe:1"]
        command = [*self._command(place), *output]
        with subprocess.Popen(
            command, stdin=self._stdin(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            while block := process.stdout.read(BLOCK_FRAMES * 2 * self._bytes):
                yield block

    def _command(self, place: int) -> list[str]:
        return [self._program, "-hide_banner", "-nostdin", "-f", self._demuxer, self._option, str(place), "-i", _INPUT]

    @staticmethod
    def _stdin() -> int:
        os.lseek(0, 0, os.SEEK_SET)  # where the file has one position, whoever reads it
        return 0


def _lines(data: bytes) -> str:
    return data.decode(errors="replace")
