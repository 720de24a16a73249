"""Line charts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageColor

from dualdiffusion.pictures.chart import COLORS, Line, line_chart, log_ticks, ticks

LABELS = {"title": "t", "x_label": "x", "y_label": "y"}


def drawn(image: Image.Image, color: int) -> np.ndarray:
    """Rows and columns of the pixels of a curve's colour, left of the legend: (N, 2)."""
    found = np.argwhere((np.asarray(image) == ImageColor.getrgb(COLORS[color])).all(axis=-1))
    return found[found[:, 1] < image.width - 120]


@pytest.mark.parametrize(("low", "high"), [(0, 10), (0.31, 0.52), (-3, 4000), (1e-6, 2e-6)])
def test_ticks_are_a_few_round_numbers_inside_the_range(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 12
    assert low <= found[0] <= found[-1] <= high
    steps = np.diff(found)
    assert np.allclose(steps, steps[0])
    assert round(steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9), 6) in (1, 2, 5)


def test_ticks_of_a_logarithmic_axis_are_powers_of_ten_or_parts_of_them() -> None:
    assert log_ticks(-2, 2) == [-2, -1, 0, 1, 2]
    assert [round(10**value, 6) for value in log_ticks(0, 1)] == [1, 2, 5, 10]
    # Too short a range for them: plain round numbers.
    assert [round(10**value, 6) for value in log_ticks(math.log10(0.42), math.log10(0.63))] == [0.45, 0.5, 0.55, 0.6]


def test_a_rising_curve_rises_in_the_picture_and_a_power_is_straight_on_a_logarithmic_axis() -> None:
    x = list(range(11))
    image = line_chart([Line("a", x, [10.0**value for value in x], color=1)], **LABELS, log_y=True)
    pixels = drawn(image, 1)
    rows, columns = pixels[:, 0], pixels[:, 1]
    slope, offset = np.polyfit(columns, rows, 1)
    assert slope < 0
    assert np.abs(rows - slope * columns - offset).max() < 3


def test_a_dashed_curve_has_gaps_and_values_that_cannot_be_shown_are_left_out() -> None:
    x = list(range(100))
    y = [math.nan if value in (3, 4) else -1.0 if value == 9 else 1.0 + value for value in x]
    solid, dashed = (line_chart([Line("a", x, y, dashed=dashed)], **LABELS, log_y=True) for dashed in (False, True))
    assert 0.3 < len(drawn(dashed, 0)) / len(drawn(solid, 0)) < 0.8
    with pytest.raises(ValueError, match="no point"):
        line_chart([Line("a", [1], [math.inf])], **LABELS)
