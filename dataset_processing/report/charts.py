"""Bars and histograms as inline SVG, for a page without scripts and without inline styles."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT = 360, 150
_RIGHT, _TOP, _BOTTOM = 14, 10, 34
_DIGIT = 7  # width of one in the labels
_MOST_BARS = 30
_LEAST_BARS = 10
_MOST_TICKS = 6
_TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 18000, 36000)


@dataclass(frozen=True)
class Axis:
    """How a quantity is shown: its unit below the axis, its values as text, and steps that make round numbers.

    The first step is the finest: a smaller difference between tracks is not worth a bar of its own.
    """

    unit: str
    text: Callable[[float], str]
    steps: Sequence[float]
    exact: Callable[[float], str]
    """A single value with its unit."""


def clock(seconds: float) -> str:
    """A length as on a player: 0.4 s, 2:05, 1:02:05."""
    if seconds and seconds < 1:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def decimal(value: float) -> str:
    """A number with the digits that matter and a true minus sign: −20, 0.5."""
    return f"{round(value, 3) + 0.0:g}".replace("-", "\u2212")


LOUDNESS = Axis("LUFS", decimal, (0.5, 1, 2, 5, 10, 20, 50), lambda lufs: f"{decimal(round(lufs, 1))} LUFS")
BANDWIDTH = Axis(
    "kHz",
    lambda hertz: decimal(hertz / 1000),
    (100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000),
    lambda hertz: f"{decimal(round(hertz / 1000, 1))} kHz",
)
DURATION = Axis("minutes:seconds", clock, _TIME_STEPS, clock)


def bar(share: float) -> str:
    """A horizontal bar over `share` (0 to 1) of its place."""
    return f'<svg aria-hidden="true"><rect width="{100 * share:.2f}%" height="100%" rx="2"/></svg>'


def histogram(title: str, values: Sequence[float], axis: Axis) -> str:
    """A figure of how often values occur, with round numbers at the axis; empty text without values.

    A few values far away from all others are counted in the outermost bar, which is said below the title: else one long
    track would press all others into one bar.
    """
    if not values:
        return ""
    ordered = sorted(values)
    low, high = _range(ordered)
    step = _step(high - low, axis.steps, _MOST_BARS)
    first, last = math.floor(low / step + 1e-9), math.floor(high / step + 1e-9) + 1
    missing = max(_LEAST_BARS - (last - first), 0)  # a single value would fill the whole figure with its bar
    first = first - missing // 2 if first < 0 else max(first - missing // 2, 0)
    last = max(last, first + _LEAST_BARS)
    counts = Counter(min(max(math.floor(value / step + 1e-9), first), last - 1) for value in values)
    plot = _Plot(first, last, step, max(counts.values()))
    shapes = [plot.levels(), *(plot.bar(place, count, axis) for place, count in sorted(counts.items()))]
    shapes += [plot.tick(position, axis) for position in plot.ticks(axis.steps)]
    beyond = sum(value < first * step - 1e-9 or value > last * step + 1e-9 for value in values)
    middle = ordered[len(ordered) // 2]
    facts = f"middle {axis.exact(middle)}, from {axis.exact(ordered[0])} to {axis.exact(ordered[-1])}"
    if beyond:
        facts += f"; {beyond:,} further out {'is' if beyond == 1 else 'are'} counted in the outermost bars"
    return (
        f"<figure><figcaption>{html.escape(title)}</figcaption><p>{html.escape(facts)}</p>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}: {html.escape(facts)}">'
        f"{''.join(shapes)}"
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 3}" text-anchor="end">{axis.unit}</text></svg></figure>'
    )


def _range(ordered: Sequence[float]) -> tuple[float, float]:
    """The values to show: all, or those within half the width of the middle 96 % around these."""
    at = lambda share: ordered[round(share * (len(ordered) - 1))]  # noqa: E731
    margin = (at(0.98) - at(0.02)) / 2
    if len(ordered) < 20 or not margin:
        return ordered[0], ordered[-1]
    return max(ordered[0], at(0.02) - margin), min(ordered[-1], at(0.98) + margin)


def _step(span: float, steps: Sequence[float], most: int) -> float:
    """The smallest step that divides `span` into at most `most` parts."""
    return next((step for step in steps if span / step <= most), span / most)


@dataclass(frozen=True)
class _Plot:
    """The drawing of bars that stand for `first * step` to `last * step`."""

    first: int
    last: int
    step: float
    tallest: int

    @property
    def _left(self) -> float:
        """Where the plot begins: beside its largest count."""
        return 10 + _DIGIT * len(f"{self.tallest:,}")

    def _x(self, value: float) -> float:
        share = (value / self.step - self.first) / (self.last - self.first)
        return self._left + share * (_WIDTH - self._left - _RIGHT)

    def _y(self, count: float) -> float:
        return _HEIGHT - _BOTTOM - count / self.tallest * (_HEIGHT - _TOP - _BOTTOM)

    def levels(self) -> str:
        """The ground line, and one at the tallest bar with its count."""
        lines = ""
        for count in (0, self.tallest):
            y = self._y(count)
            lines += f'<line class="grid" x1="{self._left}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            lines += f'<text x="{self._left - 5}" y="{y + 4:.1f}" text-anchor="end">{count:,}</text>'
        return lines

    def bar(self, place: int, count: int, axis: Axis) -> str:
        """One bar of the histogram, which tells its bounds and count where the pointer rests."""
        left, right, y = self._x(place * self.step), self._x((place + 1) * self.step), self._y(count)
        bounds = f"{axis.text(place * self.step)} to {axis.text((place + 1) * self.step)}"
        tracks = "1 track" if count == 1 else f"{count:,} tracks"
        # Narrower than their place by a gap, and never so low that a single track among thousands cannot be seen.
        height = max(self._y(0) - y, 1.5)
        return (
            f'<rect class="bar" x="{left + 0.6:.1f}" y="{self._y(0) - height:.1f}" '
            f'width="{max(right - left - 1.2, 0.8):.1f}" height="{height:.1f}" rx="1">'
            f"<title>{bounds}: {tracks}</title></rect>"
        )

    def ticks(self, steps: Sequence[float]) -> list[float]:
        """The values that the axis names: multiples of one of `steps`, never closer than bars are wide."""
        step = max(_step((self.last - self.first) * self.step, steps, _MOST_TICKS), self.step)
        low, high = self.first * self.step, self.last * self.step
        return [place * step for place in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]

    def tick(self, value: float, axis: Axis) -> str:
        """The mark and the text of one value below the ground line."""
        x, y = self._x(value), self._y(0)
        return (
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 4:.1f}"/>'
            f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{axis.text(value)}</text>'
        )
