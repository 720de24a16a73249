"""A C library where the system has it, else a refusal that names the package, and holds until it is installed."""

from __future__ import annotations

import ctypes
import ctypes.util
from contextlib import suppress

RATE = 48_000
"""Sample rate (Hz) at which game music is rendered, whatever a chip's own: libgme crashes at 32000, that of an SPC."""
BLOCK_FRAMES = 1 << 14


class MissingLibraryError(OSError):
    """The library that reads a format is not installed.

    An OSError and no AudioError: nothing is wrong with the file, so that the next run tries it again.
    """


def load(name: str, file: str, packages: str) -> ctypes.CDLL:
    """The library `name` ("gme"), or the shared object `file` where the system's search does not list it.

    Raises:
        MissingLibraryError: it is not installed; `packages` says what to install.
    """
    for candidate in (file, ctypes.util.find_library(name)):
        with suppress(OSError):
            if candidate:
                return ctypes.CDLL(candidate)
    raise MissingLibraryError(f"needs the library lib{name}; install {packages} and run again")


def text_of(data: bytes | None) -> str:
    """A string of a C library as one line of text; bytes that are not UTF-8 are read as Latin-1."""
    data = data or b""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return one_line(text)


def one_line(text: str) -> str:
    """A text as one line: what cannot be printed becomes a space, and several spaces one."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
