"""Sound chips (SPC, NSF, VGM, GBS, HES, KSS, AY, SAP) by libgme (its public header gme.h)."""

from __future__ import annotations

import ctypes as c
import zlib
from collections.abc import Iterator

import numpy as np

from dataset_processing.decode.claim import AudioError
from dataset_processing.decode.game_music.library import BLOCK_FRAMES, RATE, load

PACKAGES = "libgme0 (Debian, Ubuntu) or game-music-emu (brew)"
CHIP_SECONDS = 150.0
"""Length (s) of a song whose file states none: the chip would play for ever."""
LOOPS = 2
"""How often the loop of a song is played whose file states one."""
FADE_SECONDS = 8.0
"""Length (s) of the fade at the end of a song that would go on."""
_MAX_BYTES = 64 << 20


class _Info(c.Structure):
    """gme_info_t: lengths in milliseconds, -1 where unknown."""

    _fields_ = (
        *((name, c.c_int) for name in ("length", "intro", "loop", "play")),
        ("reserved", c.c_int * 12),
        *((name, c.c_char_p) for name in ("system", "game", "song", "author", "copyright", "comment", "dumper")),
        ("more", c.c_char_p * 9),
    )


def _library() -> c.CDLL:
    library = load("gme", "libgme.so.0", PACKAGES)
    library.gme_open_data.restype = c.c_char_p
    library.gme_open_data.argtypes = [c.c_char_p, c.c_long, c.POINTER(c.c_void_p), c.c_int]
    library.gme_delete.argtypes = library.gme_track_count.argtypes = library.gme_track_ended.argtypes = [c.c_void_p]
    library.gme_delete.restype = library.gme_free_info.restype = library.gme_ignore_silence.restype = None
    library.gme_start_track.restype = library.gme_play.restype = library.gme_track_info.restype = c.c_char_p
    library.gme_start_track.argtypes = library.gme_ignore_silence.argtypes = [c.c_void_p, c.c_int]
    library.gme_play.argtypes = [c.c_void_p, c.c_int, c.c_void_p]
    library.gme_track_info.argtypes = [c.c_void_p, c.POINTER(c.POINTER(_Info)), c.c_int]
    library.gme_free_info.argtypes = [c.POINTER(_Info)]
    return library


def songs(data: bytes) -> int:
    """How many songs a file holds.

    Raises:
        AudioError: the library is missing, or cannot read the file.
    """
    library = _library()
    emulator = _open(library, data)
    try:
        return library.gme_track_count(emulator)
    finally:
        library.gme_delete(emulator)


def render(data: bytes, song: int = 0) -> Iterator[np.ndarray]:
    """Float32 blocks (frames, 2) at `RATE` of one song (from 0), to the length that it states, else `CHIP_SECONDS`.

    Raises:
        AudioError: as `songs`; or there is no such song.
    """
    library = _library()
    emulator = _open(library, data)
    try:
        seconds, fade = _span(library, emulator, song)
        library.gme_ignore_silence(emulator, 1)
        _check(library.gme_start_track(emulator, song))
        total, faded = round((seconds + fade) * RATE), max(round(fade * RATE), 1)
        for start in range(0, total, BLOCK_FRAMES):
            if library.gme_track_ended(emulator):
                return
            block = np.zeros((min(BLOCK_FRAMES, total - start), 2), np.int16)
            _check(library.gme_play(emulator, block.size, block.ctypes.data))
            gain = (
                np.clip((total - np.arange(start, start + len(block))) / faded, 0, 1) if fade else np.ones(len(block))
            )
            yield (block * (gain[:, None] / 32768)).astype(np.float32)
    finally:
        library.gme_delete(emulator)


def _span(library: c.CDLL, emulator: c.c_void_p, song: int) -> tuple[float, float]:
    """Seconds of a song and of the fade that follows it."""
    held = c.POINTER(_Info)()
    _check(library.gme_track_info(emulator, c.byref(held), song))
    length, intro, loop = held.contents.length, held.contents.intro, held.contents.loop
    library.gme_free_info(held)
    if loop > 0:
        return min((max(intro, 0) + LOOPS * loop) / 1000, 3600.0), FADE_SECONDS
    return (min(length / 1000, 3600.0), 0.0) if length > 0 else (CHIP_SECONDS, FADE_SECONDS)


def _open(library: c.CDLL, data: bytes) -> c.c_void_p:
    data = unpacked(data)
    emulator = c.c_void_p()
    _check(library.gme_open_data(data, len(data), c.byref(emulator), RATE))
    return emulator


def _check(error: bytes | None) -> None:
    if error:
        raise AudioError(f"libgme cannot play it: {error.decode(errors='replace')}")


def unpacked(data: bytes) -> bytes:
    """The same bytes, without the gzip that .vgz files are packed in.

    Raises:
        AudioError: it is damaged, or unpacks to more than 64 MiB.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    unpacker = zlib.decompressobj(31)
    try:
        plain = unpacker.decompress(data, _MAX_BYTES)
    except zlib.error:
        raise AudioError("a damaged gzip file: it cannot be unpacked") from None
    if not unpacker.eof:
        raise AudioError("a gzip file that is truncated, or unpacks to more than 64 MiB")
    return plain
