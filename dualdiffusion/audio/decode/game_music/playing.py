"""Game music played by another process: its songs, and how they sound. A crash there is a sentence here."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dualdiffusion.audio.decode.claim import AudioError
from dualdiffusion.audio.decode.game_music.fades import fades
from dualdiffusion.audio.decode.game_music.gd3 import vgm_tags
from dualdiffusion.audio.decode.game_music.song import Song, Take, tags_of

RATE = 48_000
"""Sample rate (Hz) at which game music is rendered, whatever a chip's own: libgme crashes at 32000, that of an SPC."""
_PLAYER = Path(__file__).parent / "player"
_READ_FRAMES = 1 << 15
_Told = dict[str, str | float | None]  # what a player knows of a song
_Player = subprocess.Popen[bytes]
_TAGS = ("title", "artist", "album", "date", "comment", "copyright")


class MissingLibraryError(OSError):
    """The library that reads a format is not installed.

    An OSError and no AudioError: nothing is wrong with the file, so that the next run tries it again.
    """


@dataclass(frozen=True)
class Library:
    """A C library.

    Attributes:
        reader: the file of `player/` that calls it.
        name, file: what the system's search, and the shared object, call it.
        packages: what to install for it.
        dtype: of its samples.
        is_in_ffmpeg: whether an ffmpeg that was built with it plays the same.
    """

    reader: str
    name: str
    file: str
    packages: str
    dtype: str
    is_in_ffmpeg: bool = True


LIBRARIES = {
    "gme": Library("gme", "gme", "libgme.so.0", "libgme0 (Debian) or game-music-emu (brew)", "<i2"),
    "openmpt": Library("openmpt", "openmpt", "libopenmpt.so.0", "libopenmpt0 (Debian) or libopenmpt (brew)", "<f4"),
    "fluidsynth": Library(
        "fluidsynth",
        "fluidsynth",
        "libfluidsynth.so.3",
        "libfluidsynth3 and timgm6mb-soundfont (Debian) or fluid-synth and a General MIDI sound font (brew)",
        "<f4",
        is_in_ffmpeg=False,
    ),
}


def songs(library: Library, data: bytes) -> tuple[Song, ...]:
    """The songs of a file.

    Raises:
        MissingLibraryError: the library is not installed.
        AudioError: it cannot read the file.
    """
    with _started(library, data) as (_, told):
        return tuple(_song(known, fade, data) for known, fade in zip(told, fades(data, len(told)), strict=True))


def _song(told: _Told, fade: float | None, data: bytes) -> Song:
    tags = vgm_tags(data) or tags_of(**{name: told.get(name, "") for name in _TAGS})
    length, loop = told["length"], told.get("loop")
    if loop:
        return Song(None, fade, told["intro"] or 0.0, loop, tags)
    if "loop" not in told or data.startswith((b"Vgm ", b"GYMX")):  # it really ends: module, score, log of a chip
        fade = 0.0
    return Song(length, fade if length is not None else None, tags=tags)


def render(library: Library, data: bytes, take: Take) -> Iterator[np.ndarray]:
    """Float32 blocks (frames, 2) at `RATE` of one song, to the end of the take; modules are played once to theirs.

    Raises:
        MissingLibraryError, AudioError: as `songs`; AudioError also if there is no such song.
    """
    with _started(library, data, take.number - 1) as (player, told):
        if not 0 < take.number <= len(told):
            raise AudioError(f"a file of {len(told)} songs, which holds no song {take.number}")
        if "loop" not in told[0]:  # it ends by itself, and its last note fades a little longer than is stated
            take = replace(take, seconds=take.seconds + 1)
        yield from take.finish(_blocks(library, player), RATE)


def _blocks(library: Library, player: _Player) -> Iterator[np.ndarray]:
    dtype = np.dtype(library.dtype)
    scale = np.float32(1 if dtype.kind == "f" else 2.0**-15)
    while data := player.stdout.read(_READ_FRAMES * 2 * dtype.itemsize):
        whole = len(data) // (2 * dtype.itemsize) * 2
        yield np.frombuffer(data, dtype, whole).reshape(-1, 2).astype(np.float32) * scale
    if player.wait():
        raise _crash(library, player)


@contextmanager
def _started(library: Library, data: bytes, song: int | None = None) -> Iterator[tuple[_Player, list[_Told]]]:
    """A player with `data`: (its process, which goes on with the samples of a song; what it knows of all songs)."""
    command = [sys.executable, "-I", "-S", str(_PLAYER), library.reader, library.name, library.file, str(RATE)]
    command += [] if song is None else [str(song)]
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        player = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with player:
        try:
            yield player, _answer(library, player)
        finally:
            player.kill()


def _answer(library: Library, player: _Player) -> list[_Told]:
    line = player.stdout.readline()
    if not line.endswith(b"\n"):
        player.wait()
        raise _crash(library, player)
    answer = json.loads(line)
    if "missing" in answer:
        needed = f"needs the library lib{library.reader}; install {library.packages} and run again"
        raise MissingLibraryError(f"{needed}, or an ffmpeg that has it" if library.is_in_ffmpeg else needed)
    if "error" in answer:
        raise AudioError(f"damaged or truncated: lib{library.reader} cannot play it ({answer['error']})")
    return answer["songs"]


def _crash(library: Library, player: _Player) -> Exception:
    """Why a player has ended without a word; what the system kills, it kills for want of memory."""
    if player.returncode == -9:
        return MemoryError()
    return AudioError(f"damaged: lib{library.reader} crashes on it, or does not come back")
