"""What holds for every address: HEAD beside GET, OPTIONS, and errors as refusals in JSON."""

from __future__ import annotations

import sqlite3

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match

from webui.http.refusal import RefusedError


def answer_head(app: FastAPI) -> None:
    """HEAD, on every address that GET has: download managers, proxies and `curl -I` ask by it first."""
    for route in app.routes:
        if isinstance(route, APIRoute) and "GET" in route.methods:
            route.methods.add("HEAD")


def _methods_of(request: Request) -> str:
    """What an address can be asked for, as the header Allow has it."""
    root = request.scope.get("app_root_path", request.scope.get("root_path", ""))
    scope = {**request.scope, "root_path": root, "path_params": {}}
    matching = [route for route in request.app.routes if route.matches(scope)[0] is not Match.NONE]
    methods = [getattr(route, "methods", None) or {"GET", "HEAD"} for route in matching]
    return ", ".join(sorted(set().union(*methods, {"OPTIONS"})))


def add_error_handlers(app: FastAPI) -> None:
    """Turns errors into refusals in JSON, and OPTIONS into a list of methods."""

    @app.exception_handler(RefusedError)
    async def refused(_request: Request, refusal: RefusedError) -> Response:
        return refusal.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = str(first["loc"][-1])
        return RefusedError(422, f"{field}: {first['msg'][:1].lower()}{first['msg'][1:]}", field).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        allow = {"Allow": _methods_of(request)} if error.status_code == 405 else {}
        if allow and request.method == "OPTIONS":
            return Response(status_code=204, headers=allow)
        response = RefusedError(error.status_code, str(error.detail).lower()).response()
        response.headers.update(allow)
        return response

    @app.exception_handler(sqlite3.Error)
    async def database(_request: Request, error: sqlite3.Error) -> Response:
        return RefusedError(503, f"the history cannot be written: {error}").response()

    @app.exception_handler(OSError)
    async def disk(_request: Request, error: OSError) -> Response:
        return RefusedError(503, f"the outputs folder cannot be used: {error.strerror or error}").response()
