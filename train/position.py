"""How far a run has come, and the contract of what it does now and then beside updating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dualdiffusion.randomness import mix_seed


@dataclass
class Position:
    """A run counts samples, which a change of the batch size does not bend; steps are updates, whatever their size.

    Attributes:
        seed: of the run.
        batch_size: samples of an update.
        rollbacks: times that the run went back to a checkpoint.
    """

    seed: int
    batch_size: int
    samples: int = 0
    step: int = 0
    rollbacks: int = 0

    @property
    def data_seed(self) -> int:
        """Of order, crops and noise of the samples. After a rollback the same samples would lead to the same end."""
        return mix_seed(self.seed, "data", self.rollbacks)

    def advance(self) -> None:
        """Takes in an update."""
        self.samples, self.step = self.samples + self.batch_size, self.step + 1

    def passed(self, every: int) -> bool:
        """Whether the last update reached or crossed a multiple of `every` samples."""
        return self.samples // every > (self.samples - self.batch_size) // every


class Part(Protocol):
    """Something that a run does now and then, in all of its processes. It knows when, and keeps its own state."""

    def due(self, position: Position) -> bool:
        """Whether it is to be done after the update that ended here; asked once after each."""
        ...

    def run(self, position: Position) -> None:
        """Does it."""
        ...
