"""Line charts as pictures, for reports: no window, no browser, no further library."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

# Told apart by lightness too, for those who do not see all colours.
COLORS = ("#1f4e8c", "#c8501e", "#2d8c5a", "#8c3c8c", "#b08a00", "#20889c", "#7a4a2a", "#d0507a", "#5a5a5a", "#6a9a20")
INK, GRID, PAPER = "#222222", "#dddddd", "#ffffff"
MARGIN = (84, 48, 24, 60)  # left, top, right, bottom


@dataclass(frozen=True)
class Line:
    """One curve; points whose y is not finite, or not above 0 on a log axis, are left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: int = 0
    """Index into `COLORS`; wraps around."""
    dashed: bool = False


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_y: bool = False,
    size: tuple[int, int] = (1000, 560),
) -> Image.Image:
    """Draws curves with axes, numbers, and a legend at the right.

    Raises:
        ValueError: no line has a point to show.
    """
    shown = [(line, _points(line, log_y)) for line in lines]
    if not any(points for _, points in shown):
        raise ValueError("there is no point to draw")
    font, legend = ImageFont.load_default(14), _legend_width(lines)
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = MARGIN[0], MARGIN[1], size[0] - MARGIN[2] - legend, size[1] - MARGIN[3]
    xs, ys = ([point[axis] for _, points in shown for point in points] for axis in (0, 1))
    x_range, y_range = _padded(min(xs), max(xs), 0.0), _padded(min(ys), max(ys), 0.05)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    for value in ticks(*x_range):
        x, _ = place(value, y_range[0])
        draw.line([(x, top), (x, bottom)], GRID)
        draw.text((x, bottom + 8), _number(value), INK, font, anchor="ma")
    for value in log_ticks(*y_range) if log_y else ticks(*y_range):
        _, y = place(x_range[0], value)
        draw.line([(left, y), (right, y)], GRID)
        draw.text((left - 8, y), _number(10**value if log_y else value), INK, font, anchor="rm")
    draw.rectangle([left, top, right, bottom], outline=INK)
    for row, (line, points) in enumerate(shown):
        color = COLORS[line.color % len(COLORS)]
        _draw_curve(draw, [place(*point) for point in points], color, line.dashed)
        y = top + 10 + row * 22
        _draw_curve(draw, [(right + 12, y), (right + 40, y)], color, line.dashed)
        draw.text((right + 46, y), line.name, INK, font, anchor="lm")
    draw.text((left, 14), title, INK, ImageFont.load_default(18))
    draw.text(((left + right) / 2, size[1] - 14), x_label, INK, font, anchor="ms")
    _draw_upright(image, y_label, font, (6, (top + bottom) // 2))
    return image


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """About `count` round numbers from low to high.

    >>> ticks(0, 10)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Logarithms to base 10 of round numbers between 10^low and 10^high: powers of ten, in a short range more."""
    factors = (1,) if high - low > 3 else (1, 2, 5)
    values = [
        exponent + math.log10(factor)
        for exponent in range(math.floor(low), math.ceil(high) + 1)
        for factor in factors
        if low <= exponent + math.log10(factor) <= high
    ]
    return values if len(values) > 2 else [math.log10(value) for value in ticks(10**low, 10**high, 5) if value > 0]


def _points(line: Line, log_y: bool) -> list[tuple[float, float]]:
    points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y) and (y > 0 or not log_y)]
    return [(x, math.log10(y)) for x, y in points] if log_y else points


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    extent = (high - low) or abs(high) or 1.0
    return low - share * extent, (high if high > low else low + extent) + share * extent


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _legend_width(lines: Sequence[Line]) -> int:
    font = ImageFont.load_default(14)
    return 60 + int(max(font.getlength(line.name) for line in lines))


def _draw_curve(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], color: str, dashed: bool) -> None:
    if len(points) == 1:
        x, y = points[0]
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=color)
    if not dashed:
        draw.line(points, color, 2, joint="curve")
        return
    travelled, dash = 0.0, 6.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length, at = math.hypot(x1 - x0, y1 - y0), 0.0
        while at < length:
            step = min(dash - travelled % dash, length - at) or dash
            ends = [(x0 + part / length * (x1 - x0), y0 + part / length * (y1 - y0)) for part in (at, at + step)]
            if travelled // dash % 2 == 0:
                draw.line(ends, color, 2)
            at, travelled = at + step, travelled + step


def _draw_upright(image: Image.Image, text: str, font: ImageFont.FreeTypeFont, at: tuple[int, int]) -> None:
    width, height = int(font.getlength(text)) + 4, 20
    label = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(label).text((2, 2), text, INK, font)
    image.paste(label.rotate(90, expand=True), (at[0], at[1] - width // 2))
