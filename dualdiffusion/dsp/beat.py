"""The beat of a track: evenly spaced moments at which notes begin, found in its onset curve.

A beat of frequency f, with one of its moments at time s, fits an onset curve o(t) as well as

    score(f, s) = sum over k of w_k Re(exp(2 pi i k f s) O(k f)),   O(f) = sum over t of o(t) exp(-2 pi i f t)

which is the Fourier tempogram (Grosche and Mueller 2011, section III.A) read at the first multiples of f, as the
moments of a beat are a row of pulses, not a sine. Slow or fast, a beat is one of several that fit: which is meant is
settled by a preference for moderate tempi. So half of a tempo, or its double, may be found; the moments still fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dualdiffusion.dsp.onsets import FRAME_SECONDS, HOP_SECONDS, onset_curve

SLOWEST, FASTEST = 55.0, 205.0
"""Beats per minute that are looked for."""
USUAL, OCTAVES = 120.0, 0.9
"""Tempi are preferred by a normal density of their logarithm: its centre in beats per minute, its width in octaves."""
WEIGHTS = (1.0, 0.7, 0.5, 0.4)
"""w_k: how much the first multiples of the beat's frequency count."""
PHASES = 64
"""Places of a beat that are compared, as many between two moments."""
FINE = 8
"""Frequencies are so many times finer than 1 / the length of the track."""
PART_SECONDS, PART_HOP = 16.0, 8.0
"""Where the tempo changes, each part has a grid of its own."""
NEAR = 0.04
"""A part's tempo differs from the track's by no more than this share."""
GOOD_ENOUGH = 0.75
"""A part keeps the track's grid where that scores at least this share of the part's own best."""
DELAY = HOP_SECONDS + FRAME_SECONDS / 2
"""From the time of a value of the onset curve (its number times the hop) to that of the sound that causes it."""


@dataclass(frozen=True)
class BeatGrid:
    """Moments of a beat: `first` + k * 60 / bpm, for every whole k, in seconds.

    Attributes:
        first: from 0 up to, not including, 60 / bpm.
        clarity: 1 for pulses and nothing else, about 0 for noise.
    """

    bpm: float
    first: float
    clarity: float

    def beats_at(self, seconds: Tensor) -> Tensor:
        """How many beats, with their fractions, after the first moment: same shape."""
        return (seconds - self.first) * (self.bpm / 60)


@dataclass(frozen=True)
class Beat:
    """A track's beat: one grid, and for each part of 16 s, every 8 s, the one that holds there."""

    whole: BeatGrid
    parts: tuple[BeatGrid, ...]

    def at(self, seconds: float) -> BeatGrid:
        """The grid that holds around a moment."""
        number = round((seconds - PART_SECONDS / 2) / PART_HOP)
        return self.parts[min(max(number, 0), len(self.parts) - 1)]


def find_beat(clip: Tensor, sample_rate: int) -> Beat | None:
    """The beat of a clip (C, N) of any length; None in silence, and in clips shorter than two slow beats."""
    return beat_of_curve(onset_curve(clip, sample_rate))


def beat_of_curve(curve: Tensor) -> Beat | None:
    """As `find_beat`, of an onset curve (T,) with a value every 8 ms."""
    if len(curve) * HOP_SECONDS < 2 * 60 / SLOWEST or float(curve.max()) <= 0:
        return None
    whole = _fit(curve, SLOWEST, FASTEST, prefer_usual=True)
    length, hop = round(PART_SECONDS / HOP_SECONDS), round(PART_HOP / HOP_SECONDS)
    starts = range(0, max(len(curve) - length, 0) + hop // 2 + 1, hop)
    return Beat(whole, tuple(_part(curve[start : start + length], start * HOP_SECONDS, whole) for start in starts))


def _part(curve: Tensor, start: float, whole: BeatGrid) -> BeatGrid:
    """The grid of a part that begins at `start` seconds: the track's, unless another near it fits clearly better."""
    there = _moved(whole, start)
    own = _fit(curve, whole.bpm * (1 - NEAR), whole.bpm * (1 + NEAR))
    kept = _clarity_of(curve, there)
    if kept >= GOOD_ENOUGH * own.clarity:
        return BeatGrid(whole.bpm, whole.first, kept)
    return _moved(own, -start)


def _moved(grid: BeatGrid, seconds: float) -> BeatGrid:
    """The same moments, told from a beginning that is so much later."""
    return BeatGrid(grid.bpm, (grid.first - seconds) % (60 / grid.bpm), grid.clarity)


def _fit(curve: Tensor, slowest: float, fastest: float, *, prefer_usual: bool = False) -> BeatGrid:
    """The grid that fits best among tempi from `slowest` to `fastest`."""
    curve = (curve - curve.mean()).double()
    size = 1 << math.ceil(math.log2(FINE * len(curve)))
    spectrum = torch.fft.rfft(curve, size)
    step = 60 / (size * HOP_SECONDS)  # beats per minute between two bins
    bins = torch.arange(math.ceil(slowest / step), max(math.floor(fastest / step), math.ceil(slowest / step)) + 1)
    multiples = torch.stack([spectrum[k * bins] for k in range(1, len(WEIGHTS) + 1)])  # (k, F)
    scores, places = _scores(multiples, curve).max(dim=1)
    preferred = scores * torch.exp(-0.5 * ((bins * step / USUAL).log2() / OCTAVES).square()) if prefer_usual else scores
    best = int(preferred.argmax())
    bpm = float(bins[best]) * step
    first = (float(places[best]) / PHASES * 60 / bpm + DELAY) % (60 / bpm)
    return BeatGrid(bpm, first, float(scores[best]))


def _scores(multiples: Tensor, curve: Tensor) -> Tensor:
    """score(f, s) over what a row of pulses would have, for PHASES places s between two beats: (k, F) -> (F, PHASES)."""
    place = torch.arange(PHASES, dtype=torch.float64) / PHASES
    # Of a row of pulses less its mean, half of the sum of absolute values lies in the pulses: each multiple has that.
    most = curve.abs().sum().clamp(min=1e-12) / 2 * sum(WEIGHTS)
    turned = (
        weight * (multiples[k, :, None] * torch.exp(2j * math.pi * (k + 1) * place)).real
        for k, weight in enumerate(WEIGHTS)
    )
    return sum(turned) / most


def _clarity_of(curve: Tensor, grid: BeatGrid) -> float:
    """The score of a given grid."""
    curve = (curve - curve.mean()).double()
    beats = (torch.arange(len(curve)) * HOP_SECONDS + DELAY - grid.first) * (grid.bpm / 60)
    sums = [w * float((curve * torch.cos(2 * math.pi * (k + 1) * beats)).sum()) for k, w in enumerate(WEIGHTS)]
    return sum(sums) / (float(curve.abs().sum().clamp(min=1e-12)) / 2 * sum(WEIGHTS))
