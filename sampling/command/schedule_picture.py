"""A picture of noise schedules: the noise level at each step, and where the model errs."""

from __future__ import annotations

import math

from PIL import Image

from dualdiffusion.pictures.chart import PAPER, Line, line_chart
from sampling.solvers.schedules import ErrorOf

SIZE, ERROR_SIZE = (860, 560), (460, 560)  # pixels; of equal height, so that both charts have the same axis of levels
CURVE_POINTS = 200
ERROR_COLOR = 8  # grey: no schedule


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
    lines = [
        Line(name, range(1, len(sigmas) + 1), sigmas, color=color)
        for color, (name, sigmas) in enumerate(levels.items())
    ]
    charts = [
        line_chart(lines, title="Noise level at each step", x_label="step", y_label="sigma", log_y=True, size=SIZE)
    ]
    every = [sigma for sigmas in levels.values() for sigma in sigmas]
    if error:
        charts += _error_chart(error, min(every), max(every))
    image = Image.new("RGB", (sum(chart.width for chart in charts), SIZE[1]), PAPER)
    for number, chart in enumerate(charts):
        image.paste(chart, (number * SIZE[0], 0))
    return image


def _error_chart(error: ErrorOf, low: float, high: float) -> list[Image.Image]:
    """The model's error from left to right, over the noise levels from `low` to `high`; none where it is not known."""
    shares = [index / (CURVE_POINTS - 1) for index in range(CURVE_POINTS)]
    sigmas = [low ** (1 - share) * high**share for share in shares]
    known = [(e, sigma) for e, sigma in zip(error(sigmas), sigmas, strict=True) if math.isfinite(e)]
    if not known:
        return []
    errors, sigmas = zip(*known, strict=True)
    line = Line("error", errors, sigmas, color=ERROR_COLOR)
    title, unit = "The model's error", "1: best linear guess"
    return [line_chart([line], title=title, x_label=unit, y_label="sigma", log_y=True, size=ERROR_SIZE)]
