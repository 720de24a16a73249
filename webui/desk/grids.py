"""Grids: many clips from one request, all combinations of some values, and the sheet that shows them side by side.

    POST   /api/grids         {"request", "axes": [{"key": "cfg_scale", "values": [1, 2, 4]}, ...]} -> the sheet
    GET    /api/grids         {"grids": [...]}, newest first
    GET    /api/grids/{id}    {"id", "created", "axes": [{"key", "labels"}], "jobs": [ids, the last axis fastest]}
    DELETE /api/grids/{id}    forgets the sheet; its clips stay

An axis is a key of the request, dotted where it lies deeper, or "game" for a mix of that game alone, as on the command
line (`python -m sampling --grid`).

<outputs>/.webui/grids/<id>.json
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import Field, JsonValue

from dualdiffusion.config import Config, nearest
from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import sweep, write_json
from sampling.command.grid import GAME, Axis, Cell, combinations
from sampling.recommended import Asked
from sampling.request import Request
from webui.exchange.sources import as_request, as_shown
from webui.history.outputs import dated
from webui.history.stored import finite
from webui.http.bodies import Body, parsed
from webui.http.ids import ID, id_in_address
from webui.http.openapi import REQUEST, takes
from webui.http.refusal import RefusedError, json_response
from webui.models.requests import ModelRequests
from webui.service import Service

MOST = 64  # clips of a grid
LISTED, KEPT = 100, 1000  # sheets
SEPARATE = ("source", "inpaint")  # keys that are no axis of one's own
EXAMPLE = {"request": REQUEST, "axes": [{"key": "cfg_scale", "values": [1, 2]}, {"key": "seed", "values": [1, 2, 3]}]}


class GridAxis(Config):
    """What varies."""

    key: Annotated[str, Field(min_length=1, max_length=60)]
    """A key of the request, or `game`."""
    values: Annotated[list[JsonValue], Field(min_length=1, max_length=MOST)]
    """Its values, each once."""


class GridOrder(Config):
    """A grid to make."""

    request: dict[str, Any]
    """Fields of a request, which hold where no axis says otherwise."""
    axes: Annotated[list[GridAxis], Field(min_length=1, max_length=2)]
    """One or two; the last one varies fastest."""


GridId = Annotated[str, id_in_address("grid")]


def add_grid_routes(app: FastAPI, service: Service) -> None:
    """Making grids, and finding them again."""
    folder = service.outputs.extras / "grids"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)

    @app.post("/api/grids", openapi_extra=takes(GridOrder, EXAMPLE))
    async def make(body: Body) -> Response:
        """Queues all combinations of some values: {"id", "created", "axes", "jobs"}."""
        order, model = parsed(GridOrder, body), service.models.chosen
        cells = cells_of(order, service.requests)
        waiting = len(await asyncio.to_thread(service.store.active))
        if waiting + len(cells) > service.settings.queue_limit:
            room = max(service.settings.queue_limit - waiting, 0)
            raise RefusedError(429, f"the queue has room for {room} clips; the grid has {len(cells)}", "axes")
        grid_id = secrets.token_hex(8)
        jobs = [await service.submit(cell.request, model, f"{grid_id}-{number}") for number, cell in enumerate(cells)]
        axes = [
            {"key": axis.key, "labels": [Axis(axis.key, (value,)).label(0) for value in axis.values]}
            for axis in order.axes
        ]
        sheet = {"id": grid_id, "created": time.time(), "axes": axes, "jobs": [job.id for job in jobs]}
        await asyncio.to_thread(_keep, folder, sheet)
        return json_response(sheet, 201)

    @app.get("/api/grids")
    async def listed() -> Response:
        """The sheets, newest first: {"grids"}."""
        return json_response({"grids": await asyncio.to_thread(_sheets, folder)})

    @app.get("/api/grids/{grid_id}")
    async def sheet(grid_id: GridId) -> Response:
        """The sheet of a grid: {"id", "created", "axes", "jobs"}."""
        found = await asyncio.to_thread(_sheet, folder / f"{grid_id}.json")
        if found is None:
            raise RefusedError(404, "there is no grid with this id", "id")
        return json_response(found)

    @app.delete("/api/grids/{grid_id}")
    async def forget(grid_id: GridId) -> Response:
        """Forgets a sheet; its clips stay."""
        path = folder / f"{grid_id}.json"
        if not path.is_file():
            raise RefusedError(404, "there is no grid with this id", "id")
        await asyncio.to_thread(path.unlink, missing_ok=True)
        return json_response({"id": grid_id})


def cells_of(order: GridOrder, requests: ModelRequests) -> list[Cell]:
    """All combinations, each checked as a request of its own.

    Raises:
        RefusedError: 422, an axis that is none, too many clips, or a combination that this model cannot make.
    """
    known = [name for name in [*Request.model_fields, GAME] if name not in SEPARATE]
    keys = [axis.key for axis in order.axes]
    for key in keys:
        if key.partition(".")[0] not in known:
            hint = nearest(key, known)
            raise RefusedError(
                422, f"axes: {key}: is no key that can vary" + (f"; did you mean {hint[0]}?" if hint else ""), "axes"
            )
    if len(set(keys)) < len(keys):
        raise RefusedError(422, f"axes: {keys[0]}: is given twice", "axes")
    if (count := len(order.axes[0].values) * (len(order.axes[1].values) if len(keys) > 1 else 1)) > MOST:
        raise RefusedError(422, f"axes: would be {count} clips; at most {MOST} at a time", "axes")
    axes = [Axis(axis.key, tuple(axis.values)) for axis in order.axes]
    try:
        said = as_request(requests.with_chosen(order.request))
        cells = combinations(Asked(said), axes, "the grid", requests.recommended)
    except UserError as error:
        raise RefusedError(422, f"axes: {one_line(error)[:500]}", "axes") from None
    for cell in cells:
        requests.parse(json.dumps(as_shown(cell.request)).encode())
    return cells


def _sheet(path: Path) -> dict[str, Any] | None:
    """A stored sheet; None where it is gone or damaged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        sheet = finite(json.loads(path.read_bytes()))
        is_dated = isinstance(sheet["created"], int | float)
        if sheet["id"] == path.stem and is_dated and all(ID.fullmatch(job) for job in sheet["jobs"]):
            return {name: sheet[name] for name in ("id", "created", "axes", "jobs")}
    return None


def _sheets(folder: Path) -> list[dict[str, Any]]:
    newest = [path for path, _ in reversed(dated(folder, {".json"}))][:LISTED]
    return [sheet for path in newest if (sheet := _sheet(path))]


def _keep(folder: Path, sheet: dict[str, Any]) -> None:
    """Writes a sheet; the oldest beyond what is kept go."""
    write_json(folder / f"{sheet['id']}.json", sheet)
    for path, _ in dated(folder, {".json"})[:-KEPT]:
        path.unlink(missing_ok=True)
