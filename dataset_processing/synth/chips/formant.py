"""Formant chip: singing vowels over mallets."""

from __future__ import annotations

import numpy as np

from dataset_processing.synth import drums
from dataset_processing.synth.oscillators import Envelope, Spectrum, Vibrato, harmonic_note, partials_note
from dataset_processing.synth.records import Chip

# (centre Hz, width Hz, level) of the mouth resonances.
VOWEL_AH = ((720.0, 160.0, 1.0), (1180.0, 200.0, 0.7), (2700.0, 300.0, 0.28))
VOWEL_OO = ((340.0, 120.0, 1.0), (860.0, 180.0, 0.3))
# A tuned bar: fundamental, the octave-and-two above, and a short knock.
BAR_PARTIALS = ((1.0, 0.8, 0.28), (3.98, 0.3, 0.07), (9.2, 0.12, 0.03))


def _vowel(formants: tuple[tuple[float, float, float], ...]) -> Spectrum:
    def spectrum(numbers: np.ndarray, progress: np.ndarray, frequency: float) -> np.ndarray:
        heard = numbers * frequency
        gain = sum(level / (1.0 + ((heard - centre) / width) ** 2) for centre, width, level in formants)
        return 1.2 * gain / numbers**0.5 + 0.0 * progress

    return spectrum


def lead(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Singer on "ah"."""
    shape = Envelope(0.05, 1.0, 1.0, 0.12)
    return harmonic_note(frequency, seconds, sample_rate, _vowel(VOWEL_AH), shape, vibrato=Vibrato(5.5, 22.0, 0.3))


def harmony(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Marimba bar."""
    return partials_note(frequency, seconds, sample_rate, BAR_PARTIALS, 0.002, 0.25)


def bass(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Humming bass singer."""
    return harmonic_note(frequency, seconds, sample_rate, _vowel(VOWEL_OO), Envelope(0.02, 0.8, 0.6, 0.08))


CHIP = Chip(
    "formant",
    {"lead": lead, "harmony": harmony, "bass": bass},
    {
        drums.KICK: drums.drop_stroke(0.5, 0.06, 150.0, 85.0, 0.02),
        drums.TOM: drums.drop_stroke(0.5, 0.05, 330.0, 230.0, 0.02),
        drums.SHAKER: drums.noise_stroke(0.6, 0.03, 3500.0, 6500.0, seed=14),
    },
)
