"""Tracker modules (MOD, XM, IT, S3M, ...) by libopenmpt (https://lib.openmpt.org/doc/libopenmpt_c_overview.html)."""

from __future__ import annotations

import ctypes as c
import math
from collections.abc import Iterator

from library import BLOCK_FRAMES, CannotPlayError, text_of

SAMPLE = c.c_float
"""What its samples are."""


class Player:
    """An open module. openmpt: the library; rate: of what is played (Hz).

    Raises:
        CannotPlayError: the library cannot read the file.
    """

    def __init__(self, openmpt: c.CDLL, data: bytes, rate: int) -> None:
        self._openmpt, self._rate = openmpt, rate
        openmpt.openmpt_module_create_from_memory2.restype = c.c_void_p
        openmpt.openmpt_module_create_from_memory2.argtypes = [c.c_char_p, c.c_size_t, *[c.c_void_p] * 7]
        openmpt.openmpt_module_get_num_subsongs.argtypes = [c.c_void_p]
        openmpt.openmpt_module_select_subsong.argtypes = [c.c_void_p, c.c_int32]
        openmpt.openmpt_module_get_duration_seconds.argtypes = [c.c_void_p]
        openmpt.openmpt_module_get_duration_seconds.restype = c.c_double
        openmpt.openmpt_module_get_metadata.argtypes = [c.c_void_p, c.c_char_p]
        openmpt.openmpt_module_get_subsong_name.argtypes = [c.c_void_p, c.c_int32]
        openmpt.openmpt_module_get_metadata.restype = openmpt.openmpt_module_get_subsong_name.restype = c.c_char_p
        read = openmpt.openmpt_module_read_interleaved_float_stereo
        read.restype, read.argtypes = c.c_size_t, [c.c_void_p, c.c_int32, c.c_size_t, c.c_void_p]
        self._module = openmpt.openmpt_module_create_from_memory2(data, len(data), *[None] * 7)
        if not self._module:
            raise CannotPlayError("not a module that it knows")

    def songs(self) -> list[dict[str, str | float | None]]:
        """What the library knows of each sub-song: the length (s) of one time through, and texts."""
        return [self._song(place) for place in range(self._openmpt.openmpt_module_get_num_subsongs(self._module))]

    def _song(self, place: int) -> dict[str, str | float | None]:
        self._openmpt.openmpt_module_select_subsong(self._module, place)
        length = self._openmpt.openmpt_module_get_duration_seconds(self._module)
        title, artist, date, comment = (
            text_of(self._openmpt.openmpt_module_get_metadata(self._module, name))
            for name in (b"title", b"artist", b"date", b"message_raw")
        )
        name = text_of(self._openmpt.openmpt_module_get_subsong_name(self._module, place))
        texts = {"title": name or title, "artist": artist, "date": date[:10], "comment": comment}
        return {"length": length if math.isfinite(length) else 1e9, "album": title if name else "", **texts}

    def blocks(self, place: int) -> Iterator[c.Array]:
        """Blocks of interleaved stereo samples of one sub-song (from 0), played once; the last note fades for 0.1 s."""
        self._openmpt.openmpt_module_select_subsong(self._module, place)
        while True:
            block = (SAMPLE * (2 * BLOCK_FRAMES))()
            frames = self._openmpt.openmpt_module_read_interleaved_float_stereo(
                self._module, self._rate, BLOCK_FRAMES, block
            )
            if not frames:
                return
            yield (SAMPLE * (2 * frames)).from_buffer(block)
