"""A request that the server declines: an HTTP status, a sentence, and the field that it is about."""

from __future__ import annotations

import json

from starlette.responses import Response


class RefusedError(Exception):
    """Becomes the response `{"error": sentence, "field": field}` with `status`."""

    def __init__(self, status: int, error: str, field: str | None = None) -> None:
        super().__init__(error)
        self.status, self.error, self.field = status, error, field

    def response(self) -> Response:
        """The refusal as HTTP, see `webui.server`."""
        return json_response({"error": self.error, "field": self.field}, self.status)


def json_response(value: object, status: int = 200) -> Response:
    """JSON as pure ASCII: a lone surrogate, which a hostile request can contain, has no UTF-8 form."""
    return Response(json.dumps(value), status, {"Cache-Control": "no-store"}, media_type="application/json")
