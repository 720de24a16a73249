"""Audio that visitors bring in: a clip of ours to restore its settings, or any audio to start from.

    POST   /api/uploads?name=theme.mp3   the file itself as the body -> {"id", "name", "seconds", "settings", ...}
    GET    /api/uploads                  {"uploads": [...]}, newest first
    GET    /api/uploads/{id}/audio       as it was decoded
    DELETE /api/uploads/{id}

A file is streamed to the server's own folder under a name of the server's own, decoded there by a process of its own
(incoming.py), and then thrown away: what stays is what was decoded. A visitor's name for it is a label, no path.

<outputs>/.webui/uploads/<id>.flac, <id>.json
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import time
import unicodedata
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from dualdiffusion.files import TEMPORARY_MARK, sweep, write_json
from webui.exchange.helper import Helpers
from webui.history.outputs import OutputFolder, dated
from webui.history.stored import finite
from webui.http.bodies import MAX_DRAIN
from webui.http.ids import ID, id_in_address
from webui.http.openapi import takes_file
from webui.http.refusal import RefusedError, json_response
from webui.http.sending import send_file
from webui.service import Service

MAX_FILE = 64 * 2**20  # bytes of one file
MAX_NAME = 100  # characters
AT_ONCE = 4  # files on their way
ARRIVAL = 300.0  # seconds that a file may be on its way
PATIENCE = 120.0  # seconds that decoding may take
KEPT, KEPT_BYTES = 60, 2 * 2**30  # uploads; the oldest go first


UploadId = Annotated[str, id_in_address("upload")]


def add_upload_routes(app: FastAPI, service: Service) -> None:
    """Bringing audio in."""
    uploads = Uploads(service.outputs)
    helpers = Helpers("incoming")
    on_their_way: set[str] = set()

    @app.post("/api/uploads", openapi_extra=takes_file())
    async def bring_in(request: Request, name: Annotated[str, Query(max_length=10_000)] = "") -> Response:
        """Brings audio in, to start from it or to restore its settings: {"id", "name", "seconds", "settings", ...}."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/octet-stream" and not kind.startswith("audio/"):
            raise RefusedError(415, "send the file itself, with the header Content-Type: application/octet-stream")
        if len(on_their_way) >= AT_ONCE:
            raise RefusedError(429, "other files are being brought in; wait for them")
        upload_id = secrets.token_hex(8)
        raw = uploads.folder / f"{TEMPORARY_MARK}{upload_id}"
        on_their_way.add(upload_id)
        try:
            await _receive(request, raw)
            async with helpers.start() as helper:
                job = {"path": str(raw.resolve()), "flac": str(uploads.flac(upload_id).resolve())}
                found = await helper.ask(job, PATIENCE)
        except RefusedError as refusal:
            label = label_of(name)
            raise RefusedError(refusal.status, f"{label} {refusal.error}", "file") from None
        finally:
            on_their_way.discard(upload_id)
            await asyncio.to_thread(raw.unlink, missing_ok=True)
        told = await asyncio.to_thread(uploads.add, upload_id, label_of(name), found)
        active = await asyncio.to_thread(service.store.active)
        await asyncio.to_thread(uploads.prune, {upload_id, *(upload_in(job.request) for job in active)})
        return json_response(told, 201)

    @app.get("/api/uploads")
    async def listed() -> Response:
        """What was brought in, newest first: {"uploads"}."""
        return json_response({"uploads": await asyncio.to_thread(uploads.listed)})

    @app.get("/api/uploads/{upload_id}/audio")
    async def audio(request: Request, upload_id: UploadId) -> Response:
        """What was brought in, as it was decoded: FLAC."""
        path = uploads.flac(upload_id)
        if not path.is_file():
            raise RefusedError(404, "there is no upload with this id", "id")
        return send_file(request, path, cache="private, max-age=86400")

    @app.delete("/api/uploads/{upload_id}")
    async def delete(upload_id: UploadId) -> Response:
        """Forgets what was brought in."""
        if not await asyncio.to_thread(uploads.delete, upload_id):
            raise RefusedError(404, "there is no upload with this id", "id")
        return json_response({"id": upload_id})


async def _receive(request: Request, path: Path) -> None:
    """Streams a body to the disk.

    Raises:
        RefusedError: 408 for a sender that is too slow, 413 for more than MAX_FILE, 422 for nothing.
    """
    size = 0
    too_much = RefusedError(413, f"is larger than {MAX_FILE // 2**20} MiB")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MAX_FILE + MAX_DRAIN:
        raise too_much
    try:
        with open(path, "wb") as file:
            async with asyncio.timeout(ARRIVAL):
                async for part in request.stream():
                    size += len(part)
                    if size > MAX_FILE + MAX_DRAIN:
                        break
                    if size <= MAX_FILE:
                        await asyncio.to_thread(file.write, part)
    except TimeoutError:
        raise RefusedError(408, f"took longer than {ARRIVAL:g} s to arrive") from None
    if size > MAX_FILE:
        raise too_much
    if not size:
        raise RefusedError(422, "is empty")


def label_of(name: str) -> str:
    """A visitor's name for a file as it is shown: its last part, without what does not print."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(" " if unicodedata.category(character)[0] == "C" else character for character in last)
    return " ".join(shown.split())[:MAX_NAME] or "the file"


def upload_in(request: dict[str, Any]) -> str | None:
    """The id of the upload that a request starts from; None where it starts from none."""
    source = request.get("source")
    return source.get("upload") if isinstance(source, dict) else None


class Uploads:
    """The folder of what was brought in."""

    def __init__(self, outputs: OutputFolder) -> None:
        self.folder = outputs.uploads
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)

    def flac(self, upload_id: str) -> Path:
        """Where the audio of an upload lies."""
        return self.folder / f"{upload_id}.flac"

    def _about(self, upload_id: str) -> Path:
        return self.folder / f"{upload_id}.json"

    def add(self, upload_id: str, name: str, found: dict[str, Any]) -> dict[str, Any]:
        """Keeps what was found in a file, and returns it as the API shows it."""
        request = (found["settings"] or {}).get("request")
        settings = {**found["settings"], "request": self._portable(request)} if isinstance(request, dict) else None
        about = {"id": upload_id, "name": name, "created": time.time(), **found, "settings": settings}
        write_json(self._about(upload_id), about)
        return about

    def _portable(self, request: dict[str, Any]) -> dict[str, Any]:
        """A clip's request with its source as an upload; any other source is left out, with what it is for."""
        source = request.get("source")
        if not isinstance(source, dict):
            return request
        path = Path(str(source.get("path", "")))
        if ID.fullmatch(path.stem) and self.flac(path.stem).is_file():
            return {**request, "source": {**_without(source, "path", "sha256"), "upload": path.stem}}
        return _without(request, "source", "inpaint", "extend_before", "extend_after")

    def listed(self) -> list[dict[str, Any]]:
        """All uploads, newest first, without waveforms; what cannot be read is left out."""
        found = []
        for path, _ in dated(self.folder, {".json"}):
            with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
                about = finite(json.loads(path.read_bytes()))
                if about.get("id") == path.stem and self.flac(path.stem).is_file():
                    found.append(_without(about, "peaks", "settings"))
        return sorted(found, key=_created, reverse=True)

    def delete(self, upload_id: str) -> bool:
        """Removes an upload; False where there is none."""
        there = self.flac(upload_id).is_file()
        for path in (self._about(upload_id), self.flac(upload_id)):
            path.unlink(missing_ok=True)
        return there

    def prune(self, needed: set[str | None]) -> None:
        """Removes the oldest beyond what is kept, but none that is needed."""
        size = 0
        for number, (path, status) in enumerate(reversed(dated(self.folder, {".flac"}))):
            size += status.st_size
            if (number >= KEPT or size > KEPT_BYTES) and path.stem not in needed:
                self.delete(path.stem)


def _created(about: dict[str, Any]) -> float:
    """When an upload was made; long ago where the file beside it says nonsense."""
    created = about.get("created")
    return created if isinstance(created, int | float) else 0.0


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}
