"""How many bytes a file of game music says it has, by its own tables: the libraries play what is there.

Sources: the layouts of ProTracker, FastTracker II, Scream Tracker 3 and Impulse Tracker modules
(https://wiki.multimedia.cx/index.php/Category:Tracker_Formats), of VGM (https://vgmrips.net/wiki/VGM_Specification),
and of MIDI files (RP-001).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

from dualdiffusion.audio.decode.claim import AudioError

_MAX_BYTES = 64 << 20
_TOLERATED = 0.01  # many old modules lack the last bytes of their last sample


def check_whole(data: bytes, kind: str) -> None:
    """Compares a file with what it says of its own size.

    Args:
        data: the file, unpacked.
        kind: the name of its format; of those that are not known here nothing is said.

    Raises:
        AudioError: more than a hundredth of the file is missing.
    """
    measure = _SIZES.get(kind)
    if measure is None:
        return
    try:
        stated = measure(data)
    except (struct.error, IndexError):
        raise AudioError(f"truncated: the {kind} file ends within its own tables") from None
    if len(data) < stated * (1 - _TOLERATED):
        raise AudioError(f"truncated: {len(data)} of the {stated} bytes that its {kind} header states are there")


def unpacked(data: bytes) -> bytes:
    """The same bytes, without the gzip that .vgz files are packed in.

    Raises:
        AudioError: it is damaged, or unpacks to more than 64 MiB.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    unpacker = zlib.decompressobj(31)
    try:
        plain = unpacker.decompress(data, _MAX_BYTES)
    except zlib.error:
        raise AudioError("a damaged gzip file: it cannot be unpacked") from None
    if not unpacker.eof:
        raise AudioError("a gzip file that is truncated, or unpacks to more than 64 MiB")
    return plain


def _mod(data: bytes) -> int:
    """31 samples with their lengths in words, the orders, patterns of 64 rows of 4 bytes per channel, the samples."""
    mark, orders = data[1080:1084].decode("latin-1"), data[952:1080][: data[950]]
    number = re.match(r"\d+", mark)
    channels = int(number[0]) if number else 8 if mark in ("CD81", "OKTA", "OCTA") else 4
    samples = sum(struct.unpack_from(">H", data, 20 + 30 * place + 22)[0] * 2 for place in range(31))
    return 1084 + (max(orders, default=0) + 1) * 256 * channels + samples


def _s3m(data: bytes) -> int:
    """Instruments and patterns lie where a list of paragraphs (16 bytes) says, the samples where instruments say."""
    orders, instruments, patterns = struct.unpack_from("<HHH", data, 32)
    places = struct.unpack_from(f"<{instruments + patterns}H", data, 96 + orders)
    end = 96 + orders + 2 * len(places)
    for place in places[:instruments]:
        at = place * 16
        end = max(end, at + 80)
        kind, high, low, length = struct.unpack_from("<B12xBHI", data, at)
        flags, packed = data[at + 31], data[at + 30]
        if kind == 1 and length and not packed:
            width = (2 if flags & 2 else 1) * (2 if flags & 4 else 1)
            end = max(end, (high << 16 | low) * 16 + length * width)
    for place in places[instruments:]:
        if place:
            end = max(end, place * 16 + struct.unpack_from("<H", data, place * 16)[0])
    return end


def _xm(data: bytes) -> int:
    """Patterns one after the other, then each instrument, followed by the samples that it has."""
    if data[58:60] != b"\x04\x01":  # an older layout, in which little is left
        return 0
    head, _, _, _, patterns, instruments = struct.unpack_from("<IHHHHH", data, 60)
    at = 60 + head
    for _ in range(patterns):
        size, packed = struct.unpack_from("<I3xH", data, at)
        at += size + packed
    for _ in range(instruments):
        size, samples = struct.unpack_from("<I23xH", data, at)
        each = struct.unpack_from("<I", data, at + 29)[0] if samples else 0
        at += size
        lengths = [_xm_sample(data, at + place * each) for place in range(samples)]
        at += samples * each + sum(lengths)
    return at


def _xm_sample(data: bytes, at: int) -> int:
    length, packing = struct.unpack_from("<I13xB", data, at)
    return 16 + (length + 1) // 2 if packing == 0xAD else length  # of 4-bit ADPCM: a table, then two to a byte


def _it(data: bytes) -> int:
    """Instruments, samples and patterns lie where three lists of addresses say."""
    orders, instruments, samples, patterns = struct.unpack_from("<HHHH", data, 32)
    places = struct.unpack_from(f"<{instruments + samples + patterns}I", data, 192 + orders)
    end = 192 + orders + 4 * len(places)
    for place in places[instruments : instruments + samples]:
        flags = data[place + 18]
        length, address = struct.unpack_from("<I", data, place + 48)[0], struct.unpack_from("<I", data, place + 72)[0]
        if flags & 1 and length and data[place + 46] != 0xFF:
            wide, both = 2 if flags & 2 else 1, 2 if flags & 4 else 1
            packed = _it_packed(data, address, length * wide * both) if flags & 8 else length * wide * both
            end = max(end, address + packed)
    for place in places[instruments + samples :]:
        if place:
            end = max(end, place + 8 + struct.unpack_from("<H", data, place)[0])
    return end


def _it_packed(data: bytes, at: int, size: int) -> int:
    """The bytes of a compressed sample: blocks, each with its own length before it, of 32 KiB when unpacked."""
    start = at
    for _ in range(-(-size // 0x8000)):
        at += 2 + struct.unpack_from("<H", data, at)[0]
    return at - start


def _vgm(data: bytes) -> int:
    return struct.unpack_from("<I", data, 4)[0] + 4


def _nsfe(data: bytes) -> int:
    """Chunks to the one called NEND."""
    at = 4
    while True:
        size, name = struct.unpack_from("<I4s", data, at)
        at += 8 + size
        if name == b"NEND":
            return at


def _midi(data: bytes) -> int:
    """A header that says how many tracks follow, each with its length; a RIFF file may hold the same in a chunk."""
    begin = max(data.find(b"MThd"), 0)
    size, _, tracks = struct.unpack_from(">IHH", data, begin + 4)
    if not tracks:
        raise AudioError("damaged: a MIDI file without tracks")
    at = begin + 8 + size
    while tracks:
        name, size = struct.unpack_from(">4sI", data, at)
        at += 8 + size
        tracks -= name == b"MTrk"
    return at


_SIZES: dict[str, Callable[[bytes], int]] = {
    "MOD": _mod, "S3M": _s3m, "XM": _xm, "IT": _it, "VGM": _vgm, "NSFE": _nsfe, "MIDI": _midi,
}  # fmt: skip
