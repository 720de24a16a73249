"""Cases of `tests/WILD.md` that concern training: what other people's machines did to their runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from train.reports import events
from train.reports.metrics import MetricLog


def test_a_clock_that_was_set_back_does_not_turn_the_curves_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard reads event files in the order of the seconds in their names, and follows the last one."""
    for clock, first, last in ((1_800_000_000, 1, 5), (1_799_996_400, 3, 7), (1_799_996_400, 7, 8)):
        monkeypatch.setattr(events.time, "time_ns", lambda clock=clock: clock * 10**9)
        log = MetricLog(tmp_path, samples=first - 1)
        for sample in range(first, last + 1):
            log.scalars({"loss": float(first)}, step=sample, samples=sample)
        log.close()
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert [(point.step, point.value) for point in read.Scalars("loss")] == [
        (1, 1), (2, 1), (3, 3), (4, 3), (5, 3), (6, 3), (7, 7), (8, 7),
    ]  # fmt: skip
