"""A C library where the system has it, else a refusal that names the package."""

from __future__ import annotations

import ctypes
import ctypes.util
from contextlib import suppress

from dataset_processing.decode.claim import AudioError

RATE = 48_000
"""Sample rate (Hz) at which game music is rendered."""
BLOCK_FRAMES = 1 << 14
MAX_SECONDS = 3600.0
"""No song is rendered beyond this (s): a module can be made to play for days."""


def load(name: str, file: str, packages: str) -> ctypes.CDLL:
    """The library `name` ("gme"), or the shared object `file` where the system's search does not list it.

    Raises:
        AudioError: it is not installed; `packages` says what to install.
    """
    for candidate in (file, ctypes.util.find_library(name)):
        with suppress(OSError):
            if candidate:
                return ctypes.CDLL(candidate)
    raise AudioError(f"needs lib{name} to be read; install {packages}")
