"""Reading and writing audio files.

Tensors of shape (channels, samples), float32, full scale at +-1.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from dualdiffusion.audio.tags import write_tags
from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path

if TYPE_CHECKING:
    import soundfile
    import torch


def read(path: Path, *, start: int = 0, frames: int = -1) -> tuple[torch.Tensor, int]:
    """Reads what libsndfile reads (WAV, FLAC, Ogg, AIFF); `decode` reads all that people have.

    Args:
        start: first sample.
        frames: number of samples, fewer at the end of the file; -1 reads to the end.

    Returns:
        audio (channels, samples) and its sample rate in Hz.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    import soundfile
    import torch

    try:
        data, sample_rate = soundfile.read(os.fsencode(path), frames, start, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        reason = "no such file" if not path.exists() else str(error)
        raise UserError(f"{path}: cannot be read as audio: {reason}") from None
    return torch.from_numpy(np.ascontiguousarray(data.T)), sample_rate


def write_flac(
    path: Path, audio: torch.Tensor, sample_rate: int, *, bits: int = 16, tags: Mapping[str, str] | None = None
) -> None:
    """Writes a FLAC file atomically. Equal input gives equal bytes: samples are rounded, without dither.

    Args:
        audio: (channels, samples); what lies outside [-1, 1] is clipped.
        bits: 16 or 24.
        tags: Vorbis comments by name, in this order.

    Raises:
        UserError: NaN or infinity in the audio.
    """
    import torch

    if not bool(torch.isfinite(audio).all()):
        raise UserError(f"{path}: the audio to write holds NaN or infinite samples")
    with atomic_path(path) as temporary:
        with flac_writer(temporary, sample_rate, audio.shape[0], bits) as file:
            file.write(audio.detach().float().cpu().clamp(-1, 1).T.numpy())
        write_tags(temporary, tags or {})


@contextlib.contextmanager
def flac_writer(path: Path, sample_rate: int, channels: int, bits: int) -> Iterator[soundfile.SoundFile]:
    """An open soundfile.SoundFile that takes blocks (samples, channels) and writes FLAC of 16 or 24 bits.

    Blocks are float32 of full scale at +-1, or int16.

    Raises:
        OSError: the file cannot be written, such as on a full disk.
    """
    import soundfile

    with open(path, "wb") as raw:
        disk = _Disk(raw)
        try:
            with soundfile.SoundFile(disk, "w", sample_rate, channels, f"PCM_{bits}", format="FLAC") as file:
                yield file
        finally:
            if disk.error:
                raise disk.error from None


class _Disk:
    """A file as libsndfile writes it, which keeps what the system says.

    libsndfile says no more of a full disk than "System error", and nothing at all where the last few kilobytes of a
    FLAC file found no room.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell = file.tell
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int) -> int:
        """Goes to another place, after what waits to be written."""
        return self._try(self._file.seek, offset, whence)

    def write(self, data: bytes) -> int:
        """Bytes written: none where the system refuses them."""
        return self._try(self._file.write, data)

    def _try(self, call: Callable[..., int], *arguments: object) -> int:
        try:
            return call(*arguments)
        except OSError as error:
            self.error = self.error or error
            return 0
