"""Reading and writing audio files.

Tensors of shape (channels, samples), float32, full scale at +-1.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualdiffusion.audio.tags import write_tags
from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path

if TYPE_CHECKING:
    import soundfile
    import torch


def read(path: Path, *, start: int = 0, frames: int = -1) -> tuple[torch.Tensor, int]:
    """Reads WAV, FLAC, Ogg or AIFF (what libsndfile reads).

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


def flac_writer(path: Path, sample_rate: int, channels: int, bits: int) -> soundfile.SoundFile:
    """An open soundfile.SoundFile that takes float32 blocks (samples, channels) and writes FLAC of 16 or 24 bits."""
    import soundfile

    return soundfile.SoundFile(os.fsencode(path), "w", sample_rate, channels, f"PCM_{bits}", format="FLAC")
