"""What a clip tells of how it was made, read without torch: `sampling.output.clips` writes it into the file's tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from webui.history.job import Clip

MOST_TEXT = 256 * 1024  # characters; a request has far fewer


def read_clip(path: Path, *, binned: bool = False) -> Clip | None:
    """The clip in a file, which may lie in the bin; None where the file does not tell how it was made."""
    settings = _settings(path)
    request = settings.get("request") if isinstance(settings, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("games"), dict):
        return None
    model, fingerprint = settings.get("model"), settings.get("fingerprint")
    return Clip(
        file=path.name,
        request=request,
        made=path.stat().st_mtime,
        model=Path(model).name if isinstance(model, str) and model else None,
        fingerprint=fingerprint if isinstance(fingerprint, str) else None,
        binned=binned,
    )


def _settings(path: Path) -> Any:
    """The settings in a file's tags, or else in a .json beside it; None for any other file."""
    from sampling.output.containers import SETTINGS_TAG, read_tag  # a while to import: the page is shown before

    try:
        text = read_tag(path, SETTINGS_TAG)
        if text is None and path.with_suffix(".json").is_file():
            text = path.with_suffix(".json").read_text(encoding="utf-8")
        return settings_of(text)
    except (OSError, ValueError, RecursionError):
        return None


def settings_of(text: str | None) -> Any:
    """The JSON in a tag; None where there is none, or too much.

    Raises:
        ValueError, RecursionError: it is no JSON.
    """
    return json.loads(text) if text and len(text) <= MOST_TEXT else None
