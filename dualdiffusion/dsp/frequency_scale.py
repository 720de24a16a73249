"""Frequency scales: banks of triangular filters between STFT bins and perceptual bands, and the way back."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchaudio.functional import melscale_fbanks


def mel_filters(*, n_bins: int, n_mels: int, f_min: float, f_max: float, sample_rate: int) -> Tensor:
    """Triangular mel filters (HTK scale) of unit peak.

    Args:
        n_bins: STFT bins, from 0 Hz to sample_rate / 2.
        f_min, f_max: lower and upper edge, in Hz.

    Returns:
        (n_mels, n_bins), non-negative.
    """
    filters = melscale_fbanks(n_bins, f_min, f_max, n_mels, sample_rate, norm=None, mel_scale="htk").T.contiguous()
    # At low frequencies a band can be narrower than the distance of two bins and miss them all; it then takes the
    # bin nearest to its centre, so that no band is dead.
    empty = filters.sum(dim=1) == 0
    if empty.any():
        bin_width = sample_rate / 2 / (n_bins - 1)
        nearest = (mel_centers(n_mels=n_mels, f_min=f_min, f_max=f_max) / bin_width).round().long()
        filters[empty, nearest[empty]] = 1.0
    return filters


def mel_centers(*, n_mels: int, f_min: float, f_max: float) -> Tensor:
    """Centre frequency of each band, in Hz, shape (n_mels,)."""
    low, high = (_hz_to_mel(torch.tensor(f, dtype=torch.float64)) for f in (f_min, f_max))
    steps = torch.arange(1, n_mels + 1, dtype=torch.float64) / (n_mels + 1)
    return (700.0 * (10.0 ** ((low + steps * (high - low)) / 2595.0) - 1.0)).float()


def _hz_to_mel(frequency: Tensor) -> Tensor:
    return 2595.0 * torch.log10(1.0 + frequency / 700.0)


def log_filters(*, n_bins: int, n_bands: int, f_min: float, f_max: float, sample_rate: int) -> Tensor:
    """Triangular filters of unit peak that are equally wide in octaves; the lowest are no narrower than a bin.

    Args:
        n_bins: STFT bins, from 0 Hz to sample_rate / 2.
        f_min, f_max: lower and upper edge, in Hz.

    Returns:
        (n_bands, n_bins), non-negative.
    """
    bin_width = sample_rate / 2 / (n_bins - 1)
    edges = torch.logspace(math.log10(f_min), math.log10(f_max), n_bands + 2, dtype=torch.float64)
    centers = edges[1:-1]
    below = (centers - edges[:-2]).clamp(min=bin_width)[:, None]
    above = (edges[2:] - centers).clamp(min=bin_width)[:, None]
    offsets = torch.arange(n_bins, dtype=torch.float64) * bin_width - centers[:, None]
    return (1 - torch.where(offsets < 0, -offsets / below, offsets / above)).clamp(min=0).float()


def log_centers(*, n_bands: int, f_min: float, f_max: float) -> Tensor:
    """Centre frequency of each band, in Hz, shape (n_bands,)."""
    return torch.logspace(math.log10(f_min), math.log10(f_max), n_bands + 2, dtype=torch.float64)[1:-1].float()


def regrid_filters(filters: Tensor, n_bins: int) -> Tensor:
    """The same filters for magnitudes on a coarser grid of bins, read between the bins by cubic interpolation.

    Filters computed on the coarse grid itself would be wrong where they are narrower than the distance of its bins; the
    magnitudes there are smooth enough to interpolate, because no partial is narrower than the window's transform.

    Args:
        filters: (n_mels, bins), from 0 Hz to half of the sample rate.
        n_bins: bins of the coarse grid over the same range.

    Returns:
        (n_mels, n_bins), non-negative.
    """
    positions = torch.arange(filters.shape[1], dtype=torch.float64) * (n_bins - 1) / (filters.shape[1] - 1)
    base = positions.floor().long()
    t = positions - base
    weights = (  # Lagrange's cubic through the points -1, 0, 1 and 2
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    )
    interpolation = torch.zeros(filters.shape[1], n_bins, dtype=torch.float64)
    rows = torch.arange(len(base))
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        # A real signal's magnitudes are mirrored at both ends.
        mirrored = (n_bins - 1) - ((n_bins - 1) - (base + offset).abs()).abs()
        interpolation[rows, mirrored] += weight
    return (filters.double() @ interpolation).clamp(min=0).float()
