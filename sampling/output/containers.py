"""Clips as files of four formats, each with texts in its tags: FLAC and Ogg Vorbis comments, ID3 in MP3 and WAV.

Everything is put together in memory, so that a full disk is the operating system's error and not a codec's. Torch is
imported by `decode` alone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mutagen
import numpy as np
import soundfile
from mutagen.flac import FLAC
from mutagen.id3 import ID3, TIT2, TPE1, TXXX
from mutagen.mp3 import MP3
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from sampling.output.settings import OutputSettings

if TYPE_CHECKING:
    from torch import Tensor

_OPENERS = {"flac": FLAC, "wav": WAVE, "mp3": MP3, "ogg": OggVorbis}
_ID3_FRAMES = {"title": TIT2, "artist": TPE1}
SETTINGS_TAG = "dualdiffusion"  # which holds all settings of a clip, as JSON
_BLOCK = 65536  # samples: libsndfile's Vorbis encoder takes as much stack as it is given at once


def encode(
    audio: Tensor | np.ndarray, sample_rate: int, output: OutputSettings, tags: Mapping[str, str] | None = None
) -> bytes:
    """A whole file. Equal input gives equal samples, and equal bytes but for Ogg, whose streams have random numbers.

    Args:
        audio: (C, N), float32 where it is an array; what lies outside [-1, 1] is clipped, but for floating point.
            Rounded without dither.
        tags: texts by name; names other than title and artist are the program's own.
    """
    rows, buffer = _rows(audio, output.depth), io.BytesIO()
    settings: dict[str, Any] = {"format": output.format.upper(), "subtype": output.subtype}
    with soundfile.SoundFile(buffer, "w", sample_rate, rows.shape[1], **settings) as file:
        for start in range(0, len(rows), _BLOCK):
            file.write(rows[start : start + _BLOCK])
    buffer.seek(0)
    return _tagged(buffer, output.format, tags) if tags else buffer.getvalue()


def decode(data: bytes) -> tuple[Tensor, int]:
    """Audio (C, N) and sample rate of a whole file in memory."""
    import torch

    samples, sample_rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return torch.from_numpy(np.ascontiguousarray(samples.T)), sample_rate


def read_tag(path: Path, name: str) -> str | None:
    """The text of one tag of a file in any of the four formats; None where it has none.

    Raises:
        ValueError: as `read_tags`.
    """
    return read_tags(path).get(name)


def read_tags(path: Path) -> dict[str, str]:
    """The texts in a file's tags by name, as `encode` takes them; FLAC and Ogg know small letters only.

    Raises:
        ValueError: the file is in none of the formats, or damaged.
    """
    try:
        file = mutagen.File(path, options=list(_OPENERS.values()))
    except mutagen.MutagenError as error:
        raise ValueError(str(error)) from None
    if file is None:
        raise ValueError(f"none of {', '.join(_OPENERS)}")
    if not isinstance(file.tags, ID3):
        return {name.lower(): texts[0] for name, texts in dict(file.tags or {}).items() if texts}
    frames = {frame.desc: frame for frame in file.tags.getall("TXXX")}
    frames |= {name: frame for name, kind in _ID3_FRAMES.items() for frame in file.tags.getall(kind.__name__)}
    return {name: str(frame.text[0]) for name, frame in frames.items() if frame.text}


def _rows(audio: Tensor | np.ndarray, bits: int | None) -> np.ndarray:
    """(C, N) -> (N, C): integers, in the upper bits of an int32 for 24; float32 where there are none to round to.

    Not left to libsndfile, which scales and rounds differently for each container.
    """
    rows = audio.T if isinstance(audio, np.ndarray) else audio.detach().float().cpu().T.numpy()
    if bits == 32:
        return rows
    if bits is None:
        return rows.clip(-1, 1)
    top = 2 ** (bits - 1)
    whole = np.round(rows * np.float32(top)).clip(-top, top - 1)
    return whole.astype(np.int16) if bits == 16 else whole.astype(np.int32) << 8


def _tagged(buffer: io.BytesIO, format: str, tags: Mapping[str, str]) -> bytes:
    file = _OPENERS[format](buffer)
    if format in ("flac", "ogg"):
        for name, text in tags.items():
            file[name] = text
    else:
        if file.tags is None:
            file.add_tags()
        for name, text in tags.items():
            frame = _ID3_FRAMES[name](3, [text]) if name in _ID3_FRAMES else TXXX(3, name, [text])
            file.tags.add(frame)
    buffer.seek(0)
    # No spare room: a fixed layout keeps equal inputs at equal bytes.
    file.save(buffer, padding=lambda info: 0)
    return buffer.getvalue()
