"""Every key of a request as a page can draw it: kind, range, default, and what it does, all read from the classes.

    GET    /api/schema     {"fields", "sampler_options", "samplers", "schedules"}; see `request_schema`
    POST   /api/levels     fields of a request -> {"levels": noise levels, falling}

A new key, sampler or schedule appears on the page without a change there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response

from dualdiffusion.config import Config
from sampling.command.reference import first_sentence, meaning_of_option
from sampling.guidance import Guidance
from sampling.recommended import RECOMMENDABLE, Recommended
from sampling.request import Request, Source
from sampling.solvers.options import SamplerOptions, options_config
from sampling.solvers.samplers import SAMPLERS
from sampling.solvers.schedules import NEED_ERROR, SCHEDULES
from webui.http.bodies import Body, fields_of, parsed
from webui.http.openapi import SCHEMAS, takes_json
from webui.http.refusal import RefusedError, json_response
from webui.service import Service

PARTS = {"guidance": Guidance, "source": Source}
"""Keys that are objects with keys of their own, which a page shows one by one."""
LEVELS = ("steps", "schedule", "sigma_max", "sigma_min", "sigma_end", "rho")
BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
"""The API's names of a number's bounds, with those of JSON Schema."""
KINDS = {"number": "number", "integer": "integer", "string": "text", "boolean": "switch"}


def add_schema_routes(app: FastAPI, service: Service) -> None:
    """What a request may hold, and the curve of a schedule."""

    @app.get("/api/schema")
    async def schema() -> Response:
        """Every key of a request: kind, range, default, and what it does."""
        emas = service.folder.emas("unet")
        return json_response(request_schema(emas, list(service.requests.controls)))

    @app.post("/api/levels", openapi_extra=takes_json(body_schema(whole=False), {"steps": 30, "schedule": "edm"}))
    async def levels(body: Body) -> Response:
        """The noise levels of some fields of a request, falling: {"levels"}."""
        return json_response({"levels": noise_levels(body)})


def request_schema(emas: list[str], told: Sequence[str] = ()) -> dict[str, Any]:
    """What a page needs to draw a request.

    Args:
        emas: names of the weights that the model's UNet can be loaded with.
        told: what the model is told beside games, by id.

    Returns:
        "fields": of the request, parts by dotted keys, each {"key", "kind", "nullable", "default", "help"}, with the
        bounds "ge", "gt", "le", "lt" that it has, "choices" where only some texts fit, "words" that may stand in a
        number's place, and "names" where there is a number for each of some names;
        "sampler_options": of each sampler, by its name, those of all samplers first;
        "samplers", "schedules": what each does, by its name.
    """
    fields = [*_fields(Request, skip=tuple(PARTS))]
    for name, part in PARTS.items():
        fields += _fields(part, f"{name}.", skip=("weak_model", "sha256", "path"))
    choices = {"sampler": list(SAMPLERS), "schedule": list(SCHEDULES), "ema": emas, "guidance.weak_ema": emas}
    fields = [{**field, **_choices(choices.get(field["key"]))} for field in fields]
    scales = next(field for field in fields if field["key"] == "guidance.scales")
    scales |= {"kind": "numbers", "names": ["games", *told]}
    return {
        "fields": fields,
        "sampler_options": {name: _options(name) for name in SAMPLERS},
        "samplers": {name: first_sentence(function) for name, function in SAMPLERS.items()},
        "schedules": {name: first_sentence(function) for name, function in SCHEDULES.items()},
    }


def _choices(names: list[str] | None) -> dict[str, Any]:
    return {} if names is None else {"kind": "choice", "choices": names}


# pydantic makes it anew each time, and each visit of the page asks for all: a tenth of a second in which nobody else is
# answered.
@cache
def _schema_of(config: type[Config]) -> dict[str, Any]:
    return config.model_json_schema()


def _fields(config: type[Config], prefix: str = "", skip: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    schema = _schema_of(config)
    fields = []
    for name, field in config.model_fields.items():
        if name in skip:
            continue
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        about = {"key": prefix + name, "default": _finite(default), "help": _plain(field.description or "")}
        fields.append({**about, **_kind(schema["properties"][name], schema)})
    return fields


def _plain(text: str) -> str:
    """A docstring as a sentence for people who do not read code."""
    sentence = re.sub(r"; see `\w+`", "", " ".join(text.split())).rstrip(",")
    sentence = re.sub(r"\bnull\b", "empty", sentence).replace("`", "")
    return sentence if not sentence or sentence.endswith(".") else f"{sentence}."


@cache
def _options(sampler: str) -> list[dict[str, Any]]:
    """Of a sampler, keyed as in a request."""
    config = options_config(sampler)
    fields = _fields(config, "sampler_options.")
    shared = set(SamplerOptions.model_fields)
    for field in fields:
        name = field["key"].partition(".")[2]
        if name not in shared:
            field["help"] = _plain(meaning_of_option(SAMPLERS[sampler], name))
    return fields


def _kind(about: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """{"kind", "nullable"} of a key, with its bounds and choices."""
    if "$ref" in about:
        about = schema["$defs"][about["$ref"].rpartition("/")[2]]
    parts = about.get("anyOf", [about])
    known = [part for part in parts if part.get("type") != "null"]
    found = {"nullable": len(known) < len(parts), "kind": _name_of(known[0])}
    words = [part["const"] for part in known[1:] if "const" in part]
    found |= {"words": words} if words and found["kind"] in ("number", "integer") else {}
    found |= {ours: known[0][theirs] for ours, theirs in BOUNDS.items() if theirs in known[0]}
    return found | ({"choices": known[0]["enum"]} if "enum" in known[0] else {})


def _name_of(part: dict[str, Any]) -> str:
    if "enum" in part:
        return "choice"
    if part.get("type") == "array":
        return "range" if "prefixItems" in part else "regions"
    return KINDS.get(part.get("type", ""), "object")


def _finite(value: object) -> Any:
    """A default as JSON: parts as objects, and null for no limit."""
    if isinstance(value, Config):
        return value.to_json()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def body_schema(*, whole: bool) -> dict[str, Any]:
    """A request as JSON Schema, as the API takes it: its source is a clip or an upload, never a file.

    Args:
        whole: whether it must be one that can be made, or only some fields of one.
    """
    schema = Request.model_json_schema(ref_template=f"{SCHEMAS}{{model}}")
    fields = schema["$defs"]["Source"]["properties"]
    ids = {"job": "A clip of the history, by the id of its job.", "upload": "What was brought in, by its id."}
    schema["$defs"]["Source"] |= {
        "properties": {name: {"type": "string", "description": about} for name, about in ids.items()}
        | {name: field for name, field in fields.items() if name not in ("path", "sha256")},
        "required": [],
        "minProperties": 1,
    }
    return schema if whole else {**schema, "required": []}


def example_request(games: Sequence[str], recommended: Recommended) -> dict[str, Any]:
    """A request that a model takes: two of its games, and what is asked for most, as it recommends it."""
    fields = request_options(recommended)["fields"]
    mix = dict(zip(games, (0.7, 0.3), strict=False))
    return {"games": mix, **{name: fields[name]["default"] for name in ("seed", "seconds", "steps", "cfg_scale")}}


def request_options(recommended: Recommended, ema: str | None = None) -> dict[str, Any]:
    """What a request may contain, read from its class, so that the page needs no change when one is added.

    The fields' defaults are the model's, where it recommends any; `plain` has those that hold without a recommendation,
    of all fields that a model may recommend.

    Args:
        ema: the weights that were chosen for requests that name none.
    """
    schema = _schema_of(Request)["properties"]
    plain = {**Request(games={"any": 1.0}).to_json(), "games": None}
    defaults = {**plain, **recommended.fields, "ema": ema}
    fields = {
        name: {"default": defaults[name]} | {ours: field[theirs] for ours, theirs in BOUNDS.items() if theirs in field}
        for name, field in schema.items()
    }
    names = {"samplers": list(SAMPLERS), "schedules": list(SCHEDULES)}
    return {"fields": fields, "plain": {name: plain[name] for name in RECOMMENDABLE}, **names}


def noise_levels(body: bytes) -> list[float]:
    """The noise levels of a request of which only what they depend on is looked at.

    Raises:
        RefusedError: 422, values that no request may have, or a schedule that only the loaded model can tell.
    """
    fields = {name: value for name, value in fields_of(body).items() if name in LEVELS}
    request = parsed(Request, json.dumps({"games": {"any": 1.0}, **fields}).encode())
    if request.schedule in NEED_ERROR:
        raise RefusedError(422, f"schedule: {request.schedule} follows the model's own errors: no curve", "schedule")
    return request.noise_levels()
