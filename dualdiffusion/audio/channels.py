"""Mixing channels and changing the sample rate.

Tensors of shape (channels, samples), float32.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def resample(audio: torch.Tensor, old_rate: int, new_rate: int, quality: str = "VHQ") -> torch.Tensor:
    """Resamples (channels, samples) from old_rate to new_rate (Hz) with soxr; the length becomes the rounded ratio."""
    import soxr
    import torch

    if old_rate == new_rate:
        return audio
    data = soxr.resample(np.ascontiguousarray(audio.float().cpu().numpy().T), old_rate, new_rate, quality)
    return torch.from_numpy(np.ascontiguousarray(data.T)).to(audio.device)


def mix_channels(audio: torch.Tensor, channels: int) -> torch.Tensor:
    """Brings (n, samples) to `channels` = 1 or 2, as `mixing_matrix` says; equal counts return the same tensor."""
    import torch

    if audio.shape[0] == channels:
        return audio
    return torch.from_numpy(mixing_matrix(audio.shape[0], channels)).to(audio) @ audio


def to_stereo(audio: torch.Tensor) -> torch.Tensor:
    """(n, samples) to (2, samples)."""
    return mix_channels(audio, 2)


def mixing_matrix(source: int, target: int) -> np.ndarray:
    """The (target, source) float32 matrix that mixes channels in WAV order down or up (ITU-R BS.775, without LFE).

    Raises:
        ValueError: target is not 1 or 2, or source is not 1 to 8.
    """
    if target not in (1, 2) or not 1 <= source <= 8:
        raise ValueError(f"cannot mix {source} channels to {target}")
    c, h = math.sqrt(0.5), math.sqrt(0.25)
    # Columns: front left, front right, centre, LFE, back left, back right, side left, side right.
    left_right = {
        1: [[1, 1]],
        2: [[1, 0], [0, 1]],
        3: [[1, 0], [0, 1], [c, c]],
        4: [[1, 0], [0, 1], [c, 0], [0, c]],
        5: [[1, 0], [0, 1], [c, c], [c, 0], [0, c]],
        6: [[1, 0], [0, 1], [c, c], [0, 0], [c, 0], [0, c]],
        7: [[1, 0], [0, 1], [c, c], [0, 0], [h, h], [c, 0], [0, c]],
        8: [[1, 0], [0, 1], [c, c], [0, 0], [c, 0], [0, c], [c, 0], [0, c]],
    }[source]
    stereo = np.array(left_right, np.float32).T
    return stereo if target == 2 else stereo.mean(0, keepdims=True)
