"""What a clip tells of how it was made, read without torch: `sampling.output.clips` writes it into the file's tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from webui.job import Clip

SETTINGS_TAG = "dualdiffusion"
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
    import mutagen
    from mutagen.id3 import ID3

    try:
        file = mutagen.File(path)
        tags = file.tags if file is not None else None
        if isinstance(tags, ID3):
            frames = tags.getall(f"TXXX:{SETTINGS_TAG}")
            text = str(frames[0].text[0]) if frames else None
        else:
            text = (tags or {}).get(SETTINGS_TAG, [None])[0]
        if text is None and path.with_suffix(".json").is_file():
            text = path.with_suffix(".json").read_text(encoding="utf-8")
        return json.loads(text) if text is not None and len(text) <= MOST_TEXT else None
    except (mutagen.MutagenError, OSError, ValueError, RecursionError, IndexError):
        return None
