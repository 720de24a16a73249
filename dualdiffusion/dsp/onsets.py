"""Where notes begin: the spectral flux of log magnitudes, half-wave rectified (Bello et al. 2005, section III.B)."""

from __future__ import annotations

from torch import Tensor

from dualdiffusion.dsp.relative_spectrum import relative_spectrum

FRAME_SECONDS, HOP_SECONDS = 0.032, 0.008
FLOOR = 0.005
"""Added to magnitudes, in units of their root mean square: what is softer than -46 dB hardly counts as an onset."""


def onset_curve(clip: Tensor, sample_rate: int) -> Tensor:
    """How much louder, in nepers, the bins of each frame are than 8 ms before, falls not counted: (T - 1,) float64."""
    spectrum = relative_spectrum(clip, sample_rate, frame_seconds=FRAME_SECONDS, hop_seconds=HOP_SECONDS)
    log = (spectrum + FLOOR).log()
    return (log[1:] - log[:-1]).clamp(min=0).mean(dim=1).double()


def frame_samples(sample_rate: int) -> tuple[int, int]:
    """Samples of a frame and of a hop: whole numbers, so a hop is not 8 ms exactly at every rate."""
    return round(FRAME_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)
