"""Files over HTTP, which browsers need not read again where they have them."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import Request
from fastapi.responses import FileResponse, Response

from webui.media_types import media_type


def send_file(request: Request, path: Path, *, cache: str = "no-cache", disposition: str | None = None) -> Response:
    """A file with byte ranges, or 304 where the header If-None-Match names it as it is.

    Args:
        cache: the header Cache-Control.
        disposition: "attachment" for a file to be saved, "inline" for one to be played under its name.
    """
    response = FileResponse(
        path,
        filename=path.name if disposition else None,
        media_type=media_type(path.name),
        content_disposition_type=disposition or "inline",
        stat_result=os.stat(path),
        headers={"Cache-Control": cache},
    )
    tag = response.headers["etag"]
    known = [given.strip().removeprefix("W/") for given in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": cache})
    return response
