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


def istft(spectra: Tensor, window: Tensor, hop_length: int) -> Tensor:
    """The audio whose STFT is closest to `spectra` in the least-squares sense (Griffin and Lim 1984, equation 6).

    Args:
        spectra: (..., T, n_fft // 2 + 1).
        window: (n_fft,), n_fft a multiple of hop_length.

    Returns:
        (..., (T - 1) * hop_length + n_fft).
    """
    frames = torch.fft.irfft(spectra, n=len(window)).mul_(window)
    weight = overlap_add((window * window).expand(frames.shape[-2], -1), hop_length)
    return overlap_add(frames, hop_length) / weight.clamp(min=1e-6 * float(weight.max()))


def overlap_add(frames: Tensor, hop_length: int) -> Tensor:
    """Adds up frames, each one hop after the last: (..., T, n_fft) -> (..., (T - 1) * hop_length + n_fft)."""
    *lead, count, n_fft = frames.shape
    overlap = n_fft // hop_length
    pieces = frames.reshape(*lead, count, overlap, hop_length)
    audio = frames.new_zeros(*lead, count + overlap - 1, hop_length)
    for k in range(overlap):
        audio[..., k : k + count, :] += pieces[..., k, :]
    return audio.flatten(-2)
