"""Plain figures of a clip's sound: level, stereo, silence, and where its spectrum lies."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dualdiffusion.audio import loudness_lufs

FIGURES = {
    "loudness": "LUFS",
    "peak": "dB of full scale",
    "side_to_mid": "dB",
    "correlation": "of left and right",
    "silence": "share of the time",
    "centroid": "Hz",
    "bandwidth": "Hz",
}
"""What `sound_figures` gives, in this order, with units."""

SILENT = 10 ** (-60 / 20)
BLOCK_SECONDS = 0.05
WINDOW_SECONDS = 0.064


def sound_figures(clip: Tensor, sample_rate: int) -> Tensor:
    """The `FIGURES` of a clip (C, N): (7,) float64; infinite or NaN where silence or mono leaves one without meaning.

    silence: share of blocks of 50 ms whose root mean square is below -60 dB. centroid and bandwidth: mean and standard
    deviation of the frequency, weighted with the power of the mono mix over the whole clip.
    """
    clip = clip.double()
    left, right = clip[0], clip[-1]
    mid, side = (left + right) / 2, (left - right) / 2
    stereo = _decibels(side.square().mean() / mid.square().mean()) if len(clip) > 1 else math.nan
    correlation = torch.corrcoef(torch.stack([left, right]))[0, 1] if len(clip) > 1 else math.nan
    block = max(int(BLOCK_SECONDS * sample_rate), 1)
    power = clip[:, : clip.shape[1] // block * block].square().mean(dim=0).view(-1, block).mean(dim=1)
    centroid, bandwidth = _spectrum(mid, sample_rate)
    values = (
        loudness_lufs(clip, sample_rate),
        _decibels(clip.abs().max().square()),
        stereo,
        correlation,
        (power.sqrt() < SILENT).double().mean(),
        centroid,
        bandwidth,
    )
    return torch.tensor([float(value) for value in values], dtype=torch.float64)


def _spectrum(mono: Tensor, sample_rate: int) -> tuple[float, float]:
    size = int(WINDOW_SECONDS * sample_rate)
    window = torch.hann_window(size, dtype=mono.dtype)
    power = torch.fft.rfft(mono.unfold(0, size, size // 2) * window).abs().square().mean(dim=0)
    frequency = torch.fft.rfftfreq(size, 1 / sample_rate, dtype=mono.dtype)
    share = power / power.sum()  # NaN for silence
    centroid = (share * frequency).sum()
    return float(centroid), float((share * (frequency - centroid).square()).sum().sqrt())


def _decibels(power: Tensor) -> float:
    return 10 * math.log10(float(power)) if float(power) > 0 else (-math.inf if float(power) == 0 else math.nan)
