"""What browsers are told that a file is. Not left to the system: its tables may lack FLAC, or call JavaScript text."""

from __future__ import annotations

from pathlib import PurePath

# On Windows, any program may have registered .js as text/plain, with which browsers run no module; containers without
# a list of types know no .flac, and with another type than audio, browsers play nothing.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".flac": "audio/flac",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wav": "audio/wav",
    ".webp": "image/webp",
}


def media_type(name: str) -> str:
    """The header Content-Type of a file of this name; "application/octet-stream" where it is none of ours."""
    return MEDIA_TYPES.get(PurePath(name).suffix.lower(), "application/octet-stream")
