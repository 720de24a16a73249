"""How jobs ended, until the history has it: an end that cannot be written is written again until it is."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from webui.history.job import Job

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0  # seconds between two tries


@dataclass(frozen=True)
class End:
    """An end as `JobStore.finish` takes it."""

    status: str
    error: str | None = None
    file: str | None = None
    fingerprint: str | None = None
    finished: float = field(default_factory=time.time)

    def of(self, job: Job) -> Job:
        """The job as the history will have it."""
        return replace(job, **asdict(self))


class Ends:
    """Ends on their way to the disk.

    Args:
        write: writes one; raises sqlite3.Error or OSError where that is not possible now.
        written: called after each one.
        retry: called now and then while the history could not be written, to go on with what waits.
    """

    def __init__(
        self,
        write: Callable[[str, End], Awaitable[Any]],
        written: Callable[[str], Awaitable[Any]],
        retry: Callable[[], Awaitable[Any]],
    ) -> None:
        self._write, self._written, self._retry = write, written, retry
        self._waiting: dict[str, End] = {}
        self._trying: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def seen(self, job: Job) -> Job:
        """The job with its end, written or not."""
        end = self._waiting.get(job.id)
        return end.of(job) if end is not None and job.status == "running" else job

    async def add(self, job_id: str, end: End) -> None:
        """Writes an end, now or as soon as that is possible."""
        self._waiting[job_id] = end
        if not await self._write_all():
            self.try_later()

    def try_later(self) -> None:
        """Tries to write what waits, and to go on, until it works."""
        if self._trying is None or self._trying.done():
            self._trying = asyncio.create_task(self._keep_trying())

    async def _keep_trying(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            if await self._write_all():
                self._trying = None
                await self._retry()
                return

    async def _write_all(self) -> bool:
        for job_id, end in list(self._waiting.items()):
            try:
                await self._write(job_id, end)
            except (sqlite3.Error, OSError) as error:
                report_unwritable(error)
                return False
            del self._waiting[job_id]
            await self._written(job_id)
        return True

    async def close(self) -> None:
        """Gives up; the next start calls the jobs interrupted, and takes in their clips."""
        if self._trying is not None:
            self._trying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._trying


def report_unwritable(error: Exception) -> None:
    """Says in the terminal that the history could not be written."""
    print(f"the history cannot be written: {error}; trying again", file=sys.stderr, flush=True)
