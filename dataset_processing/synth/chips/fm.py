"""FM chip: two sine operators a voice, the second bending the phase of the first."""

from __future__ import annotations

import numpy as np

from dataset_processing.synth import drums
from dataset_processing.synth.oscillators import PARTIAL_LIMIT, Envelope, envelope_curve, note_times
from dataset_processing.synth.records import Chip

# Side bands beyond index + 3 are under -50 dB, so the index is capped for those to stay below the limit.
SIDE_BAND_ROOM = 3.0


def fm_note(
    frequency: float,
    seconds: float,
    sample_rate: int,
    *,
    ratio: float,
    index: tuple[float, float],
    index_decay: float,
    shape: Envelope,
) -> np.ndarray:
    """Two-operator note, mono float32 (samples,).

    ratio: modulator over carrier frequency; index: modulation index in radians at the start and after index_decay s.
    """
    times = note_times(seconds + shape.release, sample_rate)
    room = (PARTIAL_LIMIT * sample_rate - frequency) / (frequency * ratio) - SIDE_BAND_ROOM
    depth = np.minimum(index[1] + (index[0] - index[1]) * np.exp(-times / index_decay), max(room, 0.0))
    turn = 2.0 * np.pi * frequency * times
    wave = np.sin(turn + depth * np.sin(ratio * turn))
    return wave.astype(np.float32) * envelope_curve(times, seconds, shape)


def lead(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Bright brass."""
    shape = Envelope(0.012, 0.5, 0.75, 0.06)
    return fm_note(frequency, seconds, sample_rate, ratio=1.0, index=(3.4, 2.2), index_decay=0.2, shape=shape)


def harmony(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Electric-piano stab with a metallic tine."""
    shape = Envelope(0.003, 0.22, 0.1, 0.05)
    return fm_note(frequency, seconds, sample_rate, ratio=3.0, index=(2.6, 0.5), index_decay=0.1, shape=shape)


def bass(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Slapped bass."""
    shape = Envelope(0.003, 0.3, 0.55, 0.03)
    return fm_note(frequency, seconds, sample_rate, ratio=2.0, index=(5.0, 1.3), index_decay=0.07, shape=shape)


CHIP = Chip(
    "fm",
    {"lead": lead, "harmony": harmony, "bass": bass},
    {
        drums.KICK: drums.layered(
            drums.drop_stroke(1.1, 0.08, 300.0, 52.0, 0.018), drums.noise_stroke(0.25, 0.006, 1500.0, 8000.0)
        ),
        drums.SNARE: drums.layered(
            drums.noise_stroke(0.9, 0.07, 1500.0, 12000.0, seed=6), drums.drop_stroke(0.4, 0.04, 330.0, 190.0, 0.02)
        ),
        drums.TOM: drums.drop_stroke(0.8, 0.1, 260.0, 110.0, 0.06),
        drums.CLOSED_HAT: drums.noise_stroke(0.55, 0.02, 8000.0, 17000.0, seed=7),
        drums.OPEN_HAT: drums.noise_stroke(0.6, 0.09, 7500.0, 17000.0, seed=8),
    },
)
