"""Drum strokes from which each chip builds its kit. Each gives mono float32 of shape (samples,), about -1..1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataset_processing.synth.oscillators import PARTIAL_LIMIT, filtered_noise, note_times

# General MIDI percussion keys, used as the pitch of a drum note.
KICK, SNARE, CLAP, CLOSED_HAT, TOM, OPEN_HAT, TAMBOURINE, BLOCK, SHAKER, BELL = 36, 38, 39, 42, 45, 46, 54, 76, 82, 81

# A stroke rises over this time (s): short enough to be crisp, long enough not to click.
STROKE_ATTACK = 0.0015
# A stroke is cut after this many decay constants (-61 dB) with a last ramp to zero.
STROKE_DECAYS = 7.0

Drum = Callable[[int], np.ndarray]


def _stroke_shape(times: np.ndarray, decay: float, attack: float) -> np.ndarray:
    end = times[-1] + 1e-9
    return np.minimum(1.0, times / attack) * np.exp(-times / decay) * np.minimum(1.0, (end - times) / (0.1 * end))


def _shaped(wave: np.ndarray, times: np.ndarray, decay: float, attack: float = STROKE_ATTACK) -> np.ndarray:
    """The wave under its stroke shape, freed of its mean (a falling sine would push the speaker one way)."""
    shape = _stroke_shape(times, decay, attack)
    shaped = wave * shape
    return (shaped - shape * (shaped.sum() / max(float(shape.sum()), 1e-9))).astype(np.float32)


def noise_stroke(
    level: float, decay: float, low: float, high: float, seed: int = 1, attack: float = STROKE_ATTACK
) -> Drum:
    """A noise burst: decay constant and rise in seconds, band from low to high hertz."""

    def drum(sample_rate: int) -> np.ndarray:
        times = note_times(decay * STROKE_DECAYS, sample_rate)
        noise = filtered_noise(decay * STROKE_DECAYS, low, high, sample_rate, seed)[: times.size]
        return _shaped(0.33 * level * noise, times, decay, attack)

    return drum


def drop_stroke(level: float, decay: float, start: float, end: float, fall: float) -> Drum:
    """A sine that falls from start to end hertz (time constant `fall` s): kicks, toms, taikos, water drops."""

    def drum(sample_rate: int) -> np.ndarray:
        times = note_times(decay * STROKE_DECAYS, sample_rate)
        cycles = end * times + (start - end) * fall * (1.0 - np.exp(-times / fall))
        return _shaped(level * np.sin(2.0 * np.pi * cycles), times, decay)

    return drum


def metal_stroke(level: float, decay: float, frequencies: tuple[float, ...]) -> Drum:
    """Free partials in hertz that ring together: cymbal bells, anvils, wood blocks."""

    def drum(sample_rate: int) -> np.ndarray:
        times = note_times(decay * STROKE_DECAYS, sample_rate)
        heard = [f for f in frequencies if f < PARTIAL_LIMIT * sample_rate]
        wave = sum((np.sin(2.0 * np.pi * f * times) for f in heard), np.zeros(times.size))
        return _shaped(level * wave / max(len(heard), 1), times, decay)

    return drum


def layered(*strokes: Drum) -> Drum:
    """Several strokes that sound as one drum."""

    def drum(sample_rate: int) -> np.ndarray:
        waves = [stroke(sample_rate) for stroke in strokes]
        mixed = np.zeros(max(wave.size for wave in waves), dtype=np.float32)
        for wave in waves:
            mixed[: wave.size] += wave
        return mixed

    return drum
