"""Running a step over many records in worker processes, where nothing that a file does can stop the run."""

from __future__ import annotations

import errno
import faulthandler
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from dataset_processing.step import Record
from dataset_processing.workers import worker_context
from dualdiffusion.errors import UserError, one_line
from dualdiffusion.machine.helping import start_helping
from dualdiffusion.machine.limits import can_share
from dualdiffusion.machine.memory import is_out_of_memory

_STOP_THE_RUN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.ENOMEM)


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
    except Exception as error:
        if is_out_of_memory(error):
            return Finished(record, record.refused("does not fit into memory"), final=False)
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        reason = f"internal error: {type(error).__name__}: {one_line(error)} ({where})"
        return Finished(record, record.refused(reason), final=False)


def time_limit(record: Record) -> float:
    """Seconds that a step may work on a record before it counts as hanging: far more than a slow machine needs.

    At least ten minutes; more for files of more than 60 MB and for tracks of more than 100 minutes. A song of game
    music, which is rendered many times as fast as it is heard: two minutes, and its own length.
    """
    if record.song:
        return 120.0 + record.song["seconds"]
    size = record.identity[0] if record.identity else 0
    return max(600.0, size / 1e5, record.measured.get("seconds", 0) / 10)


def run_pool(
    function: Callable[[Record], Record],
    records: list[Record],
    processes: int,
    limit: Callable[[Record], float] = time_limit,
) -> Iterator[Finished]:
    """Applies `function` (picklable) to the records in worker processes; results come as they are ready.

    A worker that dies (a crash in a decoder, a kill, a record that takes longer than its limit in seconds) breaks the
    pool: what was being worked on is then tried again one by one, and the record that breaks it again is refused.
    """
    if not can_share(processes):
        for record in records:
            yield run_one(function, record)
        return
    waiting = list(reversed(records))
    while waiting:
        suspects: list[Record] = []
        with _executor(min(processes, len(waiting)), function) as executor:
            yield from _drain(executor, function, waiting, 2 * processes, suspects, limit)
        for record in suspects:
            alone: list[Record] = []
            started = time.monotonic()
            with _executor(1, function) as executor:
                yield from _drain(executor, function, [record], 1, alone, limit)
            for broken in alone:
                late = time.monotonic() - started >= limit(broken)
                yield Finished(broken, broken.refused(_why_it_broke(late, limit(broken))), final=False)


def _why_it_broke(late: bool, limit: float) -> str:
    if not late:
        return "the program that decodes it crashed on this file, twice"
    span = f"{limit / 60:.0f} minutes" if limit >= 60 else f"{limit:g} seconds"
    return f"still not finished after {span}, twice: given up"


def _run_in_time(function: Callable[[Record], Record], record: Record, limit: float) -> Finished:
    """`run_one` in a process that ends itself when the limit (s) is over, even in code that never returns to Python."""
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(limit, exit=True, file=nowhere)
        try:
            return run_one(function, record)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _drain(
    executor: ProcessPoolExecutor,
    function: Callable[[Record], Record],
    waiting: list[Record],
    ahead: int,
    suspects: list[Record],
    limit: Callable[[Record], float],
) -> Iterator[Finished]:
    """Works `waiting` off from its end; on a broken pool, what was in flight goes to `suspects`."""
    flying: dict[Future[Finished], Record] = {}
    while waiting or flying:
        try:
            while waiting and len(flying) < ahead:
                record = waiting[-1]
                flying[executor.submit(_run_in_time, function, record, limit(record))] = record
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
def _executor(processes: int, function: Callable[[Record], Record]) -> Iterator[ProcessPoolExecutor]:
    context = worker_context(run_one, function)
    executor = ProcessPoolExecutor(processes, mp_context=context, initializer=start_helping)
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
