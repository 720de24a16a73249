"""The tags of VGM files, which libgme tells in part (https://vgmrips.net/wiki/GD3_Specification)."""

from __future__ import annotations

import struct

from dataset_processing.decode.game_music.library import one_line
from dataset_processing.decode.game_music.song import tags_of


def vgm_tags(data: bytes) -> dict[str, str]:
    """The GD3 tags of a VGM file, in English where they are, else as in the original; {} where there are none.

    Args:
        data: the file, unpacked.
    """
    try:
        at = 20 + struct.unpack_from("<I", data, 20)[0]
        mark, size = struct.unpack_from("<4s4xI", data, at)
    except struct.error:
        return {}
    if mark != b"Gd3 ":
        return {}
    texts = [one_line(text) for text in data[at + 12 : at + 12 + size].decode("utf-16-le", "replace").split("\0")]
    texts += [""] * (11 - len(texts))
    title, game, _, author = (texts[place] or texts[place + 1] for place in (0, 2, 4, 6))
    return tags_of(title=title, artist=author, album=game, date=texts[8], comment=texts[10])
