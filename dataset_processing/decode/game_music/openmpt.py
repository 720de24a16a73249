"""Tracker modules (MOD, XM, IT, S3M, ...) by libopenmpt (https://lib.openmpt.org/doc/libopenmpt_c_overview.html)."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from dataset_processing.decode.claim import AudioError
from dataset_processing.decode.game_music.library import BLOCK_FRAMES, RATE, load, text_of
from dataset_processing.decode.game_music.song import MAX_SECONDS, Song, Take, number_of, tags_of

PACKAGES = "libopenmpt0 (Debian), libopenmpt0t64 (Ubuntu), libopenmpt (brew, Fedora, Arch)"


def library() -> c.CDLL:
    """libopenmpt.

    Raises:
        MissingLibraryError: it is not installed.
    """
    openmpt = load("openmpt", "libopenmpt.so.0", PACKAGES)
    openmpt.openmpt_module_create_from_memory2.restype = c.c_void_p
    openmpt.openmpt_module_create_from_memory2.argtypes = [c.c_char_p, c.c_size_t, *[c.c_void_p] * 7]
    openmpt.openmpt_module_destroy.argtypes = openmpt.openmpt_module_get_num_subsongs.argtypes = [c.c_void_p]
    openmpt.openmpt_module_destroy.restype = openmpt.openmpt_free_string.restype = None
    openmpt.openmpt_module_select_subsong.argtypes = [c.c_void_p, c.c_int32]
    openmpt.openmpt_module_get_duration_seconds.argtypes = [c.c_void_p]
    openmpt.openmpt_module_get_duration_seconds.restype = c.c_double
    openmpt.openmpt_module_get_metadata.argtypes = [c.c_void_p, c.c_char_p]
    openmpt.openmpt_module_get_subsong_name.argtypes = [c.c_void_p, c.c_int32]
    # As addresses and not as text: the library's strings must be given back to it.
    openmpt.openmpt_module_get_metadata.restype = openmpt.openmpt_module_get_subsong_name.restype = c.c_void_p
    openmpt.openmpt_free_string.argtypes = [c.c_void_p]
    openmpt.openmpt_module_read_interleaved_float_stereo.restype = c.c_size_t
    openmpt.openmpt_module_read_interleaved_float_stereo.argtypes = [c.c_void_p, c.c_int32, c.c_size_t, c.c_void_p]
    return openmpt


def songs(data: bytes) -> list[Song]:
    """The sub-songs of a module, each of the length that it has when it is played once.

    Raises:
        MissingLibraryError: the library is not installed.
        AudioError: it cannot read the module.
    """
    with _opened(data) as (openmpt, module):
        return [_song(openmpt, module, place) for place in range(openmpt.openmpt_module_get_num_subsongs(module))]


def render(data: bytes, take: Take) -> Iterator[np.ndarray]:
    """Float32 blocks (frames, 2) at `RATE` of one sub-song, played once to its end, or for an hour.

    The length that the take states is that of the notes; the library lets the last of them fade for 0.1 s.

    Raises:
        MissingLibraryError, AudioError: as `songs`; AudioError also if there is no such sub-song.
    """
    with _opened(data) as (openmpt, module):
        place = number_of(take, openmpt.openmpt_module_get_num_subsongs(module), "module")
        openmpt.openmpt_module_select_subsong(module, place)
        left = int(MAX_SECONDS * RATE)
        while left > 0:
            block = np.zeros((min(BLOCK_FRAMES, left), 2), np.float32)
            frames = openmpt.openmpt_module_read_interleaved_float_stereo(module, RATE, len(block), block.ctypes.data)
            if not frames:
                return
            left -= frames
            yield block[:frames]


def _song(openmpt: c.CDLL, module: int, place: int) -> Song:
    openmpt.openmpt_module_select_subsong(module, place)
    seconds = float(openmpt.openmpt_module_get_duration_seconds(module))
    told = {
        name: _taken(openmpt, openmpt.openmpt_module_get_metadata(module, name.encode()))
        for name in ("title", "artist", "date", "message_raw")
    }
    name = _taken(openmpt, openmpt.openmpt_module_get_subsong_name(module, place))
    tags = tags_of(
        title=name or told["title"],
        artist=told["artist"],
        album=told["title"] if name and name != told["title"] else "",
        date=told["date"][:10],
        comment=told["message_raw"],
    )
    return Song(seconds if 0 <= seconds < MAX_SECONDS else MAX_SECONDS, 0.0, tags=tags)


def _taken(openmpt: c.CDLL, address: int | None) -> str:
    """The text of a string of the library, which is given back to it."""
    text = text_of(c.cast(address, c.c_char_p).value) if address else ""
    openmpt.openmpt_free_string(address)
    return text


@contextmanager
def _opened(data: bytes) -> Iterator[tuple[c.CDLL, int]]:
    openmpt = library()
    quiet = c.cast(openmpt.openmpt_log_func_silent, c.c_void_p)  # else what it thinks of the file is printed
    module = openmpt.openmpt_module_create_from_memory2(data, len(data), quiet, *[None] * 6)
    if not module:
        raise AudioError("damaged or truncated: libopenmpt cannot read the module")
    try:
        yield openmpt, module
    finally:
        openmpt.openmpt_module_destroy(module)
