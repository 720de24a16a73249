"""What clips are told on a canvas that is longer than they are."""

from __future__ import annotations

import pytest

from dualdiffusion.conditioners.curves import Curve
from sampling.request import Request
from sampling.tasks.canvas import Grid, plan_canvas
from sampling.tasks.told import tell

GRID = Grid(sample_rate=8000, hop_length=64, column_samples=512, size_multiple=16)


@pytest.mark.parametrize("loop", [False, True])
def test_a_curve_ends_with_the_clip_and_not_with_the_columns_that_the_network_takes(loop: bool) -> None:
    asked = {"games": {"any": 1.0}, "seconds": 1.216, "loop": loop, "controls": {"loudness": [-12.0, 12.0]}}
    request, curve = Request.from_json(asked), Curve.Config(low=-12.0, high=12.0)
    canvas = plan_canvas(request, GRID, None)
    assert canvas.columns == (19 if loop else 32)
    told = tell({"loudness": curve}, [request], {}, canvas, GRID, None).values["loudness"][0, 0] / 3**0.5 * 12
    line = [-12 + 24 * (column + 0.5) / 19 for column in range(19)]
    if loop:  # there and back
        assert told.tolist() == pytest.approx([12 - 2 * abs(value) for value in line], abs=1e-4)
    else:
        assert told[:19].tolist() == pytest.approx(line, abs=1e-4)
        assert told[19:].tolist() == pytest.approx([12.0] * 13)
