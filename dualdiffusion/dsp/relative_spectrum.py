"""The spectra in which rhythm, notes and sections are looked for: independent of level and of the channels' order.

Shapes: C channels, N samples; T frames, K bins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dualdiffusion.dsp.stft import stft

SILENT = 1e-9
"""Clips whose root mean square is below this are silence: nothing is divided by it."""


def relative_spectrum(clip: Tensor, sample_rate: int, *, frame_seconds: float, hop_seconds: float) -> Tensor:
    """Magnitudes of the mono mix of a clip (C, N) over their root mean square in the whole clip, hann windows: (T, K).

    A clip shorter than a frame is followed by silence. Silence gives zeros.
    """
    size, hop = round(frame_seconds * sample_rate), round(hop_seconds * sample_rate)
    mono = clip.float().mean(dim=0)
    mono = torch.nn.functional.pad(mono, (0, max(size - len(mono), 0)))
    level = mono.square().mean().sqrt()
    if float(level) < SILENT:
        return mono.new_zeros((len(mono) - size) // hop + 1, size // 2 + 1)
    magnitude = stft(mono / level, torch.hann_window(size, device=mono.device), hop).abs()
    return magnitude / magnitude.square().mean().sqrt().clamp(min=SILENT)


def bin_frequencies(sample_rate: int, frame_seconds: float) -> Tensor:
    """The frequencies of the bins of `relative_spectrum`, in Hz: (K,)."""
    return torch.fft.rfftfreq(round(frame_seconds * sample_rate), 1 / sample_rate)
