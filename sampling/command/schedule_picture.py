"""A picture of noise schedules: the noise level at each step, and where the model errs."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont

from sampling.solvers.schedules import ErrorOf

# Drawn at twice the size, which makes lines smooth when it is halved at the end; all lengths here are of the drawing.
SCALE = 2
WIDTH, HEIGHT = 1520, 920  # of the frame
LEFT, RIGHT, ABOVE, BELOW = 180, 80, 120, 140  # margins around it
LEGEND, GAP = 400, 48
ERROR_WIDTH = 400
TITLE_FONT, FONT, LEGEND_FONT = 36, 28, 30
LINE, DOT = 4, 8  # width and radius
INK, PALE, PAPER = (30, 30, 34), (226, 226, 230), (255, 255, 255)
# Told apart also by those who confuse red and green (after Okabe and Ito 2008).
COLORS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (90, 90, 96))
MOST_MARKS = 60
CURVE_POINTS = 200
TICK_WIDTH, TICK_HEIGHT = 88, 36  # room for a number


def schedule_picture(schedules: dict[str, list[float]], error: ErrorOf | None = None) -> Image.Image:
    """Draws noise levels, logarithmic and upwards, against the number of the step; the final 0 is left out.

    Args:
        schedules: levels by the name shown in the legend; each has one above 0 at least.
        error: the model's error at noise levels (see solvers/schedules.py); drawn beside the levels, on the same axis.

    Raises:
        ValueError: there is no schedule, or one without a level above 0.
    """
    levels = {name: [sigma for sigma in sigmas if sigma > 0] for name, sigmas in schedules.items()}
    if not levels or not all(levels.values()):
        raise ValueError("a schedule to draw needs a noise level above 0")
    beside = ERROR_WIDTH + GAP if error else 0
    size = (LEFT + WIDTH + beside + LEGEND + RIGHT, ABOVE + HEIGHT + BELOW)
    image = Image.new("RGB", size, PAPER)
    axes = _Axes(ImageDraw.Draw(image), levels)
    axes.draw()
    for (_, values), color in zip(levels.items(), _colors(len(levels)), strict=True):
        axes.curve(values, color)
    if error:
        axes.error(error)
    _legend(axes.pen, list(levels), LEFT + WIDTH + beside + GAP)
    return image.resize((size[0] // SCALE, size[1] // SCALE), Image.Resampling.LANCZOS)


class _Axes:
    """The frame: from steps and noise levels to pixels."""

    def __init__(self, pen: ImageDraw.ImageDraw, levels: dict[str, list[float]]) -> None:
        self.pen, self.font = pen, ImageFont.load_default(FONT)
        self.steps = max(len(values) for values in levels.values())
        every = [sigma for values in levels.values() for sigma in values]
        low, high = math.log10(min(every)), math.log10(max(every))
        margin = max(0.04 * (high - low), 0.05)
        self.low, self.high = low - margin, high + margin

    def x(self, step: float) -> float:
        """Pixel of a step, the first one is 1."""
        return LEFT + WIDTH * (step - 0.5) / self.steps

    def y(self, sigma: float) -> float:
        """Pixel of a noise level."""
        return ABOVE + HEIGHT * (self.high - math.log10(sigma)) / (self.high - self.low)

    def draw(self) -> None:
        """Grid, numbers and labels."""
        above = ABOVE + HEIGHT + TICK_HEIGHT
        for sigma in _level_ticks(self.low, self.high):
            y = self.y(sigma)
            if above - y < TICK_HEIGHT:  # numbers would be written over one another
                continue
            above = y
            self.pen.line((LEFT, y, LEFT + WIDTH, y), PALE, width=SCALE)
            self.pen.text((LEFT - 18, y), f"{sigma:.6g}", INK, self.font, anchor="rm")
        for step in _step_ticks(self.steps):
            self.pen.line((self.x(step), ABOVE, self.x(step), ABOVE + HEIGHT), PALE, width=SCALE)
            self.pen.text((self.x(step), ABOVE + HEIGHT + 18), str(step), INK, self.font, anchor="mt")
        self.pen.rectangle((LEFT, ABOVE, LEFT + WIDTH, ABOVE + HEIGHT), outline=INK, width=SCALE)
        self.pen.text((LEFT - 18, ABOVE - 24), "sigma", INK, self.font, anchor="rs")
        self.pen.text(
            (LEFT, ABOVE - 24), "Noise level at each step", INK, ImageFont.load_default(TITLE_FONT), anchor="ls"
        )
        self.pen.text((LEFT + WIDTH / 2, ABOVE + HEIGHT + 68), "step", INK, self.font, anchor="mt")

    def curve(self, values: list[float], color: tuple[int, int, int]) -> None:
        """A schedule: a line, and a dot for each step where there is room."""
        points = [(self.x(i + 1), self.y(sigma)) for i, sigma in enumerate(values)]
        if len(points) > 1:
            self.pen.line(points, color, width=LINE, joint="curve")
        if len(points) <= MOST_MARKS:
            for x, y in points:
                self.pen.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), color, outline=PAPER, width=SCALE)

    def error(self, error: ErrorOf) -> None:
        """The model's error, to the right, over the same noise levels."""
        left, pen = LEFT + WIDTH + GAP, self.pen
        span = self.high - self.low
        sigmas = [10 ** (self.low + span * (i + 0.5) / CURVE_POINTS) for i in range(CURVE_POINTS)]
        known = [(e, s) for e, s in zip(error(sigmas), sigmas, strict=True) if math.isfinite(e)]
        top = _round_up(max([e for e, _ in known if e > 0] or [1.0]))
        width = 0.95 * ERROR_WIDTH  # a curve at the top value is not drawn upon the frame
        for k in range(3):
            x = left + width * k / 2
            pen.line((x, ABOVE, x, ABOVE + HEIGHT), PALE, width=SCALE)
            pen.text((x, ABOVE + HEIGHT + 18), f"{top * k / 2:.4g}", INK, self.font, anchor="mt")
        points = [(left + width * min(max(e / top, 0), 1), self.y(s)) for e, s in known]
        if len(points) > 1:
            pen.line(points, INK, width=LINE, joint="curve")
        pen.rectangle((left, ABOVE, left + ERROR_WIDTH, ABOVE + HEIGHT), outline=INK, width=SCALE)
        pen.text((left, ABOVE - 24), "The model's error", INK, ImageFont.load_default(TITLE_FONT), anchor="ls")
        pen.text((left + ERROR_WIDTH / 2, ABOVE + HEIGHT + 68), "1: best linear guess", INK, self.font, anchor="mt")


def _legend(pen: ImageDraw.ImageDraw, names: list[str], left: int) -> None:
    font = ImageFont.load_default(LEGEND_FONT)
    for row, (name, color) in enumerate(zip(names, _colors(len(names)), strict=True)):
        y = ABOVE + 24 + 52 * row
        pen.line((left, y, left + 56, y), color, width=LINE)
        pen.ellipse((left + 28 - DOT, y - DOT, left + 28 + DOT, y + DOT), color)
        pen.text((left + 76, y), name, INK, font, anchor="lm")


def _colors(count: int) -> list[tuple[int, int, int]]:
    return [COLORS[i % len(COLORS)] for i in range(count)]


def _level_ticks(low: float, high: float) -> list[float]:
    """Round noise levels between two powers of 10, from below: of each decade 1, and 2 and 5 where there is room."""
    mantissas = (1, 2, 5) if high - low < 4 else (1, 3) if high - low < 7 else (1,)
    if high - low < 0.5:
        mantissas = tuple(1 + k / 10 for k in range(90))
    ticks = [m * 10.0**power for power in range(math.floor(low), math.ceil(high)) for m in mantissas]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def _step_ticks(steps: int) -> list[int]:
    """The first step, and multiples of a round number."""
    most = WIDTH // TICK_WIDTH
    every = next(n for power in range(9) for n in (10**power, 2 * 10**power, 5 * 10**power) if steps / n <= most)
    ticks = [step for step in range(every, steps + 1, every) if step == 1 or every == 1 or step > every / 2]
    return ticks if every == 1 else [1, *ticks]


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of 10."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= value * (1 - 1e-9))
