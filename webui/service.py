"""What the page can do, without HTTP: submit, cancel, retry, choose a model; one job runs at a time.

A job keeps the model that it was asked of: when its turn comes, that model is loaded, and the chosen one again when
nothing waits. Where its model is gone or cannot be loaded, the job fails in one line and the next one has its turn.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any

from dualdiffusion.errors import UserError, one_line
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import is_shipped
from sampling.request import Request
from webui.events import Events
from webui.exchange.sources import Sources, source_job
from webui.history.actions import History
from webui.history.ends import End, Ends, report_unwritable
from webui.history.job import Job
from webui.history.job_view import Running, describe_job
from webui.history.jobs import RETRIABLE, JobStore
from webui.history.outputs import OutputFolder
from webui.http.refusal import RefusedError
from webui.models.choice import ModelChoice
from webui.models.folders import ModelShelf
from webui.models.requests import ModelRequests
from webui.models.supervisor import FAILED, LOADING, READY, SILENT, Supervisor
from webui.settings import Settings

CANCEL_GRACE = 30.0  # seconds for the step in progress; then the model's process is ended and started anew
MOST_DRAWN = 200  # clips without a picture that wait to be drawn


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
        self.running: Running | None = None
        self._turn = asyncio.Lock()
        self.ends = Ends(self._write_end, self._tell_changed, self._dispatch)
        self.history = History(self.store, self.outputs, self.events, self.describe, self._turn, self.ends.seen)
        self.supervisor = Supervisor(
            settings.model,
            settings.outputs,
            settings.loader,
            on_message=self._on_message,
            on_change=self._worker_changed,
        )
        self.models = ModelChoice(ModelShelf(settings.model, settings.models))
        self.loaded = self.models.chosen  # the name of the model that the process has or loads
        self._undrawn: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def active(self) -> AsyncIterator[None]:
        """Runs the model's process for as long as the block."""
        tasks = [asyncio.create_task(self.supervisor.run()), asyncio.create_task(self._take_in())]
        try:
            yield
        finally:
            self.events.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.ends.close()
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
        await self._dispatch()
        self.events.publish({"type": "health", "health": self.health()})
        return self.health()

    # -- what is shown ---------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """The model, its games, and whether it can play."""
        chosen = self.models.requests
        folder, is_loaded = chosen.folder, self.loaded == self.models.chosen
        games = [{"id": game.id, "name": game.name, "tracks": game.tracks} for game in chosen.games.games]
        status = self.supervisor.status if is_loaded else LOADING
        return {
            "status": status,
            "message": self.supervisor.message if status in (FAILED, SILENT) else None,
            "model": folder.path.resolve().name,
            "model_id": self.models.chosen,
            "ema": chosen.ema,
            "loaded": self.loaded,
            "revision": chosen.revision,
            "fingerprint": self.supervisor.info.get("fingerprint") if is_loaded else None,
            "sample_rate": self.supervisor.info.get("sample_rate") if is_loaded else None,
            "games": games,
            "controls": [
                {"id": name} | {key: value for key, value in control.to_json().items() if key != "usual"}
                for name, control in chosen.controls.items()
            ],
            "model_folder": str(folder.path),
            "shipped": is_shipped(folder.path),
            "output_folder": str(self.outputs.path),
            "worker_pid": self.supervisor.pid,
        }

    def describe(self, job: Job) -> dict[str, Any]:
        """A job as the API shows it."""
        job = self.ends.seen(job)
        missing = job.status == "done" and self.outputs.audio_of(job) is None
        live = self.running if self.running and self.running.id == job.id and job.status == "running" else None
        return describe_job(job, live, missing=missing, is_drawn=self.outputs.is_drawn(job.id))

    async def job(self, job_id: str) -> Job:
        """Raises:
        RefusedError: 404, no such job.
        """
        return await self.history.job(job_id)

    def draw(self, job: Job) -> None:
        """Has spectrogram and peaks made of a clip that lacks them, such as one of the command line."""
        if job.file is not None and job.status == "done" and len(self._undrawn) < MOST_DRAWN:
            if self.supervisor.status == READY and job.id not in self._undrawn:
                self.supervisor.send({"type": "describe", "id": job.id, "file": job.file})
            self._undrawn[job.id] = job.file

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
            await self._dispatch()
        return await self.job(job.id)

    async def cancel(self, job_id: str) -> Job:
        """Cancels a waiting job at once, a running one after its step.

        Raises:
            RefusedError: 404, or 409 for a job that has ended in another way.
        """
        async with self._turn:
            if await asyncio.to_thread(self.store.cancel_queued, job_id):
                return await self._changed(job_id)
            if self.running and self.running.id == job_id:
                if not self.running.cancelling:
                    self.running.cancelling = True
                    self.supervisor.send({"type": "cancel", "id": job_id})
                    asyncio.get_running_loop().call_later(CANCEL_GRACE, self._kill_if_still_running, self.running)
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
        if job.status in RETRIABLE and (refusal := self._refusal(job)) is not None:
            raise refusal
        if not await asyncio.to_thread(self.store.retry, job_id, self.settings.queue_limit):
            raise RefusedError(409, f"only a job that came to nothing can be tried again; this one is {job.status}")
        changed = await self._changed(job_id)
        await self._dispatch()
        return changed

    # -- the model's process ---------------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        """Gives the next job to its model if that is free, or has its model loaded."""
        async with self._turn:
            if self.running or self.ends:
                return
            try:
                job, outcome = await self._claimed()
            except (sqlite3.Error, OSError) as error:
                self.running = None
                report_unwritable(error)
                self.ends.try_later()
                return
            if job is None:
                self.running = None
                return
            if not isinstance(outcome, RefusedError):
                self.supervisor.send({"type": "generate", "id": job.id, "request": outcome})
        await self._tell_changed(job.id)
        if isinstance(outcome, RefusedError):
            await self._finish(End("failed", error=outcome.error))

    async def _claimed(self) -> tuple[Job | None, dict[str, Any] | RefusedError | None]:
        """The next job, now the running one, with what its model is sent or why it cannot be made.

        None where nothing waits, or its model is not ready. The job is claimed last: whatever fails before leaves it
        in the queue.

        Raises:
            sqlite3.Error, OSError: the history or the sources cannot be read or written now.
        """
        job = await asyncio.to_thread(self.store.next_queued)
        outcome: dict[str, Any] | RefusedError | None = job and self._refusal(job)
        if outcome is None and not self._ensure_loaded((job and job.model) or self.models.chosen):
            return None, None
        if job is None:
            return None, None
        # The process counts as busy before the disk is waited for: if it dies meanwhile, this job fails, and no
        # training takes the device.
        self.running = Running(job.id, refusal=outcome.error if isinstance(outcome, RefusedError) else None)
        if outcome is None:
            try:
                outcome = await asyncio.to_thread(self.sources.resolved, job.request)
            except RefusedError as gone:
                outcome = gone
        return (job, outcome) if await asyncio.to_thread(self.store.claim_next) is not None else (None, None)

    def _ensure_loaded(self, model: str) -> bool:
        """Whether the process has a model ready. Where it has another one, starts loading this one."""
        if model != self.loaded:
            try:
                path = self.models.requests_of(model).folder.path
            except (RefusedError, UserError):
                return False  # the chosen one was removed; another can be chosen
            self.loaded = model
            self.supervisor.load(path)
            self.events.publish({"type": "health", "health": self.health()})
        return self.supervisor.status == READY

    def _refusal(self, job: Job) -> RefusedError | None:
        """Why a job cannot be made: by its model, or because there is no such model any more."""
        model = job.model or self.models.chosen
        if model == self.loaded and model != self.models.chosen and self.supervisor.status == FAILED:
            return RefusedError(422, f"model: {model} cannot be loaded: {self.supervisor.message}", "model")
        try:
            self.models.requests_of(model).parse(json.dumps(job.request).encode())
        except RefusedError as refusal:
            return refusal
        except UserError as error:
            return RefusedError(422, f"model: {one_line(error)}", "model")
        return None

    async def _on_message(self, message: dict[str, Any]) -> None:
        if message["type"] == "described":
            self._undrawn.pop(message["id"], None)
            await self._tell_changed(message["id"])
            return
        running = self.running
        if running is None or running.id != message["id"]:
            return
        match message["type"]:
            case "progress":
                running.progress, running.text = message["progress"], message["text"]
                self._tell(running, "progress", progress=running.progress, text=running.text)
            case "preview":
                running.preview, running.preview_version = base64.b64decode(message["image"]), time.time_ns()
                self._tell(
                    running, "preview", preview=f"/api/jobs/{running.id}/preview?version={running.preview_version}"
                )
            case "done":
                await self._finish(End("done", file=message["file"], fingerprint=message["fingerprint"]))
            case "failed":
                await self._finish(End("failed", error=message["error"]))
            case "cancelled":
                await self._finish(End("cancelled"))

    async def _worker_changed(self, change: dict[str, Any]) -> None:
        if change["death"]:
            # The clip that was sent first is being drawn: it may have ended the process, and would end the next.
            self._undrawn.pop(next(iter(self._undrawn), ""), None)
            with contextlib.suppress(UserError, RefusedError):  # the next process reads the folder anew, so we do
                self.models.requests_of(self.loaded).read()
        elif self.supervisor.status == READY:
            self.models.least_seconds[self.loaded] = self.supervisor.info["least_seconds"]
            undrawn, self._undrawn = self._undrawn, {}
            for job_id, file in undrawn.items():
                self._undrawn[job_id] = file
                self.supervisor.send({"type": "describe", "id": job_id, "file": file})
        self.events.publish({"type": "health", "health": self.health()})
        if change["death"] and self.running:
            if self.running.cancelling:
                await self._finish(End("cancelled"))
            else:
                await self._finish(End("failed", error=self.running.refusal or change["death"]))
        await self._dispatch()

    async def _finish(self, end: End) -> None:
        async with self._turn:
            if self.running is None:
                return
            job_id, self.running = self.running.id, None
            await self.ends.add(job_id, end)
        if self.ends:
            await self._tell_changed(job_id)  # as it will be once the disk has it
        await self._dispatch()

    async def _write_end(self, job_id: str, end: End) -> None:
        await asyncio.to_thread(self.store.finish, job_id, **asdict(end))

    def _kill_if_still_running(self, running: Running) -> None:
        if self.running is running:
            self.supervisor.kill()

    # -- events ----------------------------------------------------------------------------------------------------

    async def _changed(self, job_id: str) -> Job:
        return await self.history.changed(job_id)

    async def _tell_changed(self, job_id: str) -> None:
        """As `_changed`, but passes over a history that cannot be read now: nobody waits for the answer, and other
        jobs must have their turn."""
        with contextlib.suppress(sqlite3.Error, OSError, RefusedError):
            await self._changed(job_id)

    def _publish(self, job: Job) -> None:
        self.events.publish({"type": "job", "job": self.describe(job)})

    def _tell(self, running: Running, type: str, **values: Any) -> None:
        self.events.publish({"type": type, "id": running.id, **values})
