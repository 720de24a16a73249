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

from dualdiffusion.dsp.onsets import FRAME_SECONDS, HOP_SECONDS, frame_samples, onset_curve

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
    return beat_of_curve(onset_curve(clip, sample_rate), frame_samples(sample_rate)[1] / sample_rate)


def beat_of_curve(curve: Tensor, hop_seconds: float = HOP_SECONDS) -> Beat | None:
    """As `find_beat`, of an onset curve (T,) with a value every `hop_seconds`."""
    if len(curve) * hop_seconds < 2 * 60 / SLOWEST or float(curve.max()) <= 0:
        return None
    whole = _Curve(curve, hop_seconds).fit(SLOWEST, FASTEST, prefer_usual=True)
    length, hop = round(PART_SECONDS / hop_seconds), round(PART_HOP / hop_seconds)
    starts = range(0, max(len(curve) - length, 0) + hop // 2 + 1, hop)
    parts = (_part(_Curve(curve[at : at + length], hop_seconds), at * hop_seconds, whole) for at in starts)
    return Beat(whole, tuple(parts))


def _part(curve: _Curve, start: float, whole: BeatGrid) -> BeatGrid:
    """The grid of a part that begins at `start` seconds: the track's, unless another near it fits clearly better."""
    own = curve.fit(whole.bpm * (1 - NEAR), whole.bpm * (1 + NEAR))
    kept = curve.clarity(_moved(whole, start))
    if kept >= GOOD_ENOUGH * own.clarity:
        return BeatGrid(whole.bpm, whole.first, kept)
    return _moved(own, -start)


def _moved(grid: BeatGrid, seconds: float) -> BeatGrid:
    """The same moments, told from a beginning that is so much later."""
    return BeatGrid(grid.bpm, (grid.first - seconds) % (60 / grid.bpm), grid.clarity)


class _Curve:
    """An onset curve (T,), less its mean."""

    def __init__(self, curve: Tensor, hop_seconds: float) -> None:
        self.curve, self.hop_seconds = (curve - curve.mean()).double(), hop_seconds
        # Of a row of pulses less its mean, half of the sum of absolute values lies in the pulses; each multiple of the
        # beat's frequency has as much.
        self.most = float(self.curve.abs().sum().clamp(min=1e-12)) / 2 * sum(WEIGHTS)

    def fit(self, slowest: float, fastest: float, *, prefer_usual: bool = False) -> BeatGrid:
        """The grid that fits best among tempi from `slowest` to `fastest`."""
        size = 1 << math.ceil(math.log2(FINE * len(self.curve)))
        spectrum = torch.fft.rfft(self.curve, size)
        step = 60 / (size * self.hop_seconds)  # beats per minute between two bins
        first_bin = math.ceil(slowest / step)
        bins = torch.arange(first_bin, max(math.floor(fastest / step), first_bin) + 1)
        scores, places = self._scores([spectrum[k * bins] for k in range(1, len(WEIGHTS) + 1)]).max(dim=1)
        usual = torch.exp(-0.5 * ((bins * step / USUAL).log2() / OCTAVES).square()) if prefer_usual else 1.0
        best = int((scores * usual).argmax())
        bpm = float(bins[best]) * step
        first = (float(places[best]) / PHASES * 60 / bpm + DELAY) % (60 / bpm)
        return BeatGrid(bpm, first, float(scores[best]))

    def _scores(self, multiples: list[Tensor]) -> Tensor:
        """score(f, s) as a share of the most there is, at PHASES places between two beats: k of (F,) -> (F, PHASES)."""
        place = torch.arange(PHASES, dtype=torch.float64) / PHASES
        turned = (
            weight * (of_k[:, None] * torch.exp(2j * math.pi * k * place)).real
            for k, (weight, of_k) in enumerate(zip(WEIGHTS, multiples, strict=True), start=1)
        )
        return sum(turned) / self.most

    def clarity(self, grid: BeatGrid) -> float:
        """The score of a given grid."""
        beats = grid.beats_at(torch.arange(len(self.curve)) * self.hop_seconds + DELAY)
        sums = (w * (self.curve * torch.cos(2 * math.pi * k * beats)).sum() for k, w in enumerate(WEIGHTS, start=1))
        return float(sum(sums)) / self.most
