"""Errors that a user can mend: one line with what, where and the remedy; commands exit with 2."""

from __future__ import annotations


class UserError(Exception):
    """What went wrong, where, and the remedy, in one line. Commands print it without a traceback and exit with 2."""


def one_line(text: object) -> str:
    """`text` with line breaks and control characters made visible, so that a message stays one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in str(text))
