"""Audio that a visitor brings in, decoded in a process of its own: any kind that a dataset is made from.

What is kept is a FLAC file of our own making, of at most MAX_SECONDS, whatever was sent. A clip of ours also tells the
request that made it. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dualdiffusion.audio import flac_writer, mixing_matrix
from dualdiffusion.audio.decode import AudioError, open_audio
from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path
from sampling.output.containers import SETTINGS_TAG, read_tag
from sampling.request import MAX_SECONDS
from webui.history.clip_settings import settings_of
from webui.history.outputs import PEAKS
from webui.history.stored import finite

MAX_RATE = 192_000
LEAST_SECONDS = 0.05


def work(job: dict[str, str]) -> dict[str, Any]:
    """Decodes the file `job["path"]` to `job["flac"]`.

    Returns:
        "seconds", "sample_rate", "peaks", "kind"; "cut", whether something after MAX_SECONDS was left out; and
        "settings", what the file says of how it was made, or None.

    Raises:
        UserError: it is no audio, or holds none.
    """
    path, target = Path(job["path"]), Path(job["flac"])
    loudest: list[float] = []
    try:
        with open_audio(path) as file:
            if file.sample_rate > MAX_RATE:
                raise UserError(f"has a sample rate of {file.sample_rate} Hz; at most {MAX_RATE} are taken")
            most = int(MAX_SECONDS * file.sample_rate)
            mixing = mixing_matrix(file.channels, min(file.channels, 2)).T
            with (
                atomic_path(target) as temporary,
                flac_writer(temporary, file.sample_rate, mixing.shape[1], 24) as flac,
            ):
                frames, cut = 0, False
                for block in _first(file.blocks, most + 1):
                    cut = frames + len(block) > most
                    mixed = _checked(block[: most - frames]) @ mixing
                    flac.write(mixed.clip(-1, 1))
                    frames += len(mixed)
                    loudest += [float(np.abs(mixed[at : at + 1024]).max()) for at in range(0, len(mixed), 1024)]
                if frames < LEAST_SECONDS * file.sample_rate:
                    raise UserError("holds no audio, or less than can be heard")
            seconds, rate, kind = frames / file.sample_rate, file.sample_rate, file.kind
    except AudioError as error:
        raise UserError(f"is no audio that can be read: {error}") from None
    peaks = [round(max(part), 3) for part in np.array_split(np.array(loudest), min(PEAKS, len(loudest)))]
    return {
        "seconds": seconds,
        "sample_rate": rate,
        "kind": kind,
        "cut": cut,
        "peaks": peaks,
        "settings": settings_in(path),
    }


def _first(blocks: Iterator[np.ndarray], most: int) -> Iterator[np.ndarray]:
    """Blocks until `most` frames are had: a small file may hold a day of silence."""
    had = 0
    for block in blocks:
        if len(block):
            yield block[: most - had]
        had += len(block)
        if had >= most:
            return


def _checked(block: np.ndarray) -> np.ndarray:
    if not np.isfinite(block).all():
        raise UserError("is damaged: it holds samples that are no numbers")
    return block


def settings_in(path: Path) -> dict[str, Any] | None:
    """What the tags of a clip of ours say of how it was made; None for any other file."""
    try:
        settings = settings_of(read_tag(path, SETTINGS_TAG))
    except Exception:  # mutagen's parsers raise many kinds of errors on damaged tags; the audio may still be good
        return None
    if not isinstance(settings, dict) or not isinstance(settings.get("request"), dict):
        return None
    told = finite({name: settings.get(name) for name in ("request", "model", "fingerprint")})
    return {name: value for name, value in told.items() if value is not None}
