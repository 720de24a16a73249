"""The API as an OpenAPI document, for scripts and tools: every route, what it takes, and an example that it accepts.

    GET    /api/openapi.json

What a route does stands in its docstring, what its body holds is said by `takes`, and what stands in addresses by
PARAMETERS. Examples are for the model that plays now: its games and its name are put in when the document is asked for.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import JsonValue

from dualdiffusion import __version__
from dualdiffusion.config import Config
from webui.history.stored import finite
from webui.http.refusal import json_response

REQUEST, MODEL, PRESET = "{a request}", "{a model}", "{a preset for generators}"
"""Words in examples for what depends on the model or the machine."""
EXAMPLE_ID = "0f3a5c7e9b1d2f40"
SCHEMAS = "#/components/schemas/"
ABOUT = "Everything that the page does. Each refusal is one sentence, with the field that it is about."
REFUSAL = {
    "type": "object",
    "required": ["error", "field"],
    "properties": {"error": {"type": "string"}, "field": {"type": ["string", "null"]}},
    "example": {"error": "seconds: input should be less than or equal to 600, not 9999", "field": "seconds"},
}
PARAMETERS: dict[tuple[str, str], tuple[str, Any]] = {
    ("path", "job_id"): ("Id of a job.", EXAMPLE_ID),
    ("path", "grid_id"): ("Id of a grid.", EXAMPLE_ID),
    ("path", "upload_id"): ("Id of what was brought in.", EXAMPLE_ID),
    ("path", "preset_id"): ("Id of a preset.", EXAMPLE_ID),
    ("path", "model"): ("Id of a model, as /api/models lists it.", MODEL),
    ("path", "name"): ("Name of a new generator.", "mine"),
    ("path", "module"): ("Of the training: vae or unet.", "unet"),
    ("path", "demo_id"): ("Id of a demo.", "1700000000-1234"),
    ("query", "parent"): ("Id of the clip that this becomes a version of.", EXAMPLE_ID),
    ("query", "view"): ("Which part of the history.", "all"),
    ("query", "search"): ("Words that each must stand in name, notes, games, model, file or seed.", "cave"),
    ("query", "game"): ("A game of the mix.", "Cave"),
    ("query", "model"): ("The model that made it.", "demo"),
    ("query", "before"): ("Only what is older than this position.", 1000),
    ("query", "offset"): ("How many to leave out at the beginning.", 0),
    ("query", "limit"): ("How many at most.", 50),
    ("query", "download"): ("Whether a browser saves it.", True),
    ("query", "ids"): ("Ids of jobs, with commas between them.", EXAMPLE_ID),
    ("query", "format"): ("flac, wav, mp3 or ogg.", "ogg"),
    ("query", "bits"): ("Of a sample: flac 16 or 24, wav 16, 24 or 32.", None),
    ("query", "loudness"): ("Integrated loudness in LUFS.", -16),
    ("query", "true_peak"): ("Ceiling of the true peak in dBTP.", -1),
    ("query", "loop"): ("Whether loop points stand in the file.", True),
    ("query", "name"): ("What the file is called; a label, no path.", "theme.mp3"),
    ("query", "root"): ("Number of a folder of music.", 0),
    ("query", "path"): ("Names of folders below it, joined by slashes.", ""),
    ("query", "stage"): ("Whose log.", "vae"),
}
"""What stands in addresses, by place and name: what it is, and an example."""


def takes(kind: type[Config], example: JsonValue) -> dict[str, Any]:
    """What `openapi_extra` says of a route with such a body.

    Args:
        example: a body that the route accepts; REQUEST, MODEL and PRESET in it stand for what is put in later.
    """
    return takes_json(kind.model_json_schema(ref_template=f"{SCHEMAS}{{model}}"), example)


def takes_json(schema: dict[str, Any], example: JsonValue) -> dict[str, Any]:
    """The same with a JSON schema, whose own parts stand in `$defs` and are named as in SCHEMAS."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


def takes_file() -> dict[str, Any]:
    """What `openapi_extra` says of a route whose body is a file."""
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": True, "content": content}}


def add_description(app: FastAPI, prefix: str, known: Callable[[], dict[str, Any]]) -> None:
    """Adds the document's own route.

    Args:
        prefix: the path below which the page is shown; empty for none.
        known: what examples hold where they say REQUEST, MODEL or PRESET.
    """

    @app.get("/api/openapi.json")
    async def description() -> Response:
        """This document."""
        return json_response(await asyncio.to_thread(describe, app, prefix, known()))


def describe(app: FastAPI, prefix: str, known: dict[str, Any]) -> dict[str, Any]:
    """The document; see `add_description`."""
    routes = [_without_head(route) for route in app.routes if isinstance(route, APIRoute) and "/api" in route.path]
    document = get_openapi(
        title="Dual Diffusion", version=__version__, description=ABOUT, routes=routes, servers=[{"url": prefix or "/"}]
    )
    schemas: dict[str, Any] = {"Refusal": REFUSAL}
    for operations in document["paths"].values():
        for operation in operations.values():
            _complete(operation, schemas)
    return finite(_with(known, {**document, "components": {"schemas": schemas}}))


def _without_head(route: APIRoute) -> APIRoute:
    """HEAD is told with GET: two operations of one name would be none of either."""
    alone = copy.copy(route)
    alone.methods = route.methods - {"HEAD"}
    return alone


def _complete(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Says what FastAPI cannot know: what refusals look like, what parameters are, and where parts of schemas stand."""
    operation["summary"] = operation.pop("description")
    refusal = {"schema": {"$ref": f"{SCHEMAS}Refusal"}}
    operation["responses"] = {
        "2XX": {"description": "As the summary says."},
        "4XX": {"description": "Refused.", "content": {"application/json": refusal}},
    }
    for parameter in operation.get("parameters", ()):
        parameter["description"], example = PARAMETERS[parameter["in"], parameter["name"]]
        if example is not None:
            parameter["example"] = example
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schemas |= content["schema"].pop("$defs", {})


def _with(known: dict[str, Any], value: JsonValue) -> Any:
    """The value with what is known in place of the words for it."""
    if isinstance(value, dict):
        return {name: _with(known, part) for name, part in value.items()}
    if isinstance(value, list):
        return [_with(known, part) for part in value]
    return known.get(value, value) if isinstance(value, str) else value
