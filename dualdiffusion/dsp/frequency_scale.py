"""Frequency scales: banks of triangular filters between STFT bins and perceptual bands, and the way back."""

from __future__ import annotations

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


def invert_filters(filters: Tensor, pseudo_inverse: Tensor, bands: Tensor, *, refinements: int) -> Tensor:
    """Non-negative bin magnitudes whose filtered values are close to `bands`.

    Starts from the pseudo-inverse, made positive, and refines it by multiplicative updates, which keep it so and
    never increase the squared error (Lee and Seung 2001, theorem 1).

    Args:
        filters: (n_mels, n_bins).
        pseudo_inverse: (n_bins, n_mels) of `filters`.
        bands: (..., n_mels, T), non-negative.

    Returns:
        (..., n_bins, T), non-negative.
    """
    # A hard zero could never grow again, and the pseudo-inverse is negative beside every strong partial.
    back_projection = filters.T @ bands
    coverage = filters.sum(dim=0).clamp(min=1e-4)[:, None] * filters.sum(dim=1).mean()
    magnitudes = torch.maximum(pseudo_inverse @ bands, 0.05 * back_projection / coverage)
    gram = filters.T @ filters
    for _ in range(refinements):
        magnitudes = magnitudes * back_projection / (gram @ magnitudes).clamp(min=1e-12)
    return magnitudes
