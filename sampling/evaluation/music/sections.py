"""Form: do the parts of a long clip differ, as verse and chorus do, by more than a part differs within itself?"""

from __future__ import annotations

import torch
from torch import Tensor

from dualdiffusion.dsp.frequency_scale import mel_filters
from dualdiffusion.dsp.onsets import onset_curve
from dualdiffusion.dsp.relative_spectrum import relative_spectrum
from sampling.evaluation.music.pitch import pitch_classes

SECTION_SECONDS = 8.0
BANDS = 24
LOWEST_HZ = 60.0
FRAME_SECONDS, HOP_SECONDS = 0.064, 0.032
FLOOR_DB = -60.0
"""Bands softer than this, against the clip, count as equally soft."""
FULL_DB = 20.0
"""A mean difference of the bands of so many dB counts as much as two parts without a common pitch class."""
STILL = 0.01
"""Onset density in nepers that is as good as none."""


def section_contrast(clip: Tensor, sample_rate: int) -> float | None:
    """How much sections of about 8 s differ from one another beyond what they differ within themselves: about 0 to 1.

    Each section is halved. The halves' distance is the mean of three: between pitch-class histograms (half of the
    absolute differences), between the levels of mel bands (over 20 dB), and between onset densities (difference over
    sum). The contrast is the mean distance of halves of different sections less that of halves of the same one.

    Args:
        clip: (C, N).

    Returns:
        None for clips that are too short to have two sections.
    """
    count = int(clip.shape[-1] / sample_rate / SECTION_SECONDS + 0.05)
    if count < 2:
        return None
    distance = _distances(clip, sample_rate, 2 * count)
    section = torch.arange(2 * count) // 2
    same = section[:, None] == section
    other_half = same & ~torch.eye(2 * count, dtype=torch.bool)
    return float(distance[~same].mean() - distance[other_half].mean())


def _distances(clip: Tensor, sample_rate: int, count: int) -> Tensor:
    """Between all of `count` equal parts of a clip: (count, count)."""
    classes = torch.stack([pitch_classes(part, sample_rate) for part in clip.tensor_split(count, dim=-1)])
    harmony = torch.cdist(classes, classes, p=1) / 2
    spectrum = relative_spectrum(clip, sample_rate, frame_seconds=FRAME_SECONDS, hop_seconds=HOP_SECONDS)
    limits = {"f_min": LOWEST_HZ, "f_max": sample_rate / 2, "sample_rate": sample_rate}
    bands = spectrum.square() @ mel_filters(n_bins=spectrum.shape[1], n_mels=BANDS, **limits).T
    power = torch.stack([part.mean(dim=0) for part in bands.tensor_split(count)]).double()
    levels = 10 * (power + 10 ** (FLOOR_DB / 10)).log10()
    timbre = torch.cdist(levels, levels, p=1) / (BANDS * FULL_DB)
    density = torch.stack([part.mean() for part in onset_curve(clip, sample_rate).tensor_split(count)])
    rhythm = (density[:, None] - density).abs() / (density[:, None] + density + STILL)
    return (harmony + timbre.clamp(max=1) + rhythm) / 3
