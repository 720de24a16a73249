"""Sound chips (SPC, NSF, VGM, GBS, HES, KSS, AY, SAP, GYM) by libgme (its public header gme.h, version 0.6)."""

from __future__ import annotations

import ctypes as c
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from dataset_processing.decode.claim import AudioError
from dataset_processing.decode.game_music.fades import fades
from dataset_processing.decode.game_music.gd3 import vgm_tags
from dataset_processing.decode.game_music.library import BLOCK_FRAMES, RATE, load, text_of
from dataset_processing.decode.game_music.song import Song, Take, number_of, tags_of

PACKAGES = "libgme0 (Debian, Ubuntu), game-music-emu (brew, Fedora, Arch)"
_MAX_BYTES = 64 << 20


class _Info(c.Structure):
    """gme_info_t: lengths in milliseconds, -1 where unknown."""

    _fields_ = (
        *((name, c.c_int) for name in ("length", "intro", "loop", "play")),
        ("reserved", c.c_int * 12),
        *((name, c.c_char_p) for name in ("system", "game", "song", "author", "copyright", "comment", "dumper")),
        ("more", c.c_char_p * 9),
    )


def library() -> c.CDLL:
    """libgme.

    Raises:
        MissingLibraryError: it is not installed.
    """
    gme = load("gme", "libgme.so.0", PACKAGES)
    gme.gme_open_data.restype = c.c_char_p
    gme.gme_open_data.argtypes = [c.c_char_p, c.c_long, c.POINTER(c.c_void_p), c.c_int]
    gme.gme_delete.argtypes = gme.gme_track_count.argtypes = gme.gme_track_ended.argtypes = [c.c_void_p]
    gme.gme_delete.restype = gme.gme_free_info.restype = gme.gme_ignore_silence.restype = None
    gme.gme_start_track.restype = gme.gme_play.restype = gme.gme_track_info.restype = c.c_char_p
    gme.gme_start_track.argtypes = gme.gme_ignore_silence.argtypes = [c.c_void_p, c.c_int]
    if hasattr(gme, "gme_set_autoload_playback_limit"):
        gme.gme_set_autoload_playback_limit.argtypes = [c.c_void_p, c.c_int]
        gme.gme_set_autoload_playback_limit.restype = None
    gme.gme_play.argtypes = [c.c_void_p, c.c_int, c.c_void_p]
    gme.gme_track_info.argtypes = [c.c_void_p, c.POINTER(c.POINTER(_Info)), c.c_int]
    gme.gme_free_info.argtypes = [c.POINTER(_Info)]
    return gme


def songs(data: bytes) -> list[Song]:
    """The songs of a file.

    Raises:
        MissingLibraryError: the library is not installed.
        AudioError: it cannot read the file.
    """
    with _opened(data) as (gme, emulator):
        count = gme.gme_track_count(emulator)
        return [_song(gme, emulator, place, fade, data) for place, fade in enumerate(fades(data, count))]


def render(data: bytes, take: Take) -> Iterator[np.ndarray]:
    """Float32 blocks (frames, 2) of a song at `RATE`, to the end of the take.

    Raises:
        MissingLibraryError, AudioError: as `songs`; AudioError also if there is no such song.
    """
    with _opened(data) as (gme, emulator):
        place = number_of(take, gme.gme_track_count(emulator), "game music")
        gme.gme_ignore_silence(emulator, 1)
        if hasattr(gme, "gme_set_autoload_playback_limit"):  # since 0.6.3: else it fades by itself
            gme.gme_set_autoload_playback_limit(emulator, 0)
        _check(gme.gme_start_track(emulator, place))
        yield from take.finish(_blocks(gme, emulator), RATE)


def _blocks(gme: c.CDLL, emulator: c.c_void_p) -> Iterator[np.ndarray]:
    while not gme.gme_track_ended(emulator):
        block = np.zeros((BLOCK_FRAMES, 2), np.int16)
        _check(gme.gme_play(emulator, block.size, block.ctypes.data))
        yield block * np.float32(1 / 32768)


def _song(gme: c.CDLL, emulator: c.c_void_p, place: int, fade: float | None, data: bytes) -> Song:
    held = c.POINTER(_Info)()
    _check(gme.gme_track_info(emulator, c.byref(held), place))
    info = held.contents
    texts = {name: text_of(getattr(info, name)) for name in ("song", "game", "author", "copyright", "comment")}
    length, intro, loop = info.length, max(info.intro, 0), max(info.loop, 0)
    gme.gme_free_info(held)
    is_log = data.startswith((b"Vgm ", b"GYMX"))  # of what a game wrote to its chips: without a loop, it really ends
    tags = (vgm_tags(data) if data.startswith(b"Vgm ") else {}) or tags_of(
        title=texts["song"],
        artist=texts["author"],
        album=texts["game"],
        comment=texts["comment"],
        copyright=texts["copyright"],
    )
    if loop:
        return Song(None, fade, intro / 1000, loop / 1000, tags)
    if length <= 0:
        return Song(tags=tags)
    return Song(length / 1000, 0.0 if is_log else fade, tags=tags)


@contextmanager
def _opened(data: bytes) -> Iterator[tuple[c.CDLL, c.c_void_p]]:
    gme, emulator = library(), c.c_void_p()
    _check(gme.gme_open_data(data, len(data), c.byref(emulator), RATE))
    try:
        yield gme, emulator
    finally:
        gme.gme_delete(emulator)


def _check(error: bytes | None) -> None:
    if error:
        raise AudioError(f"damaged or truncated: libgme cannot play it ({text_of(error)})")


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
