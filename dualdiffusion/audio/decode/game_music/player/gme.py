"""Sound chips (SPC, NSF, VGM, GBS, HES, KSS, AY, SAP, GYM) by libgme (its public header gme.h, version 0.6)."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator

from library import BLOCK_FRAMES, CannotPlayError, text_of

SAMPLE = c.c_int16
"""What its samples are."""


class _Info(c.Structure):
    """gme_info_t: lengths in milliseconds, -1 where unknown."""

    _fields_ = (
        *((name, c.c_int) for name in ("length", "intro", "loop", "play")),
        ("reserved", c.c_int * 12),
        *((name, c.c_char_p) for name in ("system", "game", "song", "author", "copyright", "comment", "dumper")),
        ("more", c.c_char_p * 9),
    )


class Player:
    """An open file. gme: the library; rate: of what is played (Hz).

    Raises:
        CannotPlayError: the library cannot read the file.
    """

    def __init__(self, gme: c.CDLL, data: bytes, rate: int) -> None:
        self._gme, self._emulator = gme, c.c_void_p()
        gme.gme_open_data.restype = gme.gme_start_track.restype = gme.gme_play.restype = c.c_char_p
        gme.gme_track_info.restype = c.c_char_p
        gme.gme_open_data.argtypes = [c.c_char_p, c.c_long, c.POINTER(c.c_void_p), c.c_int]
        gme.gme_track_count.argtypes = gme.gme_track_ended.argtypes = [c.c_void_p]
        gme.gme_start_track.argtypes = gme.gme_ignore_silence.argtypes = [c.c_void_p, c.c_int]
        gme.gme_play.argtypes = [c.c_void_p, c.c_int, c.c_void_p]
        gme.gme_track_info.argtypes = [c.c_void_p, c.POINTER(c.POINTER(_Info)), c.c_int]
        _check(gme.gme_open_data(data, len(data), c.byref(self._emulator), rate))

    def songs(self) -> list[dict[str, str | float | None]]:
        """What the library knows of each song: times in s, None where the file does not say, and texts."""
        return [self._song(place) for place in range(self._gme.gme_track_count(self._emulator))]

    def _song(self, place: int) -> dict[str, str | float | None]:
        held = c.POINTER(_Info)()
        _check(self._gme.gme_track_info(self._emulator, c.byref(held), place))
        info = held.contents
        seconds = {name: max(getattr(info, name), 0) / 1000 or None for name in ("length", "intro", "loop")}
        names = {"title": "song", "album": "game", "artist": "author", "copyright": "copyright", "comment": "comment"}
        return {**seconds, **{tag: text_of(getattr(info, name)) for tag, name in names.items()}}

    def blocks(self, place: int) -> Iterator[c.Array]:
        """Blocks of interleaved stereo samples of one song (from 0), for as long as it plays."""
        gme, emulator = self._gme, self._emulator
        gme.gme_ignore_silence(emulator, 1)
        if hasattr(gme, "gme_set_autoload_playback_limit"):  # since 0.6.3; it would fade a song of stated length itself
            gme.gme_set_autoload_playback_limit.argtypes = [c.c_void_p, c.c_int]
            gme.gme_set_autoload_playback_limit(emulator, 0)
        _check(gme.gme_start_track(emulator, place))
        while not gme.gme_track_ended(emulator):
            block = (SAMPLE * (2 * BLOCK_FRAMES))()
            _check(gme.gme_play(emulator, len(block), block))
            yield block


def _check(error: bytes | None) -> None:
    if error:
        raise CannotPlayError(text_of(error))
