"""What routes are given, checked before they see it: bodies within a limit, ids, and JSON that must fit a config."""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from pydantic import ValidationError

from dualdiffusion.config import Config, explain
from webui.refusal import RefusedError

MAX_BODY = 256 * 1024  # bytes; a mix of a thousand games has a quarter of it
MAX_DRAIN = 32 * 2**20  # bytes read and dropped, so that a sender of too much hears the refusal
ID = re.compile(r"[0-9a-f]{16}")

C = TypeVar("C", bound=Config)


async def json_body(request: Request) -> bytes:
    """The body of a JSON request.

    Raises:
        RefusedError: 413 or 415.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(415, "send JSON, with the header Content-Type: application/json")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_DRAIN:
            break
        if size <= MAX_BODY:
            parts.append(part)
    if size > MAX_BODY:
        raise RefusedError(413, f"the request is larger than {MAX_BODY // 1024} KiB")
    return b"".join(parts)


def job_id_of(job_id: str) -> str:
    """The id of a job in an address.

    Raises:
        RefusedError: 404, no job can have it.
    """
    if not ID.fullmatch(job_id):
        raise RefusedError(404, "there is no job with this id", "id")
    return job_id


Body = Annotated[bytes, Depends(json_body)]
JobId = Annotated[str, Depends(job_id_of)]


def validated(config: type[C], body: bytes) -> C:
    """A JSON body as a config.

    Raises:
        RefusedError: 422 with the field and what is allowed there.
    """
    try:
        return config.model_validate_json(body, strict=True)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"]) or None
        raise RefusedError(422, explain(config, error).removeprefix(": ")[:500], field) from None
