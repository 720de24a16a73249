"""How a track's loudness and brightness move along time, a value for each half second."""

from __future__ import annotations

import torch
from torch import Tensor

from dualdiffusion.dsp.relative_spectrum import SILENT, bin_frequencies
from dualdiffusion.dsp.stft import stft

STEP_SECONDS = 0.5
FRAME_SECONDS, HOP_SECONDS = 0.032, 0.016
QUIETEST = -40.0
"""dB; what is softer, silence too, counts as that."""
REFERENCE = 1000.0
"""Brightness is told in octaves above this, in Hz."""


def curves_of_part(clip: Tensor, sample_rate: int) -> Tensor:
    """Power, and power times frequency, of each whole half second of a clip (C, N): (2, T) float64."""
    size, hop, step = (round(seconds * sample_rate) for seconds in (FRAME_SECONDS, HOP_SECONDS, STEP_SECONDS))
    mono = clip.float().mean(dim=0)
    whole = len(mono) // step
    power = mono.new_zeros(2, whole, dtype=torch.float64)
    frequencies = bin_frequencies(sample_rate, FRAME_SECONDS).double()
    window = torch.hann_window(size)
    for number in range(whole):
        energy = stft(mono[number * step : (number + 1) * step], window, hop).abs().square().mean(dim=0).double()
        power[0, number], power[1, number] = energy.sum(), (energy * frequencies).sum()
    return power


def loudness(power: Tensor) -> Tensor:
    """Of what `curves_of_part` gives, in dB above the mean of the whole: (T,); none in silence."""
    mean = power[0].mean() if power.shape[1] else power.new_zeros(())
    if float(mean) < SILENT**2:
        return power.new_zeros(0)
    return (10 * (power[0] / mean).clamp(min=1e-12).log10()).clamp(min=QUIETEST)


def brightness(power: Tensor) -> Tensor:
    """Centroid of the spectrum in octaves above 1 kHz: (T,), in silence as before it; none where all is silent."""
    mean = power[0].mean() if power.shape[1] else power.new_zeros(())
    if float(mean) < SILENT**2:
        return power.new_zeros(0)
    heard = power[0] > mean * 10 ** (QUIETEST / 10)
    octaves = (power[1] / power[0].clamp(min=1e-30) / REFERENCE).clamp(min=1e-3).log2()
    last = torch.cummax(torch.where(heard, torch.arange(len(octaves)), -1), 0).values
    first = int(heard.nonzero()[0])
    return octaves[torch.where(last < 0, first, last)]


def interpolated(values: Tensor, place: Tensor) -> Tensor:
    """Evenly spaced values (n,) at places from 0, the first, to n - 1, the last: joined by lines, and the ends go on.

    Returns:
        As many as there are places, in their shape.
    """
    place = place.clamp(0, len(values) - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=len(values) - 1)
    return torch.lerp(values[below], values[above], place - below)
