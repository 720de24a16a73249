"""Phase recovery: audio from STFT magnitudes, by the fast Griffin-Lim algorithm adapted to stereo."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dualdiffusion.dsp.stft import istft, stft


def fast_griffin_lim(
    magnitudes: Tensor,
    window: Tensor,
    hop_length: int,
    *,
    iterations: int,
    momentum: float,
    stereo_coherence: float,
    initial_phase: Tensor,
    callback: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Audio whose STFT magnitudes are close to the given ones.

    Fast Griffin-Lim (Perraudin, Balazs and Sondergaard 2013): alternating projections onto the wanted magnitudes and
    onto the STFTs of real signals, with momentum. Stereo: all channels start from the same phase, and each estimate is
    pulled to the mean of the channels by a weight that falls from 1 to 0 over the first `stereo_coherence` share of
    the iterations. Independent phases would make a wide, hollow image out of every centred sound.

    Args:
        magnitudes: (B, C, T, n_fft // 2 + 1), non-negative.
        window: (n_fft,).
        momentum: 0 is the plain Griffin-Lim algorithm; above 1 may diverge.
        initial_phase: in radians, broadcast to the shape of magnitudes; shape (B, 1, T, bins) is one for all channels.
        callback: called with (iterations done, iterations).

    Returns:
        (B, C, (T - 1) * hop_length + n_fft).
    """
    estimate = magnitudes * torch.polar(torch.ones_like(initial_phase), initial_phase)
    previous = torch.zeros_like(estimate)
    for i in range(iterations):
        projected = stft(istft(estimate, window, hop_length), window, hop_length)
        coherence = max(0.0, 1.0 - i / (stereo_coherence * iterations)) if stereo_coherence > 0 else 0.0
        if coherence > 0 and projected.shape[1] > 1:
            projected = torch.lerp(projected, projected.mean(dim=1, keepdim=True).expand_as(projected), coherence)
        accelerated = projected + momentum * (projected - previous)
        previous = projected
        estimate = magnitudes * (accelerated / accelerated.abs().clamp(min=1e-20))
        if callback:
            callback(i + 1, iterations)
    return istft(estimate, window, hop_length)
