"""The log of a run over several processes: the main one writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train.reports.metrics import MetricLog


class RunLog:
    """TensorBoard and metrics.csv of a run, from when it is opened.

    Args:
        folder: the run folder.
        config: written as text whenever the log is opened.
        writes: whether this is the process that writes.

    Attributes:
        file: what to write to; None in other processes, and while the log is closed.
    """

    def __init__(self, folder: Path, config: dict[str, Any], writes: bool) -> None:
        self._folder, self._config, self._writes = folder, config, writes
        self.file: MetricLog | None = None

    def open(self, samples: int) -> None:
        """Writes on from here; what was told of later samples is dropped."""
        self.close()
        if self._writes:
            self.file = MetricLog(self._folder, samples)
            self.file.config(self._config, samples)

    def close(self) -> None:
        """Flushes everything."""
        if self.file:
            self.file.close()
        self.file = None
