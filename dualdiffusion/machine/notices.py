"""What the machine lacks and how the work is done instead, told once on standard error."""

from __future__ import annotations

import sys

_told: set[str] = set()
_quiet = False


def tell_once(text: str) -> None:
    """Prints a line, unless this process has printed it before or helps another one that tells of itself."""
    if text not in _told and not _quiet:
        _told.add(text)
        print(text, file=sys.stderr, flush=True)


def be_quiet() -> None:
    """For processes that help another one: what they lack, it lacks too, and has told."""
    global _quiet
    _quiet = True
