"""Rhythm: where notes begin, how clearly that repeats as a beat, how fast, and whether the tempo stays.

The onset curve is the spectral flux of logarithmic magnitudes, half-wave rectified (Bello et al. 2005, section III.B);
its largest autocorrelation at the lags of a beat says how clear the beat is. Constants were chosen on the built-in
corpus so that the corpus, and the same through the format, come out at 0.65 and 0.62 (beat), 4.5 and 4.0 (onsets).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dualdiffusion.dsp.onsets import HOP_SECONDS, onset_curve

SLOWEST, FASTEST = 60.0, 200.0
"""Beats per minute."""
STILL = 0.01
"""Nepers: an onset curve that moves by less than this has no beat, however regular; a held chord's ripple is such."""
PEAK_QUANTILE = 0.98
BLUR_SECONDS = 0.08
"""Width of the window that the onset curve is smoothed with before a tempo is looked for: onsets lie between frames."""
CLEAR = 0.15
"""Beat clarity from which there is a tempo at all: noise of 8 s reaches 0.12."""
PART_SECONDS = 4.0
"""The tempo is looked for again in parts of about this length."""
SAME_TEMPO = 0.03
"""Lags that differ by no more than this share are one tempo."""


@dataclass(frozen=True)
class Rhythm:
    """What is told of a clip's rhythm.

    Attributes:
        beat: clarity: the largest autocorrelation of the onset curve at lags of 60 to 200 beats per minute, 0 to 1.
        onsets: contrast: the 98th percentile of the onset curve over its mean; 0 in silence.
        density: the mean of the onset curve, in nepers per frame of 8 ms: how much begins.
        tempo: beats per minute; None without a beat.
        stays: the share of its own largest autocorrelation that each part of 4 s has at the whole clip's tempo, their
            mean, from 0 to 1; 0 without a beat, None for clips too short to have two parts.
    """

    beat: float
    onsets: float
    density: float
    tempo: float | None
    stays: float | None


def rhythm(clip: Tensor, sample_rate: int) -> Rhythm:
    """The rhythm of a clip (C, N), of any length."""
    return rhythm_of_curve(onset_curve(clip, sample_rate))


def rhythm_of_curve(curve: Tensor) -> Rhythm:
    """The rhythm of an onset curve with a value every 8 ms."""
    if not len(curve):
        return Rhythm(0.0, 0.0, 0.0, None, None)
    mean, peak = float(curve.mean()), float(torch.quantile(curve, PEAK_QUANTILE))
    onsets = peak / mean if peak > STILL else 0.0
    beat = max(float(_among_beats(autocorrelation(curve)).max()), 0.0) if len(curve) > _lags()[0] else 0.0
    parts = int((len(curve) + 1) * HOP_SECONDS / PART_SECONDS + 0.05)
    if beat < CLEAR:
        return Rhythm(beat, onsets, mean, None, 0.0 if parts > 1 else None)
    lag = _period(autocorrelation(_blurred(curve)))
    stays = _stays(curve, lag, parts) if parts > 1 else None
    return Rhythm(beat, onsets, mean, 60 / (lag * HOP_SECONDS), stays)


def autocorrelation(curve: Tensor) -> Tensor:
    """Of the curve less its mean, over that of lag 0, not corrected for the overlap: (L,) -> (L,).

    Curves that hardly move are divided by more, so that no beat is found in what nobody hears.
    """
    centred, size = curve - curve.mean(), len(curve)
    raw = torch.fft.irfft(torch.fft.rfft(centred, 2 * size).abs().square(), 2 * size)[:size]
    return raw / (raw[0] + size * STILL**2)


def _lags() -> tuple[int, int]:
    """The shortest and the longest period of a beat, in frames."""
    return round(60 / FASTEST / HOP_SECONDS), round(60 / SLOWEST / HOP_SECONDS)


def _among_beats(correlation: Tensor) -> Tensor:
    shortest, longest = _lags()
    return correlation[shortest : longest + 1]


def _blurred(curve: Tensor) -> Tensor:
    """Without it, a beat of 62.5 frames would be weaker than its double, which meets the frames."""
    window = torch.hann_window(round(BLUR_SECONDS / HOP_SECONDS) + 1, periodic=False, dtype=curve.dtype)
    return torch.nn.functional.conv1d(curve[None, None], (window / window.sum())[None, None], padding="same")[0, 0]


def _period(correlation: Tensor) -> float:
    """Where the parabola through the largest autocorrelation of a beat and its neighbours peaks, in frames."""
    lag = _lags()[0] + int(_among_beats(correlation).argmax())
    if lag + 1 >= len(correlation):
        return float(lag)
    before, here, after = correlation[lag - 1 : lag + 2].tolist()
    bend = 2 * here - before - after
    return lag + (max(min((after - before) / (2 * bend), 0.5), -0.5) if bend > 0 else 0.0)


def _stays(curve: Tensor, lag: float, parts: int) -> float:
    """See `Rhythm.stays`. Compared at one lag, parts that prefer twice or half the tempo do not disagree."""
    around, shares = max(round(SAME_TEMPO * lag), 1), []
    for part in _blurred(curve).tensor_split(parts):
        correlation = autocorrelation(part)
        best = float(_among_beats(correlation).max())
        there = float(correlation[round(lag) - around : round(lag) + around + 1].max())
        shares.append(max(there, 0.0) / best if best > 0 else 0.0)
    return min(sum(shares) / parts, 1.0)
