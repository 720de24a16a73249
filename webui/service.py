"""What the page can do, without HTTP: submit, cancel, retry, delete, undo; one job runs at a time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import is_shipped
from webui.events import Events
from webui.jobs import RETRIABLE, Job, JobStore
from webui.model_requests import ModelRequests
from webui.outputs import OutputFolder
from webui.refusal import RefusedError
from webui.settings import Settings
from webui.supervisor import FAILED, READY, Supervisor

CANCEL_GRACE = 30.0  # seconds for the step in progress; then the model's process is ended and started anew
T = TypeVar("T")


@dataclass
class Running:
    """What is known of the running job beside its row."""

    id: str
    progress: float = 0.0
    text: str = "starting"
    preview: bytes | None = None
    preview_version: int = 0
    cancelling: bool = False


@contextlib.asynccontextmanager
async def _telling_of_database_errors() -> AsyncIterator[None]:
    """Where no visitor waits for the answer, a full disk must not end the watch over the model's process."""
    try:
        yield
    except sqlite3.Error as error:
        print(f"the history cannot be written: {error}", file=sys.stderr, flush=True)


class Service:
    """The queue, the history and the model's process together. Lives on the event loop; the database on threads."""

    def __init__(self, settings: Settings) -> None:
        """Raises:
        UserError: the model has no labels, or the history cannot be used.
        """
        self.settings = settings
        self.folder = ModelFolder(settings.model)
        self.outputs = OutputFolder(settings.outputs)
        self.outputs.create()
        self.store = JobStore(self.outputs.database)
        self.events = Events()
        self.running: Running | None = None
        self._turn = asyncio.Lock()
        self.supervisor = Supervisor(
            settings.model,
            settings.outputs,
            settings.loader,
            on_message=self._on_message,
            on_change=self._worker_changed,
        )
        self.requests = ModelRequests(self.folder, lambda: self.supervisor.info.get("least_seconds", 0.0))

    @contextlib.asynccontextmanager
    async def active(self) -> AsyncIterator[None]:
        """Runs the model's process for as long as the block."""
        watching = asyncio.create_task(self.supervisor.run())
        try:
            yield
        finally:
            self.events.close()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self.store.close()

    # -- what is shown ---------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """The model, its games, and whether it can play."""
        games = [{"id": game.id, "name": game.name, "tracks": game.tracks} for game in self.requests.labels.games]
        return {
            "status": self.supervisor.status,
            "message": self.supervisor.message if self.supervisor.status == FAILED else None,
            "model": self.folder.path.resolve().name,
            "revision": self.requests.revision,
            "fingerprint": self.supervisor.info.get("fingerprint"),
            "sample_rate": self.supervisor.info.get("sample_rate"),
            "games": games,
            "controls": [
                {"id": name} | {key: value for key, value in control.to_json().items() if key != "usual"}
                for name, control in self.requests.controls.items()
            ],
            "model_folder": str(self.folder.path),
            "shipped": is_shipped(self.folder.path),
            "output_folder": str(self.outputs.path),
            "worker_pid": self.supervisor.pid,
        }

    def describe(self, job: Job) -> dict[str, Any]:
        """A job as the API shows it."""
        live = self.running if self.running and self.running.id == job.id and job.status == "running" else None
        base = f"/api/jobs/{job.id}"
        done = job.status == "done"
        missing = done and self.outputs.audio(job.file, job.binned is not None) is None
        return {
            "id": job.id,
            "status": job.status,
            "progress": 1.0 if done else live.progress if live else 0.0,
            "text": ("cancelling" if live.cancelling else live.text) if live else None,
            "error": "the audio file is no longer in the outputs folder" if missing else job.error,
            "missing": missing,
            "request": job.request,
            "position": job.position,
            "created": job.created,
            "started": job.started,
            "finished": job.finished,
            "file": job.file,
            "fingerprint": job.fingerprint,
            "title": job.title,
            "starred": job.starred,
            "binned": job.binned is not None,
            "audio": f"{base}/audio" if done and not missing else None,
            "peaks": f"{base}/peaks" if done else None,
            "spectrogram": f"{base}/spectrogram" if done else None,
            "preview": f"{base}/preview?version={live.preview_version}" if live and live.preview else None,
        }

    async def job(self, job_id: str) -> Job:
        """Raises:
        RefusedError: 404, no such job.
        """
        job = await self._thread(lambda: self.store.get(job_id))
        if job is None:
            raise RefusedError(404, "there is no job with this id", "id")
        return job

    # -- what can be done ------------------------------------------------------------------------------------------

    async def submit(self, body: bytes, key: str | None) -> Job:
        """Queues a request; with a `key` that was used before, returns the job of that time instead.

        Raises:
            RefusedError: 422 for a request that cannot be made, 429 when the queue is full.
        """
        request = self.requests.parse(body)
        job, is_new = await self._thread(lambda: self.store.add(request.to_json(), self.settings.queue_limit, key))
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
            if await self._thread(lambda: self.store.cancel_queued(job_id)):
                return await self._changed(job_id)
            if self.running and self.running.id == job_id:
                if not self.running.cancelling:
                    self.running.cancelling = True
                    self.supervisor.send({"type": "cancel", "id": job_id})
                    asyncio.get_running_loop().call_later(CANCEL_GRACE, self._end_stubborn, self.running)
                return await self._changed(job_id)
        job = await self.job(job_id)
        if job.status != "cancelled":
            raise RefusedError(409, f"this job is {job.status} already; nothing was cancelled")
        return job

    async def retry(self, job_id: str) -> Job:
        """Queues a failed, cancelled or interrupted job again, under its old id.

        Raises:
            RefusedError: 404, 409 for any other job, 422 where this model cannot make it, 429 when the queue is full.
        """
        job = await self.job(job_id)
        if job.status in RETRIABLE:
            self.requests.parse(json.dumps(job.request).encode())
        if not await self._thread(lambda: self.store.retry(job_id, self.settings.queue_limit)):
            raise RefusedError(409, f"only a job that came to nothing can be tried again; this one is {job.status}")
        changed = await self._changed(job_id)
        await self._dispatch()
        return changed

    async def edit(self, job_id: str, title: str | None, starred: bool | None) -> Job:
        """Renames or stars a job; None leaves as it is."""
        await self.job(job_id)
        if title is not None:
            await self._thread(lambda: self.store.set_title(job_id, title))
        if starred is not None:
            await self._thread(lambda: self.store.set_starred(job_id, starred))
        return await self._changed(job_id)

    async def bin(self, job_id: str, binned: bool) -> Job:
        """Moves a finished job and its audio into the bin, or back.

        Raises:
            RefusedError: 404, or 409 for a job that still waits or runs.
        """
        async with self._turn:
            job = await self.job(job_id)
            if job.status in ("queued", "running"):
                raise RefusedError(409, f"this job is {job.status}; cancel it first")
            if (job.binned is not None) != binned:
                await self._thread(lambda: self._move(job, binned))
        return await self._changed(job_id)

    def _move(self, job: Job, binned: bool) -> None:
        self.store.set_binned(job.id, binned, self.outputs.move(job.file, to_bin=binned))

    # -- the model's process ---------------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        """Gives the next job to the model if it is free."""
        async with self._turn, _telling_of_database_errors():
            if self.running or self.supervisor.status != READY:
                return
            job = await self._thread(self.store.claim_next)
            if job is None:
                return
            self.running = Running(job.id)
            refusal = self._refusal(job)
            if refusal is None:
                self.supervisor.send({"type": "generate", "id": job.id, "request": job.request})
            self._publish(job)
        if refusal is not None:
            await self._finish("failed", error=refusal)

    def _refusal(self, job: Job) -> str | None:
        """Why a job cannot be made that was queued for another model, or by other software."""
        try:
            self.requests.parse(json.dumps(job.request).encode())
        except RefusedError as refusal:
            return refusal.error
        return None

    async def _on_message(self, message: dict[str, Any]) -> None:
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
                await self._finish("done", file=message["file"], fingerprint=message["fingerprint"])
            case "failed":
                await self._finish("failed", error=message["error"])
            case "cancelled":
                await self._finish("cancelled")

    async def _worker_changed(self, change: dict[str, Any]) -> None:
        if change["death"]:
            with contextlib.suppress(UserError):  # the next process reads the folder anew, so we do
                self.requests.read()
        self.events.publish({"type": "health", "health": self.health()})
        if change["death"] and self.running:
            if self.running.cancelling:
                await self._finish("cancelled")
            else:
                await self._finish("failed", error=change["death"])
        await self._dispatch()

    async def _finish(self, status: str, **values: Any) -> None:
        async with self._turn:
            if self.running is None:
                return
            job_id, self.running = self.running.id, None
            async with _telling_of_database_errors():
                await self._thread(lambda: self.store.finish(job_id, status, **values))
                await self._changed(job_id)
        await self._dispatch()

    def _end_stubborn(self, running: Running) -> None:
        if self.running is running:
            self.supervisor.kill()

    # -- events ----------------------------------------------------------------------------------------------------

    async def _changed(self, job_id: str) -> Job:
        job = await self.job(job_id)
        self._publish(job)
        return job

    def _publish(self, job: Job) -> None:
        self.events.publish({"type": "job", "job": self.describe(job)})

    def _tell(self, running: Running, type: str, **values: Any) -> None:
        self.events.publish({"type": type, "id": running.id, **values})

    @staticmethod
    async def _thread(work: Callable[[], T]) -> T:
        """The database waits for the disk; the event loop must not."""
        return await asyncio.to_thread(work)
