"""Sound without beginning and end: what lies before the first sample is the last one."""

from __future__ import annotations

import torch
from torch import Tensor


def wrap(x: Tensor, before: int, after: int) -> Tensor:
    """Continues the last axis, (..., N), over both ends, as often as needed: (..., before + N + after)."""
    return x[..., torch.arange(-before, x.shape[-1] + after, device=x.device) % x.shape[-1]]


def fold(x: Tensor, period: int) -> Tensor:
    """Adds up what falls on the same place of a circle: (..., N) -> (..., period)."""
    rounds = -(-x.shape[-1] // period)
    padded = torch.nn.functional.pad(x, (0, rounds * period - x.shape[-1]))
    return padded.unflatten(-1, (rounds, period)).sum(dim=-2)


def resample_circular(x: Tensor, length: int) -> Tensor:
    """Band-limited resampling of one period, (..., N) -> (..., length), by its Fourier coefficients.

    A circle stays one: there is no beginning where a filter would have nothing to work on. Frequencies that fit into
    neither length are dropped.
    """
    if length == x.shape[-1]:
        return x
    spectrum = torch.fft.rfft(x)
    kept = spectrum[..., : (min(length, x.shape[-1]) - 1) // 2 + 1]  # without a Nyquist coefficient, which has no phase
    return torch.fft.irfft(kept, n=length) * (length / x.shape[-1])
