"""The queue's other end: waiting jobs go to the model's process, one at a time, and how they ended is written down.

In the history a job is queued, running, and then done, failed or cancelled. Here:

    idle     `running` is None. `dispatch` claims the next job, unless an end is still to be written (`ends`), its model
             is not loaded yet (then it is loaded), or nothing waits.
    busy     `running` is set: a job is claimed, sent to the process, made. What the process says of it comes to
             `on_message`; if the process dies, `on_change` ends the job.
    ending   `ends` has the job's end, until the disk has it; `running` is None again.

`turn` is held wherever a job changes between these, and by whatever moves jobs into the bin and out of it. A job keeps
the model that it was asked of: when its turn comes, that model is loaded, and the chosen one again when nothing waits.
Where its model is gone or cannot be loaded, the job fails in one line and the next one has its turn.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from dualdiffusion.errors import UserError, one_line
from webui.events import Events
from webui.exchange.sources import Sources
from webui.history.ends import End, Ends, report_unwritable
from webui.history.job import Job
from webui.history.job_view import Running
from webui.history.jobs import JobStore
from webui.http.refusal import RefusedError
from webui.models.choice import ModelChoice
from webui.models.drawing import Drawing
from webui.models.supervisor import FAILED, READY, Supervisor
from webui.settings import Settings

CANCEL_GRACE = 30.0  # seconds for the step in progress; then the model's process is ended and started anew


@dataclass(frozen=True)
class Claim:
    """A job that has its turn, and what its model is sent; or why it cannot be made."""

    job: Job
    request: dict[str, Any] | None = None
    refusal: RefusedError | None = None


class Dispatcher:
    """One model process and the jobs that it is given. Lives on the event loop; the database on threads.

    Args:
        changed: tells pages of a job, as the history has it.
        tell_health: tells pages how the model's process is.

    Attributes:
        running: the job that is made now, or None.
        loaded: the name of the model that the process has or loads.
        supervisor: of the model's process.
        turn: held while a job starts or ends.
    """

    def __init__(
        self,
        settings: Settings,
        models: ModelChoice,
        store: JobStore,
        sources: Sources,
        events: Events,
        *,
        changed: Callable[[str], Awaitable[Job]],
        tell_health: Callable[[], None],
    ) -> None:
        self._models, self._store, self._sources, self._events = models, store, sources, events
        self._changed, self._tell_health = changed, tell_health
        self.running: Running | None = None
        self.loaded = models.chosen
        self.turn = asyncio.Lock()
        self.ends = Ends(self._write_end, self._tell_changed, self.dispatch)
        self.supervisor = Supervisor(
            settings.model,
            settings.outputs,
            settings.loader,
            on_message=self.on_message,
            on_change=self.on_change,
        )
        self.drawing = Drawing(self.supervisor)

    # -- starting --------------------------------------------------------------------------------------------------

    async def dispatch(self) -> None:
        """Gives the next job to its model if that is free, or has its model loaded."""
        async with self.turn:
            if self.running or self.ends:
                return
            try:
                claim = await self._claim_next()
            except (sqlite3.Error, OSError) as error:
                self.running = None
                report_unwritable(error)
                self.ends.try_later()
                return
            if claim is None:
                self.running = None
                return
            if claim.refusal is None:
                self.supervisor.send({"type": "generate", "id": claim.job.id, "request": claim.request})
        await self._tell_changed(claim.job.id)
        if claim.refusal is not None:
            await self._finish(End("failed", error=claim.refusal.error))

    async def _claim_next(self) -> Claim | None:
        """The next job, now the running one; None where nothing waits, or its model is not ready.

        The job is claimed in the history last: whatever fails before leaves it in the queue.

        Raises:
            sqlite3.Error, OSError: the history or the sources cannot be read or written now.
        """
        job = await asyncio.to_thread(self._store.next_queued)
        if job is None:
            self._ensure_loaded(self._models.chosen)
            return None
        refusal = self.refusal(job)
        if refusal is None and not self._ensure_loaded(job.model or self._models.chosen):
            return None
        # The process counts as busy before the disk is waited for: if it dies meanwhile, this job fails, and no
        # training takes the device.
        self.running = Running(job.id, refusal=None if refusal is None else refusal.error)
        request = None
        if refusal is None:
            try:
                request = await asyncio.to_thread(self._sources.resolved, job.request)
            except RefusedError as gone:
                refusal = gone
        if await asyncio.to_thread(self._store.claim_next) is None:
            return None
        return Claim(job, request, refusal)

    def _ensure_loaded(self, model: str) -> bool:
        """Whether the process has a model ready. Where it has another one, starts loading this one."""
        if model != self.loaded:
            try:
                path = self._models.requests_of(model).folder.path
            except (RefusedError, UserError):
                return False  # the chosen one was removed; another can be chosen
            self.loaded = model
            self.supervisor.load(path)
            self._tell_health()
        return self.supervisor.status == READY

    def refusal(self, job: Job) -> RefusedError | None:
        """Why a job cannot be made: by its model, or because there is no such model any more."""
        model = job.model or self._models.chosen
        if model == self.loaded and model != self._models.chosen and self.supervisor.status == FAILED:
            return RefusedError(422, f"model: {model} cannot be loaded: {self.supervisor.message}", "model")
        try:
            self._models.requests_of(model).parse(json.dumps(job.request).encode())
        except RefusedError as refusal:
            return refusal
        except UserError as error:
            return RefusedError(422, f"model: {one_line(error)}", "model")
        return None

    # -- while it is made ------------------------------------------------------------------------------------------

    def cancel_running(self) -> None:
        """Asks the process to stop after the step in progress; ends it where that takes too long."""
        running = self.running
        if running is not None and not running.cancelling:
            running.cancelling = True
            self.supervisor.send({"type": "cancel", "id": running.id})
            asyncio.get_running_loop().call_later(CANCEL_GRACE, self._kill_if_still_running, running)

    def _kill_if_still_running(self, running: Running) -> None:
        if self.running is running:
            self.supervisor.kill()

    async def on_message(self, message: dict[str, Any]) -> None:
        """What the process says of a job, or of a clip that it has drawn."""
        if message["type"] == "described":
            self.drawing.drawn(message["id"])
            await self._tell_changed(message["id"])
            return
        running = self.running
        if running is None or running.id != message["id"]:
            return
        match message["type"]:
            case "progress":
                running.progress, running.text = message["progress"], message["text"]
                self._publish(running, "progress", progress=running.progress, text=running.text)
            case "preview":
                running.preview, running.preview_version = base64.b64decode(message["image"]), time.time_ns()
                path = f"/api/jobs/{running.id}/preview?version={running.preview_version}"
                self._publish(running, "preview", preview=path)
            case "done":
                await self._finish(End("done", file=message["file"], fingerprint=message["fingerprint"]))
            case "failed":
                await self._finish(End("failed", error=message["error"]))
            case "cancelled":
                await self._finish(End("cancelled"))

    def _publish(self, running: Running, type: str, **values: Any) -> None:
        self._events.publish({"type": type, "id": running.id, **values})

    async def on_change(self, change: dict[str, Any]) -> None:
        """The process became ready, failed to load, or died: {"death": why, or None}."""
        death = change["death"]
        if death:
            self.drawing.died()
            with contextlib.suppress(UserError, RefusedError):  # the next process reads the folder anew, so we do
                self._models.requests_of(self.loaded).read()
        elif self.supervisor.status == READY:
            self._models.least_seconds[self.loaded] = self.supervisor.info["least_seconds"]
            self.drawing.ready()
        self._tell_health()
        if death and self.running:
            error = self.running.refusal or death
            await self._finish(End("cancelled") if self.running.cancelling else End("failed", error=error))
        await self.dispatch()

    # -- ending ----------------------------------------------------------------------------------------------------

    async def _finish(self, end: End) -> None:
        async with self.turn:
            if self.running is None:
                return
            job_id, self.running = self.running.id, None
            await self.ends.add(job_id, end)
        if self.ends:
            await self._tell_changed(job_id)  # as it will be once the disk has it
        await self.dispatch()

    async def _write_end(self, job_id: str, end: End) -> None:
        await asyncio.to_thread(self._store.finish, job_id, **asdict(end))

    async def _tell_changed(self, job_id: str) -> None:
        """As `changed`, but passes over a history that cannot be read now: nobody waits for the answer, and other
        jobs must have their turn."""
        with contextlib.suppress(sqlite3.Error, OSError, RefusedError):
            await self._changed(job_id)
