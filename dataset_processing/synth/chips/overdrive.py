"""Overdrive chip: saturated guitars and struck metal.

A saturated power chord (root, fifth, octave) repeats every two root cycles, so it is one table read an octave down;
its overtones are cut below Nyquist like those of any other table.
"""

from __future__ import annotations

import numpy as np

from dataset_processing.synth import drums
from dataset_processing.synth.oscillators import TABLE_SIZE, Envelope, Spectrum, Vibrato, harmonic_note
from dataset_processing.synth.records import Chip

ANVIL_HERTZ = (1130.0, 1790.0, 2660.0, 3510.0, 4480.0)


def _saturated(tones: tuple[int, ...], drive: float) -> Spectrum:
    def spectrum(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
        turn = 2.0 * np.pi * np.arange(TABLE_SIZE) / TABLE_SIZE
        clean = sum(np.sin(tone * turn) + 0.5 * np.sin(2 * tone * turn) for tone in tones) / len(tones)
        amplitudes = -2.0 * np.fft.rfft(np.tanh(drive * clean)).imag[1 : numbers.size + 1] / TABLE_SIZE
        # The loudspeaker: little above 4 kHz.
        return amplitudes[None, :] / (1.0 + (numbers * frequency / 4000.0) ** 4) + 0.0 * progress

    return spectrum


def lead(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Singing solo guitar."""
    shape = Envelope(0.006, 1.0, 0.8, 0.08)
    vibrato = Vibrato(5.6, 20.0, 0.3)
    return harmonic_note(frequency, seconds, sample_rate, _saturated((1,), 5.0), shape, vibrato=vibrato)


def harmony(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Power chord on the pitch."""
    shape = Envelope(0.004, 0.5, 0.6, 0.04)
    return harmonic_note(frequency / 2.0, seconds, sample_rate, _saturated((2, 3, 4), 4.0), shape)


def bass(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Picked bass with grit."""
    return harmonic_note(frequency, seconds, sample_rate, _saturated((1,), 1.5), Envelope(0.004, 0.5, 0.6, 0.03))


CHIP = Chip(
    "overdrive",
    {"lead": lead, "harmony": harmony, "bass": bass},
    {
        drums.KICK: drums.layered(
            drums.drop_stroke(1.0, 0.06, 220.0, 58.0, 0.015), drums.noise_stroke(0.3, 0.008, 1000.0, 6000.0)
        ),
        drums.SNARE: drums.layered(
            drums.noise_stroke(0.8, 0.09, 400.0, 7000.0, seed=15), drums.drop_stroke(0.5, 0.05, 260.0, 170.0, 0.02)
        ),
        drums.BELL: drums.metal_stroke(0.55, 0.08, ANVIL_HERTZ),
        drums.TOM: drums.drop_stroke(0.8, 0.12, 180.0, 80.0, 0.05),
    },
)
