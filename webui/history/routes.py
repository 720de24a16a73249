"""The history over HTTP: lists and searches, what is done with many at once, the bin, and clips made elsewhere.

GET    /api/jobs?view=active|all|starred|bin&search=&game=&model=&offset=0&before=<position>&limit=50
                                       {"jobs": [...], "total": how many there are in all}
GET    /api/jobs/ids?view=&search=...  {"ids": [...]}: all of them, newest first
GET    /api/history                    what it can be narrowed down to: {"games": [...], "models": [...]}
POST   /api/history/batch              {"ids", "action": "star|unstar|bin|restore|delete|cancel"} -> {"changed": [ids]}
POST   /api/history/import             takes in clips that lie in the outputs folder -> {"added": how many}
DELETE /api/history/bin                empties the bin, for good -> {"changed": [ids]}
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query
from fastapi.responses import Response
from pydantic import Field

from dualdiffusion.config import Config
from webui.history.search import Search
from webui.http.bodies import Body, parsed
from webui.http.ids import IdText
from webui.http.openapi import EXAMPLE_ID, takes
from webui.http.refusal import RefusedError, json_response
from webui.service import Service

MOST_IDS = 10_000


class Batch(Config):
    """Something that is done with many jobs."""

    ids: Annotated[list[IdText], Field(min_length=1, max_length=MOST_IDS)]
    """Which; those that are not there, or for which it makes no sense, are left out."""
    action: Literal["star", "unstar", "bin", "restore", "delete", "cancel"]
    """What; delete is for good, and for what is in the bin only."""


def _search(
    view: Literal["active", "all", "starred", "bin"] = "all",
    search: Annotated[str, Query(max_length=500)] = "",
    game: Annotated[str, Query(max_length=500)] = "",
    model: Annotated[str, Query(max_length=500)] = "",
) -> Search:
    return Search(view, search, game, model)


Asked = Annotated[Search, Depends(_search)]


def add_history_routes(app: FastAPI, service: Service) -> None:
    """Adds the routes."""
    history, store = service.history, service.store

    @app.get("/api/jobs")
    async def jobs(
        asked: Asked,
        before: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
        offset: Annotated[int, Query(ge=0, lt=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Response:
        """Jobs of the queue or the history, newest first: {"jobs", "total"}."""

        def read() -> dict[str, Any]:
            if asked.view == "active":
                rows = store.active()
                return {"jobs": [service.describe(job) for job in rows], "total": len(rows)}
            found = store.finished(asked, before, limit, offset)
            return {"jobs": [service.describe(job) for job in found], "total": store.count(asked)}

        return json_response(await asyncio.to_thread(read))

    @app.get("/api/jobs/ids")
    async def ids(asked: Asked) -> Response:
        """The ids of all finished jobs that a search finds, newest first: {"ids"}."""
        if asked.view == "active":
            raise RefusedError(422, "view: only finished jobs can be listed by id", "view")
        return json_response({"ids": await asyncio.to_thread(store.ids, asked)})

    @app.get("/api/history")
    async def choices() -> Response:
        """What the history can be narrowed down to: {"games", "models"}."""
        return json_response(await asyncio.to_thread(store.choices))

    @app.post("/api/history/batch", openapi_extra=takes(Batch, {"ids": [EXAMPLE_ID], "action": "star"}))
    async def batch(body: Body) -> Response:
        """Does something with many jobs: {"changed": ids}."""
        asked = parsed(Batch, body)
        if asked.action in ("star", "unstar"):
            changed = await history.star(asked.ids, asked.action == "star")
        elif asked.action in ("bin", "restore"):
            changed = await history.bin_many(asked.ids, asked.action == "bin")
        elif asked.action == "cancel":
            changed = await service.cancel_many(asked.ids)
        else:
            changed = await history.delete(asked.ids)
        return json_response({"changed": changed})

    @app.post("/api/history/import")
    async def take_in() -> Response:
        """Takes in clips that lie in the outputs folder: {"added": how many}."""
        return json_response({"added": await history.take_in()})

    @app.delete("/api/history/bin")
    async def empty_bin() -> Response:
        """Empties the bin, for good: {"changed": ids}."""
        ids = await asyncio.to_thread(store.ids, Search("bin"))
        return json_response({"changed": await history.delete(ids)})
