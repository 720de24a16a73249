"""Analogue-filter chip: saws and pulses through a resonant low-pass whose cut-off moves during the note.

The filter is applied to the amplitudes of the partials, frame by frame, so there is no recursive loop.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataset_processing.synth import drums
from dataset_processing.synth.oscillators import Envelope, Spectrum, Vibrato, harmonic_note
from dataset_processing.synth.records import Chip


def filtered(wave: Callable[[np.ndarray], np.ndarray], cutoff: tuple[float, float], resonance: float) -> Spectrum:
    """Spectrum of a wave through a two-pole low-pass that moves from one cut-off (Hz) to the other as progress grows.

    wave: amplitude of each harmonic number; resonance: quality factor, 0.7 (flat) .. 8 (whistling).
    """

    def spectrum(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
        corner = cutoff[0] * (cutoff[1] / cutoff[0]) ** progress
        ratio = numbers * frequency / corner
        return wave(numbers) / np.sqrt((1.0 - ratio**2) ** 2 + (ratio / resonance) ** 2)

    return spectrum


def _saw(numbers: np.ndarray) -> np.ndarray:
    return 0.6 / numbers


def _square(numbers: np.ndarray) -> np.ndarray:
    return 0.8 * (numbers % 2.0) / numbers


def _slow_wave(times: np.ndarray) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * 0.21 * times)


def lead(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Gliding filtered square."""
    timbre = filtered(_square, (3200.0, 1100.0), 1.6)
    shape = Envelope(0.02, 0.8, 0.7, 0.2)
    vibrato = Vibrato(5.0, 18.0, 0.35)
    return harmonic_note(frequency, seconds, sample_rate, timbre, shape, sweep=0.3, vibrato=vibrato)


def harmony(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Resonant saw pluck for running arpeggios."""
    timbre = filtered(_saw, (4200.0, 500.0), 3.5)
    return harmonic_note(frequency, seconds, sample_rate, timbre, Envelope(0.003, 0.2, 0.1, 0.08), sweep=0.07)


def bass(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Squelching saw bass."""
    timbre = filtered(_saw, (1300.0, 170.0), 3.0)
    return harmonic_note(frequency, seconds, sample_rate, timbre, Envelope(0.004, 0.5, 0.6, 0.06), sweep=0.12)


def pad(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Three saws under a slow filter wave."""
    timbre = filtered(_saw, (700.0, 3200.0), 1.8)
    shape = Envelope(0.25, 1.0, 1.0, 0.5)
    return harmonic_note(frequency, seconds, sample_rate, timbre, shape, sweep=_slow_wave, unison=(-9.0, 0.0, 9.0))


CHIP = Chip(
    "sid",
    {"lead": lead, "harmony": harmony, "bass": bass, "pad": pad},
    {
        drums.KICK: drums.drop_stroke(1.0, 0.1, 180.0, 45.0, 0.025),
        drums.CLAP: drums.layered(
            drums.noise_stroke(0.5, 0.05, 900.0, 3500.0, seed=10),
            drums.noise_stroke(0.3, 0.012, 700.0, 5000.0, seed=11),
        ),
        drums.CLOSED_HAT: drums.noise_stroke(0.42, 0.045, 5500.0, 12000.0, seed=12),
        drums.TOM: drums.drop_stroke(0.6, 0.12, 400.0, 90.0, 0.07),
    },
)
