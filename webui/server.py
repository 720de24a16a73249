"""The page and its JSON API. Imports no torch: the model lives in a process of its own (webui/models/worker.py).

    GET    /api/health                     {"status": "loading|ready|failed", "model", "games", "controls", ...}
    GET    /api/options                    what a request may contain: the model's defaults, ranges, samplers, schedules
    POST   /api/check                      fields of a request -> {"request": those that the model can do, "dropped"}
    POST   /api/jobs?parent=<id>           a request -> {"id", "notes": what of it changes nothing, if anything};
                                           the header Idempotency-Key makes repeating it harmless;
                                           "source": {"job": <id>} starts from a clip; both make it a version of a clip;
                                           "source": {"upload": <id>} starts from what was brought in
    GET    /api/jobs?view=active|all|starred|bin&search=&game=&model=&offset=&limit=50   -> {"jobs": [...], "total"}
    GET    /api/jobs/{id}                  {"status", "progress", "error", "request", ...}
    GET    /api/jobs/{id}/versions         what it was made from and what was made from that -> {"jobs": [...]}
    PATCH  /api/jobs/{id}                  {"title", "notes", "starred"}
    DELETE /api/jobs/{id}                  cancels; 409 if the job has ended
    POST   /api/jobs/{id}/retry            again, after failed, cancelled or interrupted
    POST   /api/jobs/{id}/bin, /restore    delete, and undo
    GET    /api/jobs/{id}/audio            the audio file, with byte ranges; ?download=1 to save it
    GET    /api/jobs/{id}/spectrogram, /peaks, /preview
    POST   /api/jobs/{id}/draw             has the first two made where they are missing; an event tells when
    WS     /api/events                     {"type": "job|progress|preview|health|presets|history", ...}

The others stand at the head of the files that add them: history/routes.py (many jobs at once, the bin),
models/routes.py, desk/request_schema.py, desk/presets.py, desk/grids.py, exchange/uploads.py, exchange/downloads.py,
learn/routes.py.
GET /api/openapi.json describes all of them, with examples (http/openapi.py).
Every address with GET has HEAD and OPTIONS, too. Below a prefix (--root-path), addresses in answers follow the prefix.
Every refusal is {"error": "seconds: input should be less than or equal to 600, not 9999", "field": "seconds"}.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from pydantic import Field
from starlette.types import Scope

from dualdiffusion.config import Config
from sampling.without_effect import without_effect
from webui.desk.grids import add_grid_routes
from webui.desk.presets import add_preset_routes
from webui.desk.request_schema import add_schema_routes, body_schema, example_request, request_options
from webui.exchange.downloads import add_download_routes
from webui.exchange.uploads import add_upload_routes
from webui.history.routes import add_history_routes
from webui.http.bodies import Body, fields_of, parsed
from webui.http.ids import JobId
from webui.http.media_types import media_type
from webui.http.methods import add_error_handlers, answer_head
from webui.http.openapi import MODEL, PRESET, REQUEST, add_description, takes, takes_json
from webui.http.refusal import RefusedError, json_response
from webui.http.security import Guard
from webui.http.sending import send_file
from webui.learn.routes import add_learn_routes
from webui.learn.studio import Studio
from webui.models.routes import add_model_routes
from webui.service import Service
from webui.settings import Settings

STATIC = Path(__file__).resolve().parent / "static"
HEARTBEAT = 10.0  # seconds; a page that hears nothing for longer takes its socket for dead


class Edit(Config):
    """Changes to an item of the history; null leaves as it is."""

    title: Annotated[str, Field(max_length=200)] | None = None
    """The item's name; empty for the name that follows from its games."""
    notes: Annotated[str, Field(max_length=4000)] | None = None
    """What one wants to remember of it."""
    starred: bool | None = None
    """Whether it is marked with a star."""


def create_app(settings: Settings) -> FastAPI:
    """The application, with its history open; the model's process starts with the server.

    Raises:
        UserError: unsafe settings, a model folder without labels, or an unusable history.
    """
    settings.check()
    service = Service(settings)
    studio = Studio(settings, service)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with service.active(), studio.active():
            yield

    # No interactive documentation: FastAPI's pages load scripts from other hosts.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, settings=settings)
    app.state.service = service
    add_error_handlers(app)
    add_history_routes(app, service)
    add_model_routes(app, service)
    _add_job_routes(app, service)
    _add_file_routes(app, service)
    add_schema_routes(app, service)
    add_preset_routes(app, service)
    add_upload_routes(app, service)
    add_download_routes(app, service)
    add_grid_routes(app, service)
    _add_page(app, service)
    add_learn_routes(app, studio)
    _add_description(app, service, studio)
    answer_head(app)
    return app


def _add_description(app: FastAPI, service: Service, studio: Studio) -> None:
    def known() -> dict[str, Any]:
        chosen = service.requests
        request = example_request(chosen.games.names, chosen.recommended)
        return {REQUEST: request, MODEL: service.models.chosen, PRESET: next(iter(studio.presets))}

    add_description(app, service.settings.prefix, known)


def _add_job_routes(app: FastAPI, service: Service) -> None:
    @app.get("/api/health")
    async def health() -> Response:
        """The model, its games, and whether it can play."""
        return json_response(service.health())

    @app.get("/api/options")
    async def options() -> Response:
        """What a request may contain: defaults of the model, ranges, samplers, schedules."""
        return json_response(request_options(service.requests.recommended, service.requests.ema))

    @app.post("/api/check", openapi_extra=takes_json(body_schema(whole=False), REQUEST))
    async def check(body: Body) -> Response:
        """What of some fields of a request the model can do: {"request", "dropped"}."""
        return json_response(service.requests.usable(body))

    @app.post("/api/jobs", openapi_extra=takes_json(body_schema(whole=True), REQUEST))
    async def submit(request: Request, body: Body, parent: str | None = None) -> Response:
        """Queues a request: {"id", "status", "notes"}; the header Idempotency-Key makes repeating it harmless."""
        key = request.headers.get("idempotency-key")
        if key is not None and not 1 <= len(key) <= 200:
            raise RefusedError(422, "Idempotency-Key: must have 1 to 200 characters", "Idempotency-Key")
        # Before the first wait: another model may be chosen meanwhile.
        asked, model = service.requests.parse(body), service.models.chosen
        notes = without_effect(asked, fields_of(body))
        job = await service.submit(asked, model, key, parent)
        return json_response({"id": job.id, "status": job.status, **({"notes": notes} if notes else {})}, 201)

    @app.get("/api/jobs/{job_id}")
    async def job(job_id: JobId) -> Response:
        """A job: {"status", "progress", "error", "request", ...}."""
        return json_response(service.describe(await service.job(job_id)))

    @app.get("/api/jobs/{job_id}/versions")
    async def versions(job_id: JobId) -> Response:
        """What a clip was made from, and what was made from that: {"jobs"}."""
        await service.job(job_id)
        family = await asyncio.to_thread(lambda: [service.describe(job) for job in service.store.family(job_id)])
        return json_response({"jobs": family})

    @app.patch("/api/jobs/{job_id}", openapi_extra=takes(Edit, {"title": "Bridge", "starred": True}))
    async def edit(job_id: JobId, body: Body) -> Response:
        """Gives a job a name, notes or a star."""
        changes = parsed(Edit, body)
        edited = await service.history.edit(job_id, title=changes.title, notes=changes.notes, starred=changes.starred)
        return json_response(service.describe(edited))

    @app.delete("/api/jobs/{job_id}")
    async def cancel(job_id: JobId) -> Response:
        """Cancels a job; 409 where it has ended."""
        return json_response(service.describe(await service.cancel(job_id)))

    @app.post("/api/jobs/{job_id}/retry")
    async def retry(job_id: JobId) -> Response:
        """Makes a job again that has failed, was cancelled or was interrupted."""
        return json_response(service.describe(await service.retry(job_id)))

    @app.post("/api/jobs/{job_id}/bin")
    async def to_bin(job_id: JobId) -> Response:
        """Moves a finished job into the bin."""
        return json_response(service.describe(await service.history.bin(job_id, True)))

    @app.post("/api/jobs/{job_id}/restore")
    async def restore(job_id: JobId) -> Response:
        """Moves a job back out of the bin."""
        return json_response(service.describe(await service.history.bin(job_id, False)))


def _add_file_routes(app: FastAPI, service: Service) -> None:
    @app.get("/api/jobs/{job_id}/audio")
    async def audio(request: Request, job_id: JobId, download: bool = False) -> Response:
        """The audio file, with byte ranges."""
        path = service.history.audio(await service.job(job_id))
        return send_file(request, path, disposition="attachment" if download else "inline")

    @app.get("/api/jobs/{job_id}/spectrogram")
    async def spectrogram(request: Request, job_id: JobId) -> Response:
        """The spectrogram of a clip: WebP, or PNG of older ones."""
        return _extra(request, service.outputs.picture(job_id))

    @app.get("/api/jobs/{job_id}/peaks")
    async def peaks(request: Request, job_id: JobId) -> Response:
        """The waveform of a clip: {"seconds", "peaks"}."""
        return _extra(request, service.outputs.peaks(job_id))

    @app.post("/api/jobs/{job_id}/draw")
    async def draw(job_id: JobId) -> Response:
        """Has spectrogram and waveform made where they are missing; an event tells when."""
        service.draw(await service.job(job_id))
        return Response(status_code=202)

    @app.get("/api/jobs/{job_id}/preview")
    async def preview(job_id: JobId) -> Response:
        """The clip that forms, as a picture: WebP; 204 where there is none."""
        running = service.dispatcher.running
        if running is None or running.id != job_id or running.preview is None:
            return Response(status_code=204)  # no error: it was there when the page was told so, a moment ago
        return Response(running.preview, headers={"Cache-Control": "no-store"}, media_type="image/webp")


def _extra(request: Request, path: Path) -> Response:
    if not path.is_file():
        raise RefusedError(404, "this file is gone from the outputs folder; POST .../draw has it made again")
    return send_file(request, path, cache="private, max-age=86400")


def _add_page(app: FastAPI, service: Service) -> None:
    @app.get("/")
    async def page() -> Response:
        html = (STATIC / "index.html").read_text(encoding="utf-8")
        # Relative without a prefix: a proxy may add one that nobody has told us.
        prefix = service.settings.prefix
        html = html.replace("{{root}}", f"{quote(prefix)}/" if prefix else "")
        return Response(html, headers={"Cache-Control": "no-store"}, media_type="text/html")

    @app.get("/api/events")
    async def no_events() -> Response:
        """Live events, through a WebSocket alone: {"type": "job|progress|preview|health|presets|history", ...}."""
        response = RefusedError(426, "this address speaks WebSocket only; see /api/jobs for the same").response()
        response.headers.update({"Upgrade": "websocket", "Connection": "Upgrade"})
        return response

    @app.websocket("/api/events")
    async def events(connection: WebSocket) -> None:
        await connection.accept()
        try:
            with service.events.listen() as queue:
                await _follow(connection, queue, service)
        except RefusedError as refusal:
            await connection.close(1013, refusal.error)

    app.mount("/static", _Static(directory=STATIC))


async def _follow(connection: WebSocket, queue: asyncio.Queue[dict[str, Any] | None], service: Service) -> None:
    """Sends events until the page leaves or falls behind."""

    async def send() -> None:
        while True:
            await connection.send_json({"type": "health", "health": service.health()})
            with contextlib.suppress(asyncio.TimeoutError):
                async with asyncio.timeout(HEARTBEAT):
                    while event := await queue.get():
                        await connection.send_json(event)
                    break
        await connection.close(1012)

    async def until_closed() -> None:
        while (await connection.receive())["type"] != "websocket.disconnect":
            pass

    tasks = [asyncio.create_task(send()), asyncio.create_task(until_closed())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Static(StaticFiles):
    """Browsers ask each time whether a file has changed: an update must never mix old and new modules."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if "Content-Type" in response.headers:
            response.headers["Content-Type"] = media_type(path)
        response.headers["Cache-Control"] = "no-cache"
        return response
