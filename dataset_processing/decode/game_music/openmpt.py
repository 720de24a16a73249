"""Tracker modules (MOD, XM, IT, S3M) by libopenmpt (https://lib.openmpt.org/doc/libopenmpt_c_overview.html)."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator

import numpy as np

from dataset_processing.decode.claim import AudioError
from dataset_processing.decode.game_music.library import BLOCK_FRAMES, MAX_SECONDS, RATE, load

PACKAGES = "libopenmpt0 (Debian, Ubuntu) or libopenmpt (brew)"


def _library() -> c.CDLL:
    library = load("openmpt", "libopenmpt.so.0", PACKAGES)
    library.openmpt_module_create_from_memory2.restype = c.c_void_p
    library.openmpt_module_create_from_memory2.argtypes = [c.c_char_p, c.c_size_t, *[c.c_void_p] * 7]
    library.openmpt_module_destroy.argtypes = [c.c_void_p]
    library.openmpt_module_get_num_subsongs.argtypes = [c.c_void_p]
    library.openmpt_module_select_subsong.argtypes = [c.c_void_p, c.c_int32]
    library.openmpt_module_read_interleaved_float_stereo.restype = c.c_size_t
    library.openmpt_module_read_interleaved_float_stereo.argtypes = [c.c_void_p, c.c_int32, c.c_size_t, c.c_void_p]
    return library


def songs(data: bytes) -> int:
    """How many sub-songs a module holds.

    Raises:
        AudioError: the library is missing, or cannot read the module.
    """
    library = _library()
    module = _open(library, data)
    try:
        return library.openmpt_module_get_num_subsongs(module)
    finally:
        library.openmpt_module_destroy(module)


def render(data: bytes, song: int = 0) -> Iterator[np.ndarray]:
    """Float32 blocks (frames, 2) at `RATE` of one sub-song (from 0), played once to its end.

    Raises:
        AudioError: as `songs`; or there is no such sub-song.
    """
    library = _library()
    module = _open(library, data)
    try:
        if not library.openmpt_module_select_subsong(module, song):
            raise AudioError(f"holds no sub-song {song + 1}")
        left = int(MAX_SECONDS * RATE)
        while left > 0:
            block = np.zeros((min(BLOCK_FRAMES, left), 2), np.float32)
            frames = library.openmpt_module_read_interleaved_float_stereo(module, RATE, len(block), block.ctypes.data)
            if not frames:
                return
            left -= frames
            yield block[:frames]
    finally:
        library.openmpt_module_destroy(module)


def _open(library: c.CDLL, data: bytes) -> int:
    module = library.openmpt_module_create_from_memory2(data, len(data), *[None] * 7)
    if not module:
        raise AudioError("a tracker module (MOD, XM, IT or S3M) that libopenmpt cannot read: truncated or damaged")
    return module
