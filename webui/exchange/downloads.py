"""Taking clips home: in any format, at any loudness, with loop points for games, and many at once as a zip.

    GET    /api/jobs/{id}/download?format=ogg&loudness=-16    one clip; formats and levels as `OutputSettings`
    GET    /api/download?ids=<id>,<id>,...&format=...         several, as a zip that is sent while it is written

Loop points are those of the clip: all of one that was made as a loop; of a loop that was extended before, what was
there first, so that the new part is an intro. `loop=0` leaves them out.
"""

from __future__ import annotations

import asyncio
import io
import secrets
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePath
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.background import BackgroundTask

from dualdiffusion.files import TEMPORARY_MARK, sweep
from sampling.output.settings import SUBTYPES, OutputSettings
from webui.exchange.helper import Helpers
from webui.exchange.sources import source_job
from webui.history.job import Job
from webui.history.outputs import seconds_in
from webui.http.bodies import refusal_of
from webui.http.ids import ID, JobId
from webui.http.media_types import media_type
from webui.http.refusal import RefusedError
from webui.service import Service

MOST = 200  # clips of one zip
PATIENCE = 60.0  # seconds for one clip
PIECE = 2**18  # bytes sent at a time


def output_of(
    request: Request,
    format: Annotated[str, Query(max_length=10)] = "flac",
    bits: int | None = None,
    loudness: float | None = None,
    true_peak: float | None = None,
) -> OutputSettings:
    """The settings of an address.

    Raises:
        RefusedError: 403 for a link on another site, which would make this machine work; 422 for what no clip can be.
    """
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise RefusedError(403, "requests from other sites are refused")
    if format not in SUBTYPES:
        raise RefusedError(422, f"format: must be one of {', '.join(SUBTYPES)}", "format")
    fields = {"format": format, "bits": bits, "loudness": loudness, "true_peak": true_peak}
    try:
        return OutputSettings.from_json(fields)
    except ValidationError as error:
        raise refusal_of(OutputSettings, error) from None


Output = Annotated[OutputSettings, Depends(output_of)]


def add_download_routes(app: FastAPI, service: Service) -> None:
    """Taking clips home."""
    downloads = Downloads(service)

    @app.get("/api/jobs/{job_id}/download")
    async def one(job_id: JobId, output: Output, loop: bool = True) -> Response:
        """A clip as a file to take home."""
        job = await service.job(job_id)
        path = await downloads.written(job, output, loop)
        return FileResponse(
            path,
            filename=f"{PurePath(job.file or 'clip').stem}.{output.format}",
            media_type=media_type(f"x.{output.format}"),
            headers={"Cache-Control": "no-store"},
            background=BackgroundTask(path.unlink, missing_ok=True),
        )

    @app.get("/api/download")
    async def several(ids: Annotated[str, Query(max_length=17 * MOST)], output: Output, loop: bool = True) -> Response:
        """Several clips as a zip, which is sent while it is written."""
        wanted = list(dict.fromkeys(ids.split(",")))
        if not all(ID.fullmatch(each) for each in wanted):
            raise RefusedError(422, "ids: must be the ids of jobs, with commas between them", "ids")
        jobs = [await service.job(each) for each in wanted]
        for job in jobs:
            service.history.audio(job)
        headers = {"Content-Disposition": 'attachment; filename="clips.zip"', "Cache-Control": "no-store"}
        return StreamingResponse(downloads.zipped(jobs, output, loop), media_type="application/zip", headers=headers)


class Downloads:
    """Writes clips aside, to be sent and thrown away."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.helpers = Helpers("outgoing")
        self._folder = service.outputs.extras / "downloads"
        self._folder.mkdir(parents=True, exist_ok=True)
        sweep(self._folder)

    async def written(self, job: Job, output: OutputSettings, loop: bool) -> Path:
        """A clip in another way; the file is the caller's to remove.

        Each has a process of its own, which has ended when this returns: one that took too long gives no later answer,
        and a visitor who is slow to read keeps none of the few places.

        Raises:
            RefusedError: the clip is gone or cannot be read.
        """
        path = self._service.history.audio(job)
        target = self._folder / f"{TEMPORARY_MARK}{secrets.token_hex(8)}.{output.format}"
        where = await self._loop(job) if loop else None
        task = {"path": str(path.resolve()), "target": str(target.resolve()), "output": output.to_json(), "loop": where}
        async with self.helpers.start() as helper:
            await helper.ask(task, PATIENCE)
        return target

    async def _loop(self, job: Job) -> tuple[float, float | None] | None:
        """Where a clip loops, (start, length) in seconds; None where it does not."""
        request, parent_id = job.request, source_job(job.request)
        if request.get("loop") is True:
            return 0.0, None
        parent = await asyncio.to_thread(self._service.store.get, parent_id) if parent_id else None
        if parent is None or request.get("inpaint"):
            return None
        source = request["source"]
        about = self._service.outputs.peaks(parent.id)
        before, kept = request.get("extend_before"), await asyncio.to_thread(seconds_in, about)
        whole = source.get("start") in (0, None) and source.get("seconds") in (None, kept)
        if parent.request.get("loop") is not True or not whole or not isinstance(before, int | float) or not kept:
            return None
        extended = before > 0 or bool(request.get("extend_after"))
        return (float(before), kept) if extended else None

    async def zipped(self, jobs: list[Job], output: OutputSettings, loop: bool) -> AsyncIterator[bytes]:
        """A zip of clips, piece by piece: each is written when it is its turn, and gone when it was sent."""
        out = _Pipe()
        names: set[str] = set()
        with zipfile.ZipFile(out, "w") as archive:
            for job in jobs:
                try:
                    path = await self.written(job, output, loop)
                except RefusedError as refusal:  # too late to refuse it all: what is wrong is told in its place
                    archive.writestr(_free_name(job, "txt", names), f"{refusal.error}\n")
                    continue
                try:
                    with archive.open(_free_name(job, output.format, names), "w") as entry, open(path, "rb") as file:
                        while piece := await asyncio.to_thread(file.read, PIECE):
                            entry.write(piece)
                            yield out.taken()
                finally:
                    path.unlink(missing_ok=True)
                yield out.taken()
        yield out.taken()


def _free_name(job: Job, suffix: str, names: set[str]) -> str:
    """A name within the zip that no other clip of it has."""
    stem, number = PurePath(job.file or "clip").stem, 2
    name = f"{stem}.{suffix}"
    while name in names:
        name, number = f"{stem} ({number}).{suffix}", number + 1
    names.add(name)
    return name


class _Pipe(io.RawIOBase):
    """Where a zip is written that nobody can go back in."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: bytes) -> int:
        """Holds what is written until it is taken."""
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last time."""
        data = bytes(self._held)
        self._held.clear()
        return data
