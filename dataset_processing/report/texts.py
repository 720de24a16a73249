"""Numbers, lengths and names as they stand in the report."""

from __future__ import annotations

import html

from dataset_processing.report.report import shown

_LONGEST_TEXT = 300
_NO_BREAK = "\u00a0"


def escaped(text: str) -> str:
    """A name or reason as HTML text; of a very long one the beginning and the end."""
    text = shown(text)
    if len(text) > _LONGEST_TEXT:
        text = f"{text[: _LONGEST_TEXT // 2]} … {text[-_LONGEST_TEXT // 2 :]}"
    return html.escape(text)


def counted(number: int, noun: str) -> str:
    """A number with its noun in the singular or plural: 1 track, 1,204 tracks."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percent(share: float | None) -> str:
    """A share from 0 to 1; "100 %" only where it is all of it."""
    if share is None:
        return ""
    return "100 %" if share >= 1 else f"{min(100 * share, 99.9):.1f} %"


def length(hours: float) -> str:
    """An amount of music in the unit that suits it: 45 s, 12 min, 1 h 52 min, 1,204 h."""
    seconds = round(hours * 3600)
    if seconds < 60:
        return f"{seconds}{_NO_BREAK}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}{_NO_BREAK}min"
    if minutes >= 6000:
        return f"{round(hours):,}{_NO_BREAK}h"
    return f"{minutes // 60} h {minutes % 60} min".replace(" ", _NO_BREAK)
