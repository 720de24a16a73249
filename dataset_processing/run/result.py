"""What a run is told about the processes beside it, what it shows on the way, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from dataset_processing.step import Record


@dataclass(frozen=True)
class Ranks:
    """This process among those that were launched together. `wait` returns when all have called it."""

    rank: int = 0
    count: int = 1
    wait: Callable[[], None] = lambda: None


@dataclass
class StepCount:
    """What one step did in a run, or would do: numbers of records."""

    step: str
    done: int = 0
    changed: int = 0
    up_to_date: int = 0


@dataclass(frozen=True)
class Result:
    """What a run comes to. complete: every step that the dataset needs has been done for all files."""

    records: list[Record]
    steps: list[StepCount]
    complete: bool
    waiting_for: str = ""
    changed_files: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[Record]:
        """Files that looked like audio and were refused."""
        return [record for record in self.records if record.audio and not record.kept]


class View(Protocol):
    """Shows progress."""

    def start(self, step: str, total: int) -> None:
        """Begins a step of `total` records."""
        ...

    def advance(self) -> None:
        """One more record is done."""
        ...
