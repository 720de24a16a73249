"""What the page can do, without HTTP: submit, cancel, retry, choose a model. Jobs are made by dispatcher.py."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from typing import Any

from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import is_shipped
from sampling.request import Request
from webui.dispatcher import Dispatcher
from webui.events import Events
from webui.exchange.sources import Sources, source_job
from webui.history.actions import History
from webui.history.ends import report_unwritable
from webui.history.job import Job
from webui.history.job_view import describe_job
from webui.history.jobs import RETRIABLE, JobStore
from webui.history.outputs import OutputFolder
from webui.http.refusal import RefusedError
from webui.models.choice import ModelChoice
from webui.models.folders import ModelShelf
from webui.models.requests import ModelRequests
from webui.models.supervisor import FAILED, LOADING, SILENT
from webui.settings import Settings


class Service:
    """The queue, the history and the model's process together. Lives on the event loop; the database on threads."""

    def __init__(self, settings: Settings) -> None:
        """Raises:
        UserError: the model has no labels, or the history cannot be used.
        """
        self.settings = settings
        self.outputs = OutputFolder(settings.outputs)
        self.outputs.create()
        self.store = JobStore(self.outputs.database)
        self.sources = Sources(self.store, self.outputs)
        self.events = Events()
        self.models = ModelChoice(ModelShelf(settings.model, settings.models))
        self.dispatcher = Dispatcher(
            settings,
            self.models,
            self.store,
            self.sources,
            self.events,
            changed=self._changed,
            tell_health=self._tell_health,
        )
        turn, seen = self.dispatcher.turn, self.dispatcher.ends.seen
        self.history = History(self.store, self.outputs, self.events, self.describe, turn, seen)

    @contextlib.asynccontextmanager
    async def active(self) -> AsyncIterator[None]:
        """Runs the model's process for as long as the block."""
        tasks = [asyncio.create_task(self.dispatcher.supervisor.run()), asyncio.create_task(self._take_in())]
        try:
            yield
        finally:
            self.events.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.dispatcher.ends.close()
            self.store.close()

    async def _take_in(self) -> None:
        """Clips that are not in the history, such as after it was lost, come back into it."""
        try:
            await self.history.take_in()
        except (sqlite3.Error, OSError) as error:
            report_unwritable(error)

    # -- models ----------------------------------------------------------------------------------------------------

    @property
    def requests(self) -> ModelRequests:
        """What the chosen model may be asked for."""
        return self.models.requests

    @property
    def folder(self) -> ModelFolder:
        """Of the chosen model."""
        return self.models.requests.folder

    async def choose(self, model: str, ema: str | None) -> dict[str, Any]:
        """Makes a model, and weights of it, the one that new requests are for; returns the health.

        Raises:
            RefusedError: 404, no such model; 422, it cannot be played, or has no such weights.
        """
        self.models.choose(model, ema)
        await self.dispatcher.dispatch()
        self._tell_health()
        return self.health()

    # -- what is shown ---------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """The model, its games, and whether it can play."""
        chosen = self.models.requests
        folder, is_loaded = chosen.folder, self.dispatcher.loaded == self.models.chosen
        supervisor = self.dispatcher.supervisor
        games = [{"id": game.id, "name": game.name, "tracks": game.tracks} for game in chosen.games.games]
        status = supervisor.status if is_loaded else LOADING
        return {
            "status": status,
            "message": supervisor.message if status in (FAILED, SILENT) else None,
            "model": folder.path.resolve().name,
            "model_id": self.models.chosen,
            "ema": chosen.ema,
            "loaded": self.dispatcher.loaded,
            "revision": chosen.revision,
            "fingerprint": supervisor.info.get("fingerprint") if is_loaded else None,
            "sample_rate": supervisor.info.get("sample_rate") if is_loaded else None,
            "games": games,
            "controls": [
                {"id": name} | {key: value for key, value in control.to_json().items() if key != "usual"}
                for name, control in chosen.controls.items()
            ],
            "model_folder": str(folder.path),
            "shipped": is_shipped(folder.path),
            "output_folder": str(self.outputs.path),
            "worker_pid": supervisor.pid,
        }

    def describe(self, job: Job) -> dict[str, Any]:
        """A job as the API shows it."""
        job = self.dispatcher.ends.seen(job)
        missing = job.status == "done" and self.outputs.audio_of(job) is None
        running = self.dispatcher.running
        live = running if running and running.id == job.id and job.status == "running" else None
        return describe_job(job, live, missing=missing, is_drawn=self.outputs.is_drawn(job.id))

    async def job(self, job_id: str) -> Job:
        """Raises:
        RefusedError: 404, no such job.
        """
        return await self.history.job(job_id)

    def draw(self, job: Job) -> None:
        """Has spectrogram and peaks made of a clip that lacks them, such as one of the command line."""
        if job.file is not None and job.status == "done":
            self.dispatcher.drawing.ask(job.id, job.file)

    # -- what can be done ------------------------------------------------------------------------------------------

    async def submit(self, request: Request, model: str, key: str | None, parent: str | None = None) -> Job:
        """Queues a request; with a `key` that was used before, returns the job of that time instead.

        Args:
            request: as the `ModelRequests` of `model` has parsed it.
            parent: id of the clip that this becomes a version of; None for its source, if it has one.

        Raises:
            RefusedError: 422 for a source or a parent that is not there; 429 when the queue is full.
        """
        fields = await asyncio.to_thread(self.sources.completed, request)
        if parent is not None and await asyncio.to_thread(self.store.get, parent) is None:
            raise RefusedError(422, "parent: there is no job with this id", "parent")
        parent = parent or source_job(fields)
        job, is_new = await asyncio.to_thread(self.store.add, fields, self.settings.queue_limit, key, model, parent)
        if is_new:
            self._publish(job)
            await self.dispatcher.dispatch()
        return await self.job(job.id)

    async def cancel(self, job_id: str) -> Job:
        """Cancels a waiting job at once, a running one after its step.

        Raises:
            RefusedError: 404, or 409 for a job that has ended in another way.
        """
        async with self.dispatcher.turn:
            if await asyncio.to_thread(self.store.cancel_queued, job_id):
                return await self._changed(job_id)
            if self.dispatcher.running and self.dispatcher.running.id == job_id:
                self.dispatcher.cancel_running()
                return await self._changed(job_id)
        job = await self.job(job_id)
        if job.status != "cancelled":
            raise RefusedError(409, f"this job is {job.status} already; nothing was cancelled")
        return job

    async def cancel_many(self, job_ids: Sequence[str]) -> list[str]:
        """Cancels those of the jobs that wait or run, the last one first, so that none starts meanwhile."""
        cancelled = []
        for job in reversed(await asyncio.to_thread(self.store.active)):
            if job.id in job_ids:
                with contextlib.suppress(RefusedError):
                    cancelled.append((await self.cancel(job.id)).id)
        return cancelled

    async def retry(self, job_id: str) -> Job:
        """Queues a failed, cancelled or interrupted job again, under its old id.

        Raises:
            RefusedError: 404, 409 for any other job, 422 where its model cannot make it, 429 when the queue is full.
        """
        job = await self.job(job_id)
        if job.status in RETRIABLE and (refusal := self.dispatcher.refusal(job)) is not None:
            raise refusal
        if not await asyncio.to_thread(self.store.retry, job_id, self.settings.queue_limit):
            raise RefusedError(409, f"only a job that came to nothing can be tried again; this one is {job.status}")
        changed = await self._changed(job_id)
        await self.dispatcher.dispatch()
        return changed

    # -- events ----------------------------------------------------------------------------------------------------

    async def _changed(self, job_id: str) -> Job:
        return await self.history.changed(job_id)

    def _tell_health(self) -> None:
        self.events.publish({"type": "health", "health": self.health()})

    def _publish(self, job: Job) -> None:
        self.events.publish({"type": "job", "job": self.describe(job)})
