"""The progress bar of a training run: on a terminal a live line, elsewhere a line now and then."""

from __future__ import annotations

import math
import time
from typing import Self

from rich.console import Console
from rich.progress import MofNCompleteColumn, TaskID, TextColumn

from dualdiffusion.progress_bar import progress_bar

# Seconds between lines where there is no terminal.
LINE_INTERVAL = 15.0


class TrainingProgress:
    """Loss, samples per second, seconds of audio per second, and the time left."""

    def __init__(self, name: str, done: int, total: int, seconds_per_sample: float) -> None:
        self._name, self._first, self._total = name, done, total
        self._seconds_per_sample = seconds_per_sample
        self._console = Console()
        self._bar = progress_bar(
            self._console,
            prefix="train ",
            columns=(MofNCompleteColumn(), TextColumn("{task.fields[speed]}")),
            transient=False,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._started = self._last_line = time.monotonic()
        self._bar.start()
        self._task = self._bar.add_task(self._name, total=self._total, completed=self._first, speed="")
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, samples: int, loss: float) -> None:
        """Shows that so many samples have been seen, and the newest average loss; NaN: none is known yet."""
        now = time.monotonic()
        speed = (samples - self._first) / max(now - self._started, 1e-9)
        loss_text = f"loss {loss:.4f}" if math.isfinite(loss) else "loss -"
        text = f"{loss_text}  {speed:.1f} samples/s  {speed * self._seconds_per_sample:.0f} s of audio/s"
        self._bar.update(self._task, completed=samples, speed=text)
        if not self._console.is_terminal and now - self._last_line > LINE_INTERVAL:
            self._last_line = now
            left = max(self._total - samples, 0) / max(speed, 1e-9)
            print(f"train {self._name}: {samples}/{self._total} samples  {text}  {left:.0f} s left", flush=True)
