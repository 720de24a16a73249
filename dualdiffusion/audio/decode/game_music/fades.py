"""The fades that files of sound chips state, which libgme 0.6 does not tell."""

from __future__ import annotations

import struct

_LONGEST_MS = 60_000
_TEXT = frozenset(b"0123456789 \0")


def fades(data: bytes, songs: int) -> list[float | None]:
    """The length (s) of each song's fade, in the order in which libgme counts songs; None where nothing is stated.

    Args:
        data: an SPC file (its ID666 tag: https://snesmusic.org/files/spc_file_format.txt) or an NSFE file (its chunks
            "fade" and "plst": https://www.nesdev.org/wiki/NSFe); others state none.
        songs: how many it holds.
    """
    if data.startswith(b"SNES-SPC700"):
        return [_of_spc(data)] * songs
    if data.startswith(b"NSFE"):
        return _of_nsfe(data, songs)
    return [None] * songs


def _of_spc(data: bytes) -> float | None:
    """ID666 has two layouts, of text and of numbers, and nothing that says which: text holds digits alone."""
    if data[0x23:0x24] != b"\x1a" or len(data) < 0xB1:  # 27: no tag
        return None
    seconds, milliseconds = data[0xA9:0xAC], data[0xAC:0xB1]
    if _TEXT.issuperset(seconds + milliseconds):
        value = int(milliseconds.replace(b"\0", b" ").strip() or b"0") if _is_number(milliseconds) else 0
    else:
        value = int.from_bytes(milliseconds[:4], "little")
    return value / 1000 if value <= _LONGEST_MS else None


def _is_number(field: bytes) -> bool:
    return field.replace(b"\0", b" ").strip().isdigit()


def _of_nsfe(data: bytes, songs: int) -> list[float | None]:
    chunks = {}
    at = 4
    while at + 8 <= len(data):
        size, name = struct.unpack_from("<I4s", data, at)
        chunks[name] = data[at + 8 : at + 8 + size]
        at += 8 + size
    stated = chunks.get(b"fade", b"")
    values = struct.unpack(f"<{len(stated) // 4}i", stated[: len(stated) // 4 * 4])
    order = chunks.get(b"plst") or bytes(range(min(songs, 256)))
    places = [order[song] if song < len(order) else len(values) for song in range(songs)]
    return [
        values[place] / 1000 if place < len(values) and 0 <= values[place] <= _LONGEST_MS else None for place in places
    ]
