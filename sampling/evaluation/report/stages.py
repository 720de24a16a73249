"""How far an evaluation has come: on a terminal a bar with the time left, elsewhere a line for each stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import Progress, TaskID

from dualdiffusion.progress_bar import progress_bar


class Stage:
    """One stage of `total` equal parts."""

    def __init__(self, bar: Progress, task: TaskID, total: int) -> None:
        self._bar, self._task, self._total, self._done = bar, task, total, 0

    def advance(self) -> None:
        """One more part is done."""
        self._done += 1
        self.within(0.0)

    def within(self, fraction: float) -> None:
        """How much of the next part is done, from 0 to 1."""
        self._bar.update(self._task, completed=min(self._done + fraction, self._total))


class Stages:
    """Shows one stage after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = progress_bar(console)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    @contextmanager
    def stage(self, text: str, total: int) -> Iterator[Stage]:
        """Begins a stage, and ends it."""
        if not self._console.is_terminal:
            self._console.print(f"{text}: {total}", markup=False)
        task = self._bar.add_task(text, total=total)
        try:
            yield Stage(self._bar, task, total)
        finally:
            self._bar.remove_task(task)
