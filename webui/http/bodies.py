"""What requests carry: JSON of a limited size that arrives within a limited time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import ValidationError
from pydantic_core import from_json

from dualdiffusion.config import Config, explain
from dualdiffusion.files import decode_text
from webui.http.refusal import RefusedError

MAX_BODY = 256 * 1024  # bytes; a mix of a thousand games has a quarter of it
BODY_PATIENCE = 30.0  # seconds for a body of JSON
MAX_DRAIN = 32 * 2**20  # bytes read and dropped, so that a sender of too much hears the refusal
C = TypeVar("C", bound=Config)


async def read_body(request: Request) -> bytes:
    """The body of a JSON request.

    Raises:
        RefusedError: 408, 413 or 415.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(415, "send JSON, with the header Content-Type: application/json")
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            async for part in request.stream():
                size += len(part)
                if size > MAX_DRAIN:
                    break
                if size <= MAX_BODY:
                    parts.append(part)
    except TimeoutError:
        raise RefusedError(408, f"the request took longer than {BODY_PATIENCE:g} s to arrive") from None
    if size > MAX_BODY:
        raise RefusedError(413, f"the request is larger than {MAX_BODY // 1024} KiB")
    data = b"".join(parts)
    with contextlib.suppress(UnicodeDecodeError):  # which the reader of JSON tells of
        data = decode_text(data).encode()
    return data


Body = Annotated[bytes, Depends(read_body)]


def fields_of(body: bytes) -> dict[str, Any]:
    """A body that must be a JSON object, as that.

    Raises:
        RefusedError: 422.
    """
    try:
        said = from_json(body)
    except ValueError as error:
        raise RefusedError(422, f"the body: not valid JSON: {error}"[:500]) from None
    if not isinstance(said, dict):
        raise RefusedError(422, "the body: must be a JSON object with fields of a request")
    return said


def parsed(kind: type[C], body: bytes) -> C:
    """A body as what it should be.

    Raises:
        RefusedError: 422 with the field and what is allowed there.
    """
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise refusal_of(kind, error) from None


def refusal_of(kind: type[Config], error: ValidationError) -> RefusedError:
    """The first thing that is wrong, in one line: 422 with the field, where it is one, and what is allowed there."""
    said = explain(kind, error).removeprefix(": ")[:500]  # not endlessly much of what a hostile request can contain
    field = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"])
    if not field and (first := said.partition(":")[0]) in kind.model_fields:
        field = first  # found by a check of the whole, which begins with its name
    return RefusedError(422, said if field else f"the body: {said}", field or None)
