"""Brings clips to a loudness, below a ceiling of the true peak."""

from __future__ import annotations

import math

from torch import Tensor

from dualdiffusion.audio import loudness_lufs, true_peak
from sampling.output.settings import OutputSettings


def level_gain(audio: Tensor, sample_rate: int, output: OutputSettings) -> float:
    """The factor for audio (C, N) that reaches the wanted loudness, or the ceiling if that comes first.

    1 for what the meter calls silent (nothing above -70 LUFS): there is nothing to bring to a level.
    """
    gain = 1.0
    if output.loudness is not None:
        lufs = loudness_lufs(audio, sample_rate)
        if not math.isfinite(lufs):
            return 1.0
        gain = 10 ** ((output.loudness - lufs) / 20)
    if output.ceiling is None:
        return gain
    peak = true_peak(audio, sample_rate)
    highest = 10 ** (output.ceiling / 20)
    return highest / peak if peak * gain > highest else gain


def levelled(audio: Tensor, sample_rate: int, output: OutputSettings) -> Tensor:
    """Audio (C, N) at the level that `output` asks for; the very same tensor where it asks for none."""
    if output.loudness is None and output.ceiling is None:
        return audio
    return audio * level_gain(audio, sample_rate, output)
