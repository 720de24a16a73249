"""Running a step over many records in worker processes, where nothing that a file does can stop the run."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context

from dataset_processing.step import Record
from dualdiffusion.errors import UserError, one_line

_STOP_THE_RUN = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.ENOMEM)


@dataclass(frozen=True)
class Finished:
    """A record that came out of a step. `final` is false for what may go better next time: it is not remembered."""

    before: Record
    after: Record
    final: bool = True


def run_one(function: Callable[[Record], Record], record: Record) -> Finished:
    """Applies a step to one record; whatever goes wrong with it becomes its verdict.

    Raises:
        OSError: the disk is full, or another fault of the machine rather than of the file.
        UserError: the settings are at fault rather than the file.
    """
    try:
        return Finished(record, function(record))
    except OSError as error:
        if error.errno in _STOP_THE_RUN:
            raise
        return Finished(record, record.refused(f"cannot be read: {error.strerror or error}"), final=False)
    except UserError:
        raise
    except MemoryError:
        return Finished(record, record.refused("does not fit into memory"), final=False)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        reason = f"internal error: {type(error).__name__}: {one_line(error)} ({where})"
        return Finished(record, record.refused(reason), final=False)


def run_pool(function: Callable[[Record], Record], records: list[Record], processes: int) -> Iterator[Finished]:
    """Applies `function` (picklable) to the records in worker processes; results come as they are ready.

    A worker that dies (a crash in a decoder, a kill) breaks the pool: what was being worked on is then tried again one
    by one, and the record that breaks it again is refused.
    """
    waiting = list(reversed(records))
    while waiting:
        suspects: list[Record] = []
        with _executor(min(processes, len(waiting))) as executor:
            yield from _drain(executor, function, waiting, 2 * processes, suspects)
        for record in suspects:
            alone: list[Record] = []
            with _executor(1) as executor:
                yield from _drain(executor, function, [record], 1, alone)
            for crashed in alone:
                yield Finished(crashed, crashed.refused("the program that decodes it crashed on this file"), False)


def _drain(
    executor: ProcessPoolExecutor,
    function: Callable[[Record], Record],
    waiting: list[Record],
    ahead: int,
    suspects: list[Record],
) -> Iterator[Finished]:
    """Works `waiting` off from its end; on a broken pool, what was in flight goes to `suspects`."""
    flying: dict[Future[Finished], Record] = {}
    while waiting or flying:
        try:
            while waiting and len(flying) < ahead:
                flying[executor.submit(run_one, function, waiting[-1])] = waiting[-1]
                waiting.pop()
        except BrokenProcessPool:
            suspects.extend(flying.values())
            return
        done, _ = wait(flying, return_when=FIRST_COMPLETED)
        broken = [future for future in done if isinstance(future.exception(), BrokenProcessPool)]
        for future in done:
            if future not in broken:
                flying.pop(future)
                yield future.result()
        if broken:
            suspects.extend(flying.values())
            return


@contextmanager
def _executor(processes: int) -> Iterator[ProcessPoolExecutor]:
    executor = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),)
    )
    try:
        yield executor
        executor.shutdown()
    except BaseException:
        # Ctrl-C, a full disk: nobody waits for what is in flight. Unfinished files are temporaries that get swept.
        _stop(list((executor._processes or {}).values()))
        executor.shutdown(wait=False, cancel_futures=True)
        raise


def _stop(processes: Iterable) -> None:
    for process in processes:
        with suppress(OSError, AttributeError):
            process.terminate()


def _start_worker(parent: int) -> None:
    """Ctrl-C is the main process's business; and a worker whose main process was killed must not live on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin = open(os.devnull)  # noqa: SIM115 - for the life of the process

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
