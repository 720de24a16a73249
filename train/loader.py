"""Reads the samples of each process, in order, from any point of the training on."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from torch.utils.data import DataLoader, Dataset, Sampler

from dualdiffusion.data.audio_crops import Batch, Crop, collate
from dualdiffusion.errors import UserError


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
    """

    def __init__(self, first: int, batch_size: int, micro_batch_size: int, rank: int, processes: int) -> None:
        self.first, self.stride = first + rank * micro_batch_size, micro_batch_size * processes
        self.micro_batch_size = micro_batch_size
        if batch_size % self.stride:
            raise ValueError(f"batch_size {batch_size} must be a multiple of {self.stride}")

    def __iter__(self) -> Iterator[list[int]]:
        # Without an end: the loop knows when it has seen enough, and its batch size may have changed in between.
        start = self.first
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
) -> DataLoader[Batch | UserError]:
    """Micro batches from sample `first` on; what a batch holds does not depend on the number of workers.

    Where a sample cannot be read, its batch is the UserError that says why: one raised in a worker would arrive with
    the worker's traceback in its text.
    """
    return DataLoader(
        _Reported(data),
        batch_sampler=SampleNumbers(first, batch_size, micro_batch_size, rank, processes),
        collate_fn=_collate,
        num_workers=workers,
        worker_init_fn=_ignore_interrupts,
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,
    )


class _Reported(Dataset[Crop | UserError]):
    def __init__(self, data: Dataset[Crop]) -> None:
        self._data = data

    def __getitem__(self, index: int) -> Crop | UserError:
        try:
            return self._data[index]
        except UserError as error:
            return error


def _collate(items: list[Crop | UserError]) -> Batch | UserError:
    error = next((item for item in items if isinstance(item, UserError)), None)
    return error or collate(items)


def _ignore_interrupts(worker: int) -> None:
    # Ctrl-C reaches every process of the terminal; the training process decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
