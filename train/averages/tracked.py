"""The averages of the weights that a run follows: some are published, some only stored as snapshots."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from dualdiffusion.model.folder import RAW
from train.averages.ema import PowerEMA, ema_name, restored
from train.averages.post_hoc import Snapshots
from train.position import Position


class TrackedAverages:
    """Power-function EMAs of several widths.

    Args:
        published: widths of those that are validated and published.
        stored: widths of those that snapshots are taken of; an average that is both is followed once.

    Attributes:
        published, stored, all: the averages.
    """

    def __init__(self, module: nn.Module, published: Sequence[float], stored: Sequence[float]) -> None:
        self.published = [PowerEMA(module, std) for std in published]
        named = {ema.name: ema for ema in self.published}
        self.stored = [named.get(ema_name(std)) or PowerEMA(module, std) for std in stored]
        self.all = list({ema.name: ema for ema in (*self.published, *self.stored)}.values())

    def update(self, module: nn.Module, position: Position) -> None:
        """Takes in the weights after an update that ended at `position`."""
        for ema in self.all:
            ema.update(module, samples=position.samples, batch_size=position.batch_size)

    def states(self) -> dict[str, dict[str, Tensor]]:
        """Name -> weights."""
        return {ema.name: ema.state for ema in self.all}

    def load_states(self, states: dict[str, dict[str, Tensor]]) -> None:
        """Goes on from the weights of `states`, which has all names."""
        for ema in self.all:
            for name, tensor in ema.state.items():
                tensor.copy_(states[ema.name][name])

    def forget_new(self, known: set[str]) -> list[str]:
        """Lets go of averages for snapshots alone that training began without; returns their names, sorted.

        They cannot be had any more: an average takes in a training from its beginning.
        """
        new = {ema.name for ema in self.stored} - {ema.name for ema in self.published} - known
        self.stored = [ema for ema in self.stored if ema.name not in new]
        self.all = [ema for ema in self.all if ema.name not in new]
        return sorted(new)

    @contextlib.contextmanager
    def applied(self, name: str, module: nn.Module) -> Iterator[None]:
        """Inside the block the module has the published average of that name, or, as "raw", its own weights; it is in
        evaluation mode."""
        ema = {ema.name: ema for ema in self.published}.get(name)
        with ema.applied(module) if ema else restored(module):
            yield

    @property
    def names(self) -> list[str]:
        """Names of all weights that are validated and published: "raw", then the averages."""
        return [RAW, *(ema.name for ema in self.published)]


class SnapshotWriter:
    """The part of a run that stores snapshots of averages.

    Args:
        every: samples between snapshots.
        writes: whether this is the process that does it.
    """

    def __init__(self, snapshots: Snapshots, averages: TrackedAverages, every: int, writes: bool) -> None:
        self.snapshots, self._averages, self._every, self._writes = snapshots, averages, every, writes

    def due(self, position: Position) -> bool:
        """Every so many samples."""
        return position.passed(self._every)

    def run(self, position: Position) -> None:
        """Stores a snapshot."""
        if self._writes and self._averages.stored:
            self.snapshots.save(self._averages.stored, position.samples)

    def drop_after(self, samples: int) -> None:
        """Removes snapshots of a future that training goes back from."""
        if self._writes:
            self.snapshots.drop_after(samples)
