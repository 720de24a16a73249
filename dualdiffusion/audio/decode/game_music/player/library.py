"""A C library where the system has it."""

from __future__ import annotations

import ctypes
import ctypes.util
from contextlib import suppress

BLOCK_FRAMES = 1 << 14


class CannotPlayError(Exception):
    """What the library says against a file, in a few words."""


class MissingLibraryError(Exception):
    """The library is not installed."""


def load(name: str, file: str) -> ctypes.CDLL:
    """The library `name` ("gme"), or the shared object `file` where the system's search does not list it.

    Raises:
        MissingLibraryError: neither is there.
    """
    with suppress(OSError):
        return ctypes.CDLL(file)
    found = ctypes.util.find_library(name) or ctypes.util.find_library(f"lib{name}")  # the latter on Windows
    with suppress(OSError):
        if found:
            return ctypes.CDLL(found)
    raise MissingLibraryError


def text_of(data: bytes | None) -> str:
    """A string of a C library as one line; bytes that are not UTF-8 are read as Latin-1."""
    data = data or b""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
