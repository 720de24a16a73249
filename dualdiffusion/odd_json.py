"""What people and their editors write for JSON, and what to write instead."""

from __future__ import annotations

import json
import re

# What begins where the reader stops; the first that matches counts.
_REMEDIES = tuple(
    (re.compile(pattern), remedy)
    for pattern, remedy in (
        (r"[\u201c-\u201f\u00ab\u00bb\uff02]", 'quotation marks must be straight ones: "'),
        (r"['`\u2018-\u201b]", 'texts stand in double quotes: "'),
        (r"//|/\*|#", "JSON has no comments; leave them out"),
        (r"[}\]]", "leave out the comma before it"),
        (r"(True|False|None)\b", "write true, false or null"),
        (r"[\uff0c\uff1a\uff1b\u3001\uff5b\uff5d\uff3b\uff3d;=]", "the marks of JSON are , : { } [ ]"),
        (r"[^\S ]|[\u200b\ufeff]", "there is a space that is no plain one; write it anew"),
        (r"\\", "write paths with / or with two \\"),
        (r"\0", "zero bytes follow the text; save it anew"),
        (r"[^\W\d]|[~/$.]", 'texts stand in double quotes, numbers begin with a digit: "name", 0.5'),
        (r"$", "it is empty, or its end is missing"),
    )
)


def not_valid(error: json.JSONDecodeError) -> str:
    """Where text is no JSON, and what to write instead where that can be told: the end of an error's line."""
    return "; ".join(filter(None, (f"not valid JSON: {error}", _remedy(error))))


def _remedy(error: json.JSONDecodeError) -> str:
    """What to write where the reader stopped; "" where that cannot be told."""
    rest = error.doc[error.pos :].lstrip(" \t\r\n")
    if rest.startswith(","):  # at which some versions of Python stop, others behind it
        rest = rest[1:].lstrip(" \t\r\n")
    return next((text for pattern, text in _REMEDIES if pattern.match(rest)), "")
