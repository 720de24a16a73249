"""Wavetable chip: short dark waves as in 16-bit consoles that stored samples, made to be heard through an echo."""

from __future__ import annotations

import numpy as np

from dataset_processing.synth import drums
from dataset_processing.synth.oscillators import Envelope, Vibrato, harmonic_note
from dataset_processing.synth.records import Chip


def _ocarina(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
    odd = numbers % 2.0
    return (odd + 0.12 * (1.0 - odd)) / numbers**2.3 + 0.0 * progress


def _glass(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
    body = 0.9 * (numbers == 1.0) + 0.35 * (numbers == 4.0) * (1.0 - progress) ** 2
    return body + 0.18 * (numbers == 7.0) * (1.0 - progress) ** 4 + 0.12 * (numbers == 2.0)


def _round(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
    return np.exp(-1.1 * (numbers - 1.0)) * (1.0 - 0.5 * progress * (numbers > 1.0))


def _choir(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
    return np.exp(-0.5 * ((numbers * frequency - 420.0) / 260.0) ** 2) + 0.5 * (numbers == 1.0) + 0.0 * progress


def lead(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Hollow ocarina with slow attack."""
    shape = Envelope(0.045, 0.8, 0.75, 0.18)
    return harmonic_note(frequency, seconds, sample_rate, _ocarina, shape, vibrato=Vibrato(4.6, 16.0, 0.4))


def harmony(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Glass pluck that rings on."""
    return harmonic_note(frequency, seconds, sample_rate, _glass, Envelope(0.004, 0.4, 0.0, 0.5), sweep=0.25)


def bass(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Round bass."""
    return harmonic_note(frequency, seconds, sample_rate, _round, Envelope(0.012, 0.9, 0.5, 0.12), sweep=0.4)


def pad(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Dark humming choir."""
    shape = Envelope(0.35, 1.0, 1.0, 0.6)
    return harmonic_note(frequency, seconds, sample_rate, _choir, shape, unison=(-5.0, 5.0))


CHIP = Chip(
    "wavetable",
    {"lead": lead, "harmony": harmony, "bass": bass, "pad": pad},
    {
        drums.KICK: drums.drop_stroke(0.8, 0.09, 110.0, 48.0, 0.03),
        drums.BLOCK: drums.drop_stroke(0.3, 0.035, 1500.0, 900.0, 0.02),
        drums.TOM: drums.drop_stroke(0.5, 0.12, 160.0, 95.0, 0.05),
        drums.SHAKER: drums.noise_stroke(0.12, 0.03, 2500.0, 5000.0, seed=5),
    },
)
