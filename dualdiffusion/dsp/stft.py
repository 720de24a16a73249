"""Short-time Fourier transform with a window far shorter than its nominal length, and its least-squares inverse."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The tails of hann^32 are below any audible level over half of its length; dropping what is below this share of the
# peak halves the transform of the encoder.
NEGLIGIBLE = 1e-9


def hann_power_window(length: int, exponent: float, hop_length: int, negligible: float = NEGLIGIBLE) -> Tensor:
    """hann(length)^exponent without its negligible tails, padded to a multiple of the hop; sums to 2.

    The sum makes a sinusoid of amplitude 1 have magnitude 1 in the STFT.

    Args:
        negligible: what is below this share of the peak is cut off.

    Returns:
        (n_fft,).
    """
    window = torch.hann_window(length, periodic=False, dtype=torch.float64) ** exponent
    kept = int((window > negligible * window.max()).sum())
    n_fft = math.ceil(kept / hop_length) * hop_length
    if n_fft > length:
        window = torch.nn.functional.pad(window, ((n_fft - length) // 2, n_fft - length - (n_fft - length) // 2))
    start = (len(window) - n_fft) // 2
    window = window[start : start + n_fft]
    return (2 * window / window.sum()).float()


def stft(audio: Tensor, window: Tensor, hop_length: int) -> Tensor:
    """Complex spectra of the frames that lie wholly inside the audio.

    Args:
        audio: (..., samples).
        window: (n_fft,).

    Returns:
        (..., T, n_fft // 2 + 1) with T = (samples - n_fft) // hop_length + 1.
    """
    return torch.fft.rfft(audio.unfold(-1, len(window), hop_length) * window)


def istft(spectra: Tensor, window: Tensor, hop_length: int, normalisation: Tensor | None = None) -> Tensor:
    """The audio whose STFT is closest to `spectra` in the least-squares sense (Griffin and Lim 1984, equation 6).

    Args:
        spectra: (..., T, n_fft // 2 + 1).
        window: (n_fft,), n_fft a multiple of hop_length.
        normalisation: what `overlap_normalisation` gives for T frames, to be computed once for many calls.

    Returns:
        (..., (T - 1) * hop_length + n_fft).
    """
    if normalisation is None:
        normalisation = overlap_normalisation(window, hop_length, spectra.shape[-2])
    return overlap_add(torch.fft.irfft(spectra, n=len(window)), hop_length, window).mul_(normalisation)


def overlap_normalisation(window: Tensor, hop_length: int, count: int) -> Tensor:
    """1 / the sum of `count` squared windows, each one hop after the last: ((count - 1) * hop_length + n_fft,)."""
    weight = overlap_add(window.expand(count, -1), hop_length, window)
    return 1 / weight.clamp(min=1e-6 * float(weight.max()))


def overlap_add(frames: Tensor, hop_length: int, window: Tensor) -> Tensor:
    """Adds up windowed frames, each one hop after the last: (..., T, n_fft) -> (..., (T - 1) * hop_length + n_fft)."""
    *lead, count, n_fft = frames.shape
    overlap = n_fft // hop_length
    # In a buffer with empty frames at both ends, the pieces that meet in a hop lie at equal distances: one sum does it.
    buffer = frames.new_empty(*lead, count + 2 * (overlap - 1), n_fft)
    buffer[..., : overlap - 1, :] = 0
    buffer[..., overlap - 1 + count :, :] = 0
    torch.mul(frames, window, out=buffer[..., overlap - 1 : overlap - 1 + count, :])
    pieces = buffer.as_strided(
        (*lead, count + overlap - 1, overlap, hop_length),
        (*buffer.stride()[:-2], n_fft, n_fft - hop_length, 1),
        n_fft - hop_length,
    )
    return pieces.sum(dim=-2).flatten(-2)
