"""What can be done with the history, without HTTP: names, notes, stars, the bin, and clips that were made elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from webui.events import Events
from webui.history.clip_settings import read_clip
from webui.history.job import Job
from webui.history.jobs import ACTIVE, JobStore
from webui.history.outputs import OutputFolder
from webui.http.refusal import RefusedError

MANY = 20  # changes; more are told as one event, after which pages read anew
AT_ONCE = 200  # clips that are taken in in one transaction


class History:
    """Changes to what has ended. Lives on the event loop; the database, which waits for the disk, on threads.

    Args:
        turn: held while something moves between the history and the bin, and by whatever starts and ends jobs.
        seen: a job with an end that has yet to be written.
    """

    def __init__(
        self,
        store: JobStore,
        outputs: OutputFolder,
        events: Events,
        describe: Callable[[Job], dict[str, Any]],
        turn: asyncio.Lock,
        seen: Callable[[Job], Job],
    ) -> None:
        self.store, self.outputs, self.events = store, outputs, events
        self._describe, self._turn, self._seen = describe, turn, seen

    async def job(self, job_id: str) -> Job:
        """Raises:
        RefusedError: 404, no such job.
        """
        job = await asyncio.to_thread(self.store.get, job_id)
        if job is None:
            raise RefusedError(404, "there is no job with this id", "id")
        return self._seen(job)

    def audio(self, job: Job) -> Path:
        """The audio of a job.

        Raises:
            RefusedError: 404, it has none; 410, it has none any more.
        """
        path = self.outputs.audio_of(job)
        if path is None:
            is_gone = job.status == "done"
            why = "the audio file is gone" if is_gone else f"this job is {job.status}"
            raise RefusedError(410 if is_gone else 404, why)
        return path

    async def edit(
        self, job_id: str, *, title: str | None = None, notes: str | None = None, starred: bool | None = None
    ) -> Job:
        """Renames or stars a job, or notes something about it; None leaves as it is."""
        await self.job(job_id)
        await asyncio.to_thread(self.store.edit, [job_id], title=title, notes=notes, starred=starred)
        return await self.changed(job_id)

    async def star(self, job_ids: Sequence[str], starred: bool) -> list[str]:
        """Stars jobs, or takes their stars away; returns those that there are."""
        jobs = await self._known(job_ids)
        await asyncio.to_thread(self.store.edit, [job.id for job in jobs], starred=starred)
        return await self._told(jobs)

    async def bin(self, job_id: str, binned: bool) -> Job:
        """Moves a finished job and its audio into the bin, or back.

        Raises:
            RefusedError: 404, or 409 for a job that still waits or runs.
        """
        job = await self.job(job_id)
        if job.status in ACTIVE:
            raise RefusedError(409, f"this job is {job.status}; cancel it first")
        await self.bin_many([job_id], binned)
        return await self.job(job_id)

    async def bin_many(self, job_ids: Sequence[str], binned: bool) -> list[str]:
        """Moves finished jobs with their audio into the bin, or back; leaves out those that wait or run."""
        async with self._turn:
            jobs = [
                job
                for job in await self._known(job_ids)
                if job.status not in ACTIVE and (job.binned is not None) != binned
            ]
            await asyncio.to_thread(self._move, jobs, binned)
        return await self._told(jobs)

    def _move(self, jobs: Sequence[Job], binned: bool) -> None:
        moved: dict[str, str | None] = {}
        try:
            for job in jobs:
                moved[job.id] = self.outputs.move(job.file, to_bin=binned)
        finally:
            # What was moved before a disk failed lies where it lies.
            self.store.set_binned(moved, binned)

    async def delete(self, job_ids: Sequence[str]) -> list[str]:
        """Removes jobs of the bin for good, with their audio; leaves out those that are not there."""
        async with self._turn:
            jobs = [job for job in await self._known(job_ids) if job.binned is not None]
            await asyncio.to_thread(self._remove, jobs)
        if jobs:
            self.events.publish({"type": "history"})
        return [job.id for job in jobs]

    def _remove(self, jobs: Sequence[Job]) -> None:
        # Forgotten first: a job without its file would be worse than a file without its job.
        self.store.remove([job.id for job in jobs])
        for job in jobs:
            self.outputs.remove(job.id, job.file)

    async def take_in(self) -> int:
        """Takes clips into the history that lie in the outputs folder and are not in it, such as the command line's.

        Returns:
            How many.
        """
        count = await asyncio.to_thread(self._take_in)
        if count:
            self.events.publish({"type": "history"})
        return count

    def _take_in(self) -> int:
        known, count = self.store.files(), 0
        found = (
            clip
            for binned in (False, True)
            for path in self.outputs.clips(binned=binned)
            if (path.name, binned) not in known and (clip := read_clip(path, binned=binned)) is not None
        )
        while some := list(islice(found, AT_ONCE)):
            count += self.store.take_in(some)
        return count

    async def changed(self, job_id: str) -> Job:
        """Tells every page of a job as it is now, and returns it."""
        job = await self.job(job_id)
        self.events.publish({"type": "job", "job": self._describe(job)})
        return job

    async def _known(self, job_ids: Sequence[str]) -> list[Job]:
        found = await asyncio.to_thread(lambda: [self.store.get(job_id) for job_id in dict.fromkeys(job_ids)])
        return [job for job in found if job is not None]

    async def _told(self, jobs: Sequence[Job]) -> list[str]:
        if len(jobs) > MANY:
            self.events.publish({"type": "history"})
        else:
            for job in jobs:
                await self.changed(job.id)
        return [job.id for job in jobs]
