"""How far a run has come, in a small file for other programs to read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from dataset_processing.run.result import View
from dualdiffusion.files import write_json

INTERVAL = 0.5  # seconds between two writings of the file


class ProgressFile:
    """A view that also writes `{"steps", "step", "done", "total", "started", "time"}`, times in seconds since 1970.

    A run is not for its report: where the file cannot be written, the run goes on without it.

    Args:
        path: the file, replaced again and again.
        steps: names of the steps that run, in their order.
        shown: another view, told the same.
    """

    def __init__(self, path: Path, steps: Sequence[str], shown: View) -> None:
        self._path, self._steps, self._shown = path, list(steps), shown
        self._step, self._done, self._total = "", 0, 0
        self._started, self._written = time.time(), 0.0
        self._write()

    def start(self, step: str, total: int) -> None:
        """Begins a step of `total` records."""
        self._shown.start(step, total)
        self._step, self._done, self._total, self._started = step, 0, total, time.time()
        self._write()

    def advance(self) -> None:
        """One more record is done."""
        self._shown.advance()
        self._done += 1
        if self._done == self._total or time.monotonic() - self._written >= INTERVAL:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        state = {"steps": self._steps, "step": self._step, "done": self._done, "total": self._total}
        with contextlib.suppress(OSError):
            write_json(self._path, {**state, "started": self._started, "time": time.time()})
