"""Additive chip: bowed string ensembles and struck bells built partial by partial."""

from __future__ import annotations

import numpy as np

from dataset_processing.synth import drums
from dataset_processing.synth.oscillators import Envelope, Vibrato, harmonic_note, partials_note
from dataset_processing.synth.records import Chip

# (ratio, amplitude, decay s): strike tone with the nominal an octave up, after a tuned hand bell.
BELL_PARTIALS = (
    (1.0, 0.55, 1.1),
    (2.0, 0.32, 0.8),
    (2.997, 0.16, 0.5),
    (4.2, 0.14, 0.3),
    (5.43, 0.1, 0.2),
    (6.8, 0.06, 0.12),
)
GONG_HERTZ = (98.0, 147.3, 201.0, 263.7, 341.0, 412.9)


def _bowed(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
    body = 1.0 + 0.8 * np.exp(-(((numbers * frequency - 520.0) / 220.0) ** 2))
    return 0.5 * body / numbers**1.25 / (1.0 + (numbers * frequency / 2600.0) ** 2) + 0.0 * progress


def lead(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Hand bell that rings past its written length."""
    return partials_note(frequency, seconds, sample_rate, BELL_PARTIALS, 0.003, 0.9)


def harmony(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Small harp-like pluck of few partials."""
    partials = ((1.0, 0.7, 0.5), (2.0, 0.25, 0.3), (3.0, 0.12, 0.2), (4.0, 0.05, 0.12))
    return partials_note(frequency, seconds, sample_rate, partials, 0.004, 0.4)


def bass(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Low bowed string."""
    shape = Envelope(0.12, 1.0, 1.0, 0.3)
    return harmonic_note(frequency, seconds, sample_rate, _bowed, shape, unison=(-3.0, 3.0))


def pad(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """String ensemble."""
    shape = Envelope(0.4, 1.0, 1.0, 0.7)
    vibrato = Vibrato(5.1, 7.0, 0.4)
    return harmonic_note(frequency, seconds, sample_rate, _bowed, shape, vibrato=vibrato, unison=(-8.0, -2.0, 7.0))


CHIP = Chip(
    "strings and bells",
    {"lead": lead, "harmony": harmony, "bass": bass, "pad": pad},
    {
        drums.KICK: drums.layered(
            drums.drop_stroke(0.9, 0.16, 120.0, 62.0, 0.04), drums.noise_stroke(0.2, 0.02, 150.0, 900.0, seed=13)
        ),
        drums.TOM: drums.drop_stroke(0.6, 0.12, 190.0, 105.0, 0.04),
        # A rain stick: a soft shower that the next one takes over.
        drums.SHAKER: drums.noise_stroke(0.55, 0.6, 2500.0, 5000.0, seed=16, attack=0.2),
        drums.BLOCK: drums.metal_stroke(0.4, 0.03, (640.0, 1010.0)),
        drums.BELL: drums.metal_stroke(0.6, 0.5, GONG_HERTZ),
    },
)
