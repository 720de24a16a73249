"""Pulse chip: two pulse waves of fixed duty, a stepped triangle and a noise channel, as in 8-bit consoles."""

from __future__ import annotations

import numpy as np

from dataset_processing.synth import drums
from dataset_processing.synth.oscillators import (
    TABLE_SIZE,
    Envelope,
    Vibrato,
    harmonic_note,
)
from dataset_processing.synth.records import Chip

# The triangle channel is a staircase of this many steps a cycle, which gives it its faint buzz.
TRIANGLE_STEPS = 32


def _pulse(duty: float):
    def spectrum(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
        return 4.0 / np.pi * np.sin(np.pi * numbers * duty) / numbers * 0.6 + 0.0 * progress

    return spectrum


def _triangle(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
    place = np.floor(np.arange(TABLE_SIZE) * TRIANGLE_STEPS / TABLE_SIZE) + 0.5
    stairs = 4.0 * np.abs((place / TRIANGLE_STEPS + 0.25) % 1.0 - 0.5) - 1.0
    amplitudes = -2.0 * np.fft.rfft(stairs).imag / TABLE_SIZE
    return amplitudes[1 : numbers.size + 1][None, :] + 0.0 * progress


def lead(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Quarter-duty pulse with late vibrato."""
    shape = Envelope(0.004, 0.35, 0.6, 0.05)
    return harmonic_note(frequency, seconds, sample_rate, _pulse(0.25), shape, vibrato=Vibrato(5.8, 14.0, 0.3))


def harmony(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Thin one-eighth pulse that decays fast, for arpeggios."""
    return harmonic_note(frequency, seconds, sample_rate, _pulse(0.125), Envelope(0.003, 0.12, 0.25, 0.03))


def bass(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Staircase triangle without dynamics."""
    return harmonic_note(frequency, seconds, sample_rate, _triangle, Envelope(0.004, 1.0, 1.0, 0.03))


CHIP = Chip(
    "pulse",
    {"lead": lead, "harmony": harmony, "bass": bass},
    {
        drums.KICK: drums.layered(
            drums.drop_stroke(0.9, 0.05, 240.0, 60.0, 0.02), drums.noise_stroke(0.35, 0.012, 200.0, 3000.0)
        ),
        drums.SNARE: drums.noise_stroke(0.85, 0.05, 900.0, 9000.0, seed=2),
        drums.CLOSED_HAT: drums.noise_stroke(0.4, 0.014, 5000.0, 14000.0, seed=3),
        drums.OPEN_HAT: drums.noise_stroke(0.4, 0.06, 5000.0, 14000.0, seed=4),
    },
)
