"""Plucked strings and a drawbar reed organ.

The string is the closed form of a plucked delay line with a damping filter: harmonic k starts at the pluck-position
comb and dies at a rate that grows with its frequency squared. The closed form is exactly in tune and band-limited.
"""

from __future__ import annotations

import numpy as np

from dataset_processing.synth import drums
from dataset_processing.synth.oscillators import Envelope, Vibrato, harmonic_note
from dataset_processing.synth.records import Chip

# Footage levels of the drawbars on harmonics 1, 2, 3, 4, 6, 8.
DRAWBARS = ((1.0, 0.75), (2.0, 0.65), (3.0, 0.4), (4.0, 0.34), (6.0, 0.2), (8.0, 0.16), (10.0, 0.08))
# How far through the sweep (in sweep constants) the last spectral frame stands.
LAST_FRAME = 4.0


def _string(position: float, sweep: float, damping: float):
    def spectrum(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
        elapsed = -sweep * np.log(np.maximum(1.0 - progress, np.exp(-LAST_FRAME)))
        rate = damping * (numbers * frequency / 1000.0) ** 2
        return 2.2 * np.sin(np.pi * numbers * position) / numbers**1.15 * np.exp(-elapsed * rate)

    return spectrum


def _drawbars(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
    level = sum(weight * (numbers == harmonic) for harmonic, weight in DRAWBARS)
    return 0.55 * level + 0.0 * progress


def lead(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Two reeds a little apart, like an accordion."""
    shape = Envelope(0.03, 1.0, 1.0, 0.07)
    vibrato = Vibrato(5.2, 6.0, 0.2)
    return harmonic_note(frequency, seconds, sample_rate, _drawbars, shape, vibrato=vibrato, unison=(-7.0, 7.0))


def harmony(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Guitar-like pluck."""
    shape = Envelope(0.002, 0.55, 0.0, 0.25)
    return harmonic_note(frequency, seconds, sample_rate, _string(0.21, 0.3, 3.0), shape, sweep=0.3)


def bass(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Plucked upright bass."""
    shape = Envelope(0.005, 0.6, 0.0, 0.15)
    return harmonic_note(frequency, seconds, sample_rate, _string(0.3, 0.3, 14.0), shape, sweep=0.3)


CHIP = Chip(
    "string organ",
    {"lead": lead, "harmony": harmony, "bass": bass},
    {
        drums.KICK: drums.drop_stroke(0.55, 0.07, 130.0, 70.0, 0.03),
        drums.TAMBOURINE: drums.layered(
            drums.noise_stroke(0.34, 0.06, 4500.0, 9000.0, seed=9),
            drums.metal_stroke(0.12, 0.05, (5230.0, 6110.0, 6870.0)),
        ),
        drums.BLOCK: drums.metal_stroke(0.4, 0.02, (820.0, 1270.0)),
    },
)
