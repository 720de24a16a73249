"""Tags of audio files, under the same names whatever the format calls them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

TAG_NAMES = [
    "title",
    "artist",
    "album",
    "albumartist",
    "composer",
    "date",
    "genre",
    "tracknumber",
    "discnumber",
    "comment",
    "description",
    "copyright",
    "license",
    "organization",
    "game",
]
"""The tags that are carried over; others mean nothing after a conversion (loop points in samples, ReplayGain)."""

_ID3 = {
    "TIT2": "title", "TPE1": "artist", "TALB": "album", "TPE2": "albumartist", "TCOM": "composer", "TDRC": "date",
    "TCON": "genre", "TRCK": "tracknumber", "TPOS": "discnumber", "COMM": "comment", "TCOP": "copyright",
    "WCOP": "license", "TPUB": "organization",
}  # fmt: skip
_MP4 = {
    "\xa9nam": "title", "\xa9ART": "artist", "\xa9alb": "album", "aART": "albumartist", "\xa9wrt": "composer",
    "\xa9day": "date", "\xa9gen": "genre", "\xa9cmt": "comment", "cprt": "copyright",
}  # fmt: skip
_OTHER = {
    "track": "tracknumber", "year": "date", "author": "artist", "wm/albumtitle": "album", "wm/year": "date",
    "wm/genre": "genre", "wm/composer": "composer", "album artist": "albumartist",
}  # fmt: skip


def read_tags(path: Path) -> dict[str, str]:
    """A file's tags under `TAG_NAMES`, whatever its format calls them; several values are joined with "; ".

    Files without tags, and with tags that cannot be read, give {}.
    """
    import mutagen

    try:
        file = mutagen.File(path)
        items = list((file.tags or {}).items()) if file is not None else []
    except Exception:  # mutagen's parsers raise many kinds of errors on damaged files; the audio may still be good.
        return _soundfile_tags(path)
    tags: dict[str, str] = {}
    for key, value in items:
        name = _ID3.get(key[:4]) or _MP4.get(key) or _OTHER.get(key.lower()) or key.lower()
        values = getattr(value, "text", None) or getattr(value, "url", None) or value
        text = "; ".join(str(item) for item in values) if isinstance(values, list | tuple) else str(values)
        if name in TAG_NAMES and text.strip() and name not in tags:
            tags[name] = text.replace("\0", "; ").encode("utf-8", "replace").decode()
    tags = tags or _soundfile_tags(path)
    return {name: tags[name] for name in TAG_NAMES if name in tags}


def _soundfile_tags(path: Path) -> dict[str, str]:
    """The strings of a WAV file's INFO chunk, which mutagen does not read."""
    import soundfile

    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            return {name: text for name, text in file.copy_metadata().items() if name in TAG_NAMES and text.strip()}
    except (soundfile.LibsndfileError, TypeError, UnicodeDecodeError):
        return {}


def write_tags(path: Path, tags: Mapping[str, str]) -> None:
    """Replaces the tags of a FLAC file."""
    if not tags:
        return
    import mutagen.flac

    file = mutagen.flac.FLAC(path)
    file.delete()
    for name, text in tags.items():
        file[name] = str(text)
    # No spare room: a fixed layout keeps equal inputs at equal bytes.
    file.save(padding=lambda info: 0)
