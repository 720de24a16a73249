"""Band-limited building blocks that every sound chip shares: tables, phases, envelopes and filtered noise.

All functions are pure and vectorised. Times are in seconds, frequencies in hertz, pitches of partials are cut below
the Nyquist frequency before a table is made, so no voice can alias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# One cycle. A power of two (cheap wrap); with linear interpolation its error stays under -80 dB for 1/k spectra.
TABLE_SIZE = 4096
# Partials stop at this share of the sample rate: under Nyquist with room for vibrato and interpolation.
PARTIAL_LIMIT = 0.45
# Spectral frames of a voice whose timbre moves; neighbours are cross-faded, so few are enough.
SPECTRAL_FRAMES = 12
A4_HERTZ = 440.0
A4_PITCH = 69

Spectrum = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class Envelope:
    """Attack / decay / sustain / release. Times in seconds (attack >= 0.002 avoids clicks), sustain level in 0..1."""

    attack: float
    decay: float
    sustain: float
    release: float


@dataclass(frozen=True)
class Vibrato:
    """Pitch modulation: rate in hertz, depth in cents, delay in seconds before it has grown to full depth."""

    rate: float
    cents: float
    delay: float = 0.25


def pitch_frequency(pitch: float) -> float:
    """Frequency in hertz of a MIDI pitch number in equal temperament, A4 (69) = 440 Hz."""
    return A4_HERTZ * 2.0 ** ((pitch - A4_PITCH) / 12.0)


def note_times(seconds: float, sample_rate: int) -> np.ndarray:
    """Sample times in seconds, float64 of shape (samples,), at least one sample long."""
    return np.arange(max(1, round(seconds * sample_rate))) / sample_rate


def envelope_curve(times: np.ndarray, held: float, shape: Envelope) -> np.ndarray:
    """Amplitude in 0..1, shape (samples,), of a note held for `held` seconds; it ends at zero after the release."""
    level = shape.sustain + (1.0 - shape.sustain) * np.exp(-times / max(shape.decay, 1e-4))
    level *= np.minimum(1.0, times / shape.attack)
    fading = np.clip(1.0 - (times - held) / shape.release, 0.0, 1.0)
    return (level * fading * fading).astype(np.float32)


def phase_cycles(frequency: float, times: np.ndarray, vibrato: Vibrato | None = None) -> np.ndarray:
    """Running phase in cycles, float64 of shape (samples,), with delayed vibrato."""
    if vibrato is None:
        return frequency * times
    depth = 2.0 ** (vibrato.cents / 1200.0) - 1.0
    growth = np.clip(times / max(vibrato.delay, 1e-3) - 0.5, 0.0, 1.0)
    wobble = depth * growth * np.sin(2.0 * np.pi * vibrato.rate * times) / (2.0 * np.pi * vibrato.rate)
    return frequency * (times - wobble)


def harmonic_numbers(frequency: float, sample_rate: int) -> np.ndarray:
    """Numbers 1..K of the harmonics that fit below the limit, float64 of shape (1, K), K >= 1."""
    count = int(PARTIAL_LIMIT * sample_rate / frequency)
    return np.arange(1.0, min(max(count, 1), TABLE_SIZE // 4) + 1.0)[None, :]


def wave_tables(amplitudes: np.ndarray) -> np.ndarray:
    """One cycle per row of harmonic amplitudes.

    amplitudes: (frames, harmonics), sine phases (so that rows cross-fade without cancelling).
    Returns float32 of shape (frames, TABLE_SIZE), zero mean.
    """
    frames, harmonics = amplitudes.shape
    spectrum = np.zeros((frames, TABLE_SIZE // 2 + 1), dtype=np.complex128)
    spectrum[:, 1 : harmonics + 1] = amplitudes * (-0.5j * TABLE_SIZE)
    return np.fft.irfft(spectrum, axis=1).astype(np.float32)


def read_tables(tables: np.ndarray, phase: np.ndarray, progress: np.ndarray) -> np.ndarray:
    """Read tables (frames, TABLE_SIZE) at a phase in cycles and a progress in 0..1 through the frames, both (n,).

    Returns float32 of shape (n,), linearly interpolated in phase and between frames.
    """
    place = (phase % 1.0) * TABLE_SIZE
    left = place.astype(np.int32)
    share = (place - left).astype(np.float32)
    left &= TABLE_SIZE - 1
    right = (left + 1) & (TABLE_SIZE - 1)
    frames = tables.shape[0]
    if frames == 1:
        row = tables[0]
        return row[left] + share * (row[right] - row[left])
    position = np.clip(progress, 0.0, 1.0) * (frames - 1)
    frame = np.minimum(position.astype(np.int32), frames - 2)
    blend = (position - frame).astype(np.float32)
    flat = tables.reshape(-1)
    base = frame * TABLE_SIZE
    early = flat[base + left] * (1.0 - share) + flat[base + right] * share
    base += TABLE_SIZE
    late = flat[base + left] * (1.0 - share) + flat[base + right] * share
    return early + blend * (late - early)


def harmonic_note(
    frequency: float,
    seconds: float,
    sample_rate: int,
    spectrum: Spectrum,
    shape: Envelope,
    *,
    sweep: float | Callable[[np.ndarray], np.ndarray] | None = None,
    vibrato: Vibrato | None = None,
    unison: tuple[float, ...] = (0.0,),
) -> np.ndarray:
    """A note with harmonic partials, mono float32 of shape (samples,), about -1..1, release included.

    spectrum: called with harmonic numbers (1, K), progress (frames, 1) in 0..1 and the frequency, gives (frames, K).
    sweep: None for a fixed timbre; seconds for a progress 1 - exp(-t / sweep); or a function of the sample times.
    unison: detuning in cents of the oscillators that sound together.
    """
    times = note_times(seconds + shape.release, sample_rate)
    numbers = harmonic_numbers(frequency, sample_rate)
    frames = 1 if sweep is None else SPECTRAL_FRAMES
    tables = wave_tables(spectrum(numbers, np.linspace(0.0, 1.0, frames)[:, None], frequency))
    progress = sweep(times) if callable(sweep) else 1.0 - np.exp(-times / (sweep or 1.0))
    wave = np.zeros(times.size, dtype=np.float32)
    for index, cents in enumerate(unison):
        # Spread start phases: oscillators that start together beat from a false, loud attack.
        phase = phase_cycles(frequency * 2.0 ** (cents / 1200.0), times, vibrato) + 0.37 * index
        wave += read_tables(tables, phase, progress)
    return wave * envelope_curve(times, seconds, shape) / np.float32(len(unison) ** 0.5)


def partials_note(
    frequency: float,
    seconds: float,
    sample_rate: int,
    partials: tuple[tuple[float, float, float], ...],
    attack: float,
    release: float,
) -> np.ndarray:
    """A struck body with free partials, mono float32 of shape (samples,).

    partials: (frequency ratio, amplitude, decay time constant in seconds) of each; those over the limit are left out.
    """
    times = note_times(seconds + release, sample_rate)
    wave = np.zeros(times.size, dtype=np.float32)
    for ratio, amplitude, decay in partials:
        if frequency * ratio < PARTIAL_LIMIT * sample_rate:
            turn = ((frequency * ratio * times) % 1.0 * (2.0 * np.pi)).astype(np.float32)
            wave += np.float32(amplitude) * np.sin(turn) * np.exp(times * (-1.0 / decay)).astype(np.float32)
    return wave * envelope_curve(times, seconds, Envelope(attack, 1.0, 1.0, release))


def filtered_noise(seconds: float, low: float, high: float, sample_rate: int, seed: int) -> np.ndarray:
    """White noise through gentle low-cut and high-cut slopes (hertz), unit RMS, float64 of shape (samples,)."""
    count = max(16, round(seconds * sample_rate))
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    frequency = np.maximum(np.fft.rfftfreq(count, 1.0 / sample_rate), 1e-3)
    spectrum *= 1.0 / np.sqrt((1.0 + (low / frequency) ** 6) * (1.0 + (frequency / high) ** 6))
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, count)
    return noise / max(float(np.sqrt(np.mean(noise**2))), 1e-9)
