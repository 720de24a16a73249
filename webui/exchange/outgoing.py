"""Clips as files to take home, written in a process of its own: another format or level, and loop points for games.

Loop points stand where engines look for them: the comments LOOPSTART and LOOPLENGTH in FLAC and Ogg (RPG Maker and many
others), in samples, and a `smpl` chunk in WAV (most samplers and engines). Imports no torch.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path
from sampling.output.containers import encode, read_tags
from sampling.output.loudness import gain_of
from sampling.output.settings import OutputSettings

LOOPING = ("flac", "ogg", "wav")  # formats that have a place for loop points


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Writes the clip `job["path"]` to `job["target"]` as `job["output"]` says (see `OutputSettings`).

    `job["loop"]` is None, or where the loop begins and how long it is, in seconds; a length of None goes to the end.

    Returns:
        {"loop": [start, length] in samples, or None where there is none or the format has no place for it}.

    Raises:
        UserError: the clip cannot be read.
    """
    path, output = Path(job["path"]), OutputSettings.from_json(job["output"])
    try:
        samples, rate = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, TypeError) as error:
        raise UserError(f"{path.name}: cannot be read: {error}") from None
    loop = _in_samples(job["loop"], rate, len(samples)) if output.format in LOOPING else None
    try:
        tags = read_tags(path)
    except ValueError:  # the sound can be read, and goes home without
        tags = {}
    if loop and output.format != "wav":
        tags |= {"LOOPSTART": str(loop[0]), "LOOPLENGTH": str(loop[1])}
    gain = np.float32(gain_of(samples, rate, output))
    data = encode(np.ascontiguousarray((samples * gain).T), rate, output, tags)
    if loop and output.format == "wav":
        data = with_loop(data, rate, *loop)
    with atomic_path(Path(job["target"])) as temporary:
        temporary.write_bytes(data)
    return {"loop": loop}


def _in_samples(loop: tuple[float, float | None] | None, rate: int, frames: int) -> tuple[int, int] | None:
    if loop is None:
        return None
    start = min(round(loop[0] * rate), frames - 1)
    length = frames - start if loop[1] is None else min(round(loop[1] * rate), frames - start)
    return (start, length) if length > 0 else None


def with_loop(data: bytes, rate: int, start: int, length: int) -> bytes:
    """A WAV file with a `smpl` chunk that plays `length` samples from `start` on again and again, forwards.

    Nine words of 32 bits, of which the third is the length of a sample in nanoseconds and the fourth the note, and then
    the loop: its number, kind, first and last sample, fraction and count, 0 for endless.
    """
    head = struct.pack("<9I", 0, 0, round(1e9 / rate), 60, 0, 0, 0, 1, 0)
    chunk = head + struct.pack("<6I", 0, 0, start, start + length - 1, 0, 0)
    body = data[8:] + (b"\0" if len(data) % 2 else b"") + b"smpl" + struct.pack("<I", len(chunk)) + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body
