"""Brings clips to a loudness, below a ceiling of the true peak. Imports no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dualdiffusion.audio import loudness_of, true_peak_of
from sampling.output.settings import OutputSettings

if TYPE_CHECKING:
    from torch import Tensor


def level_gain(audio: Tensor, sample_rate: int, output: OutputSettings) -> float:
    """The factor for audio (C, N) that reaches the wanted loudness, or the ceiling if that comes first.

    1 for what the meter calls silent (nothing above -70 LUFS): there is nothing to bring to a level.
    """
    return gain_of(audio.detach().float().cpu().numpy().T, sample_rate, output)


def gain_of(samples: np.ndarray, sample_rate: int, output: OutputSettings) -> float:
    """The same of an array (N, C), float32."""
    gain = 1.0
    if output.loudness is not None:
        lufs = loudness_of(samples, sample_rate)
        if not math.isfinite(lufs):
            return 1.0
        gain = 10 ** ((output.loudness - lufs) / 20)
    if output.ceiling is None:
        return gain
    peak, highest = true_peak_of(samples, sample_rate), 10 ** (output.ceiling / 20)
    return highest / peak if peak * gain > highest else gain


def levelled(audio: Tensor, sample_rate: int, output: OutputSettings) -> Tensor:
    """Audio (C, N) at the level that `output` asks for; the very same tensor where it asks for none."""
    if output.loudness is None and output.ceiling is None:
        return audio
    return audio * level_gain(audio, sample_rate, output)
