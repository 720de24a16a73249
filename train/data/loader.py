"""Reads the samples of each process, in order, from any point of the training on.

Batches come from other processes through memory that they share with this one, or, where there is little of it, through
pipes. Where the system ends such a process for want of memory, this one reads on by itself: what a batch holds follows
from the numbers of its samples alone.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dualdiffusion.data.audio_crops import Batch, Crop, collate
from dualdiffusion.errors import UserError
from dualdiffusion.machine import system
from dualdiffusion.machine.helping import help_quietly
from dualdiffusion.machine.limits import can_share, shares, too_deep_for_sockets
from dualdiffusion.machine.notices import tell_once
from train.interruption import signals_held

# Exit codes of processes that the system has ended for want of memory: a bus error is a page of shared memory that is
# not to be had.
STARVED = {-int(getattr(signal, name)) for name in ("SIGBUS", "SIGKILL") if hasattr(signal, name)}


def micro_batch_size(batch_size: int, wanted: int | None, processes: int) -> int:
    """Samples that a device handles at once: `wanted`, or all of a process's share.

    Raises:
        UserError: the batch does not divide so.
    """
    share, rest = divmod(batch_size, processes)
    micro = wanted or share
    if rest or share % micro:
        raise UserError(
            f"batch_size: {batch_size} does not divide into {processes} processes with micro batches of {micro}"
        )
    return micro


class SampleNumbers(Sampler[list[int]]):
    """The numbers of the samples of one process, a micro batch at a time, without end.

    Step k is samples first + k * batch_size and following; processes take turns with its micro batches.

    Attributes:
        start: where the next iterator begins.
        stride: samples from one micro batch of this process to its next.
    """

    def __init__(self, first: int, batch_size: int, micro_batch_size: int, rank: int, processes: int) -> None:
        self.start, self.stride = first + rank * micro_batch_size, micro_batch_size * processes
        self.micro_batch_size = micro_batch_size
        if batch_size % self.stride:
            raise ValueError(f"batch_size {batch_size} must be a multiple of {self.stride}")

    def __iter__(self) -> Iterator[list[int]]:
        # Without an end: the loop knows when it has seen enough, and its batch size may have changed in between.
        start = self.start
        while True:
            yield list(range(start, start + self.micro_batch_size))
            start += self.stride


def build_loader(
    data: Dataset[Crop],
    *,
    first: int,
    batch_size: int,
    micro_batch_size: int,
    rank: int,
    processes: int,
    workers: int,
) -> MicroBatches:
    """Micro batches from sample `first` on; what a batch holds does not depend on the number of workers.

    Where a sample cannot be read, its batch is the UserError that says why: one raised in a worker would arrive with
    the worker's traceback in its text.
    """
    numbers = SampleNumbers(first, batch_size, micro_batch_size, rank, processes)
    return MicroBatches(data, numbers, workers=workers if workers and can_share(workers) else 0, processes=processes)


class MicroBatches:
    """An endless iterator over the micro batches of one process.

    Args:
        workers: processes that read; 0: this one does.
        processes: of the training, which share the machine's memory.

    Raises:
        UserError: when a worker ends by itself, as a fault of a decoder makes it.
    """

    def __init__(self, data: Dataset[Crop], numbers: SampleNumbers, *, workers: int, processes: int) -> None:
        self._data, self._numbers, self._processes = data, numbers, processes
        self._read(workers)

    def _read(self, workers: int) -> None:
        context = _Spawning()
        loader = DataLoader(
            _Reported(self._data),
            batch_sampler=self._numbers,
            collate_fn=functools.partial(_collate, workers=workers, readers=workers * self._processes),
            num_workers=workers,
            worker_init_fn=_start_worker,
            persistent_workers=workers > 0,
            multiprocessing_context=context if workers else None,
        )
        # On the main thread, torch would raise the death of a worker wherever this process is just then, such as in
        # saving; on another it tells of it only to whoever asks for a batch.
        with signals_held(), ThreadPoolExecutor(1) as thread:
            self._batches: Iterator[Batch | PackedBatch | UserError] = thread.submit(iter, loader).result()
        self._workers = context.started
        if workers:
            Finalize(self, _end, args=(self._workers,), exitpriority=100)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch | UserError:
        try:
            batch = next(self._batches)
        except RuntimeError as error:
            self._go_on_alone(error)
            batch = next(self._batches)
        self._numbers.start += self._numbers.stride
        if isinstance(batch, PackedBatch):
            tell_once(_why_packed())
            return batch.unpacked()
        return batch

    def _go_on_alone(self, error: RuntimeError) -> None:
        """Reads in this process from the next batch on, if workers have ended for want of memory; else raises."""
        codes = [process.exitcode for process in self._workers if process.exitcode]
        if not codes:
            raise error
        code = codes[0]
        if not set(codes) <= STARVED:
            raise UserError(
                f"a process that reads data ended with exit code {code}; num_workers=0 reads in the training process "
                "and shows why"
            ) from None
        tell_once(
            f"a process that reads data was ended by the system ({signal.strsignal(-code)}), for want of memory: the "
            "training process reads from here on; fewer num_workers need less"
        )
        _end(self._workers)
        self._read(0)


class _Spawning(SpawnContext):
    """Starts processes, and keeps them: `multiprocessing` forgets those that have ended, and their exit codes."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[BaseProcess] = []

    def Process(self, *arguments: Any, **named: Any) -> BaseProcess:  # noqa: N802 (the name that contexts have)
        """A process that is not started yet."""
        process = SpawnProcess(*arguments, **named)
        self.started.append(process)
        return process


def _why_packed() -> str:
    through = "batches come through pipes, which takes a little longer"
    if folder := too_deep_for_sockets():
        return (
            f"the path of the folder for temporary files, {folder}, is too long: {through}; a shorter TMPDIR mends that"
        )
    left = (system.shared_memory_left() or 0) / 1e6
    return (
        f"{system.SHARED_MEMORY} has little room ({left:.0f} MB left): {through}; docker run --shm-size=2g gives a "
        "container more"
    )


@dataclass(frozen=True)
class PackedBatch:
    """A Batch without tensors, which would go through shared memory: plain arrays go through a pipe."""

    data: np.ndarray
    game_ids: np.ndarray
    indices: np.ndarray
    values: dict[str, np.ndarray]
    known: dict[str, np.ndarray]
    skips: tuple[int, ...]

    @classmethod
    def of(cls, batch: Batch) -> PackedBatch:
        """The same numbers."""
        values, known = ({name: x.numpy() for name, x in told.items()} for told in (batch.values, batch.known))
        return cls(batch.data.numpy(), batch.game_ids.numpy(), batch.indices.numpy(), values, known, batch.skips)

    def unpacked(self) -> Batch:
        """The same numbers."""
        data, game_ids, indices = (torch.from_numpy(x) for x in (self.data, self.game_ids, self.indices))
        values, known = ({name: torch.from_numpy(x) for name, x in told.items()} for told in (self.values, self.known))
        return Batch(data, game_ids, indices, values, known, self.skips)


class _Reported(Dataset[Crop | UserError]):
    def __init__(self, data: Dataset[Crop]) -> None:
        self._data = data

    def __getitem__(self, index: int) -> Crop | UserError:
        try:
            return self._data[index]
        except UserError as error:
            return error


def _collate(items: list[Crop | UserError], *, workers: int, readers: int) -> Batch | PackedBatch | UserError:
    error = next((item for item in items if isinstance(item, UserError)), None)
    if error:
        return error
    batch = collate(items)
    # All that read may be about to send one; what is on its way already takes its room.
    return batch if not workers or shares(batch.data.nbytes, readers) else PackedBatch.of(batch)


def _start_worker(worker: int) -> None:
    help_quietly()  # Ctrl-C reaches every process of the terminal; the training process decides when its workers end


def _end(workers: list[BaseProcess]) -> None:
    """Ends workers at once: they hear no other signal, and the end of this process would wait for them for ever."""
    for process in workers:
        if process.is_alive():
            process.kill()
