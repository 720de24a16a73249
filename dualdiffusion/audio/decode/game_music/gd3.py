"""The tags of VGM files, which libgme tells in part (https://vgmrips.net/wiki/GD3_Specification)."""

from __future__ import annotations

import struct

from dualdiffusion.audio.decode.game_music.song import tags_of
from dualdiffusion.errors import one_line


def vgm_tags(data: bytes) -> dict[str, str]:
    """The GD3 tags of a VGM file, in English where they are, else as in the original; {} where there are none.

    Args:
        data: the file, unpacked; of another kind it has none.
    """
    if not data.startswith(b"Vgm "):
        return {}
    try:
        at = 20 + struct.unpack_from("<I", data, 20)[0]
        mark, size = struct.unpack_from("<4s4xI", data, at)
    except struct.error:
        return {}
    if mark != b"Gd3 ":
        return {}
    text = data[at + 12 : at + 12 + size].decode("utf-16-le", "replace")
    texts = [one_line(part).strip() for part in text.split("\0")]
    texts += [""] * (11 - len(texts))
    title, game, _, author = (texts[place] or texts[place + 1] for place in (0, 2, 4, 6))
    return tags_of(title=title, artist=author, album=game, date=texts[8], comment=texts[10])
