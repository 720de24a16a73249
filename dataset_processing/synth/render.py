"""A score to stereo sound: notes from the chip, panned parts, echo, reverb and a peak-safe master."""

from __future__ import annotations

import numpy as np

from dataset_processing.synth.composition import Note, Score
from dataset_processing.synth.oscillators import filtered_noise, pitch_frequency
from dataset_processing.synth.records import Game, PartMix, Space

# Silence before the first note: the equaliser rings ahead of it by half its length, and is faded in.
LEAD_IN_SECONDS, FADE_IN_SECONDS = 0.035, 0.02
# The last chord rings this long, and longer in a large room, while it is faded to zero.
TAIL_SECONDS, TAIL_ROOM_SHARE = 0.6, 0.4
# Length of the linear-phase equaliser: its notch at direct current then ends under the lowest bass note (41 Hz).
TONE_SECONDS = 0.06
# A track is cut to, or rings to, this share of the wanted length at most / least.
LENGTH_LIMITS = (0.8, 1.2)
# Every track gets this root-mean-square level (-17 dBFS), then peaks are held under PEAK.
LEVEL_RMS = 0.14
PEAK = 0.89
# The master turns gain down over blocks of this many samples, looking this many blocks around.
LIMITER_BLOCK, LIMITER_REACH = 64, 12
ECHO_TAPS = 4
# Echoes lose treble through this smoothing kernel at each repeat.
ECHO_KERNEL = np.array([0.25, 0.5, 0.25], dtype=np.float32)
# Notes are cached by duration rounded to this many samples-independent seconds.
DURATION_GRID = 1e-4
REVERB_SEEDS = (101, 102)


class _NoteCache:
    """Waveforms of one chip, each rendered once; it lives as long as one track is rendered."""

    def __init__(self, game: Game, sample_rate: int) -> None:
        self._chip, self._rate = game.chip, sample_rate
        self._voices = {"counter": game.chip.voices[game.counter_voice], **game.chip.voices}
        self._waves: dict[tuple[str, int, int, float], np.ndarray] = {}

    def wave(self, note: Note, seconds: float, cents: float) -> np.ndarray:
        """The note's samples (N,), rendered once for notes that sound the same. `cents`: how far it is out of tune."""
        key = (note.part, note.pitch, 0 if note.part == "drums" else round(seconds / DURATION_GRID), cents)
        if key not in self._waves:
            self._waves[key] = self._render(note, key[2] * DURATION_GRID, cents)
        return self._waves[key]

    def _render(self, note: Note, seconds: float, cents: float) -> np.ndarray:
        if note.part == "drums":
            return self._chip.drums[note.pitch](self._rate)
        return self._voices[note.part](pitch_frequency(note.pitch + cents / 100.0), seconds, self._rate)


def _add_part(score: Score, part: str, mix: PartMix, cache: _NoteCache, samples: int, rate: int) -> np.ndarray:
    """One part, (2, samples) float32, panned with equal power; a spread part is rendered once for each side."""
    sides = [-mix.spread_cents, mix.spread_cents] if mix.spread_cents else [0.0]
    buses = [np.zeros(samples, dtype=np.float32) for _ in sides]
    beat = 60.0 / score.tempo
    for note in score.notes:
        if note.part != part:
            continue
        start = round((LEAD_IN_SECONDS + note.start * beat) * rate)
        for bus, cents in zip(buses, sides, strict=True):
            wave = cache.wave(note, note.duration * beat, cents)[: max(samples - start, 0)]
            bus[start : start + wave.size] += np.float32(note.velocity) * wave
    angle = (mix.pan + 1.0) * np.pi / 4.0
    left, right = mix.gain * np.sqrt(2.0) * np.cos(angle), mix.gain * np.sqrt(2.0) * np.sin(angle)
    return np.stack([buses[0] * np.float32(left), buses[-1] * np.float32(right)])


def _echo(send: np.ndarray, space: Space, beat: float, rate: int) -> np.ndarray:
    """Repeats of a (2, samples) send that swap sides and darken."""
    delay = max(1, round(space.echo_beats * beat * rate))
    wet, tap = np.zeros_like(send), send
    for index in range(1, ECHO_TAPS + 1):
        offset = index * delay
        if offset >= send.shape[1]:
            break
        tap = np.stack([np.convolve(side, ECHO_KERNEL, "same") for side in tap[::-1]])
        wet[:, offset:] += np.float32(space.echo_feedback**index) * tap[:, : send.shape[1] - offset]
    return wet


def _convolve(signal: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolution of a (samples,) signal by blocks, cut to its length."""
    block = 1 << max(10, int(np.ceil(np.log2(response.size))))
    count = -(-signal.size // block)
    padded = np.zeros(count * block)
    padded[: signal.size] = signal
    spectrum = np.fft.rfft(padded.reshape(count, block), 2 * block, axis=1)
    pieces = np.fft.irfft(spectrum * np.fft.rfft(response, 2 * block), 2 * block, axis=1)
    whole = pieces[:, :block].copy()
    whole[1:] += pieces[:-1, block:]
    return whole.reshape(-1)[: signal.size]


def _reverb(send: np.ndarray, space: Space, rate: int) -> np.ndarray:
    """(2, samples) send through a decaying-noise room, independent on each side, by block convolution."""
    wet = np.zeros_like(send)
    for side, seed in enumerate(REVERB_SEEDS):
        response = filtered_noise(space.reverb_seconds, 180.0, space.reverb_high, rate, seed)
        times = np.arange(response.size) / rate
        # -60 dB at the end, a soft onset, unit energy.
        response *= 10.0 ** (-3.0 * times / space.reverb_seconds) * np.minimum(1.0, times / 0.01)
        response /= np.sqrt(np.sum(response**2))
        # Each side hears a little of the other, as in a room.
        wet[side] = _convolve(0.8 * send[side] + 0.4 * send[1 - side], response)
    return wet


def _voice_output(audio: np.ndarray, tone: tuple[tuple[float, float], ...], rate: int) -> np.ndarray:
    """(2, samples) through the game's equaliser: linear phase, no delay, direct current removed."""
    taps = 2 * (round(TONE_SECONDS * rate) // 2)
    frequencies = np.fft.rfftfreq(taps, 1.0 / rate)
    points = np.array(tone, dtype=np.float64)
    decibels = np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(points[:, 0]), points[:, 1])
    gains = 10.0 ** (decibels / 20.0)
    gains[0] = 0.0
    window = np.hanning(taps + 1)[:-1]
    response = np.roll(np.fft.irfft(gains, taps), taps // 2) * window
    response -= window * (response.sum() / window.sum())
    padded = np.pad(audio, ((0, 0), (0, taps // 2)))
    return np.stack([_convolve(side, response)[taps // 2 :] for side in padded]).astype(np.float32)


def _limit(audio: np.ndarray) -> np.ndarray:
    """Hold |audio| of shape (2, samples) at PEAK by turning gain down smoothly around each peak."""
    samples = audio.shape[1]
    count = -(-samples // LIMITER_BLOCK)
    peaks = np.zeros(count * LIMITER_BLOCK, dtype=np.float32)
    peaks[:samples] = np.abs(audio).max(axis=0)
    needed = np.minimum(1.0, PEAK / np.maximum(peaks.reshape(count, -1).max(axis=1), 1e-9))
    if needed.min() >= 1.0:
        return audio
    wide = np.pad(needed, 2 * LIMITER_REACH, mode="edge")
    lowest = np.lib.stride_tricks.sliding_window_view(wide, 2 * LIMITER_REACH + 1).min(axis=1)
    # The mean of minima stays below each block's own need, also half a block into its neighbours.
    smooth = np.lib.stride_tricks.sliding_window_view(lowest, 2 * LIMITER_REACH + 1).mean(axis=1)
    centres = (np.arange(count) + 0.5) * LIMITER_BLOCK
    gain = np.interp(np.arange(samples), centres, smooth)
    return (audio * gain).astype(np.float32)


def _master(audio: np.ndarray, rise_samples: int, fade_samples: int) -> np.ndarray:
    """Fixed level, faded in from zero and out to zero, peak at most 0.9."""
    audio = audio * np.float32(LEVEL_RMS / max(float(np.sqrt(np.mean(audio**2))), 1e-6))
    audio = _limit(audio)
    fade = np.ones(audio.shape[1], dtype=np.float32)
    fade[:rise_samples] = np.linspace(0.0, 1.0, rise_samples)[: fade.size] ** 3
    fade[-fade_samples:] *= np.cos(np.linspace(0.0, np.pi / 2.0, fade_samples)) ** 2
    audio = audio * fade
    peak = float(np.abs(audio).max())
    return audio if peak <= PEAK else audio * np.float32(PEAK / peak)


def render(score: Score, game: Game, sample_rate: int = 44100, *, seconds: float | None = None) -> np.ndarray:
    """Sound of a score, float32 of shape (2, samples), |x| <= 0.9, faded to zero at its end.

    seconds: the wanted length; the result stays within 0.8 .. 1.2 of it. None lets the last chord ring out.
    """
    beat = 60.0 / score.tempo
    tail = TAIL_SECONDS + TAIL_ROOM_SHARE * game.space.reverb_seconds
    length = LEAD_IN_SECONDS + score.seconds + tail
    if seconds is not None:
        length = min(max(length, LENGTH_LIMITS[0] * seconds), LENGTH_LIMITS[1] * seconds)
    samples = max(1, int(length * sample_rate))
    cache = _NoteCache(game, sample_rate)
    dry, echo, reverb = (np.zeros((2, samples), dtype=np.float32) for _ in range(3))
    for part, mix in game.mix.items():
        bus = _add_part(score, part, mix, cache, samples, sample_rate)
        dry += bus
        if mix.echo:
            echo += np.float32(mix.echo) * bus
        if mix.reverb and game.space.reverb_seconds:
            reverb += np.float32(mix.reverb) * bus
    if any(mix.echo for mix in game.mix.values()):
        wet = _echo(echo, game.space, beat, sample_rate)
        dry += wet
    if game.space.reverb_seconds:
        dry += _reverb(reverb, game.space, sample_rate)
    fade = min(tail, 0.3 * samples / sample_rate)
    rise = round(FADE_IN_SECONDS * sample_rate)
    return _master(_voice_output(dry, game.tone, sample_rate), rise, max(1, int(fade * sample_rate)))
