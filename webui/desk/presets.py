"""Settings under a name, kept on the server: those that come with the program, and those that visitors save.

    GET    /api/presets               {"presets": [{"id", "name", "about", "request", "shipped"}]}
    POST   /api/presets               {"name", "request"} -> the preset; 409 where the name is taken
    PATCH  /api/presets/{id}          {"name", "request"}: another name, or other settings
    DELETE /api/presets/{id}          and POST /api/presets/{id}/restore, which undoes it

A preset has some fields of a request: those that it is about. The others stay as the model recommends them.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import Field, JsonValue, ValidationError

from dualdiffusion.config import Config
from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import numbered_names, read_json, write_json
from sampling.request import Request
from webui.desk.shipped_presets import SHIPPED
from webui.http.bodies import Body, parsed, refusal_of
from webui.http.ids import IdText
from webui.http.openapi import takes
from webui.http.refusal import RefusedError, json_response
from webui.service import Service

FILE = "presets.json"
VERSION = 1
MOST = 200  # presets
MOST_DELETED = 50  # of those, the last ones are kept for Undo
MOST_BYTES = 64 * 1024  # of one preset's settings; a mix of a thousand games has half of it
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"\S")]
T = TypeVar("T")


class NewPreset(Config):
    """A preset to save."""

    name: Name
    """What it is called; names differ in more than upper and lower case."""
    request: dict[str, Any]
    """Some fields of a request."""


class Changes(Config):
    """Changes to a preset; null leaves as it is."""

    name: Name | None = None
    """Another name."""
    request: dict[str, Any] | None = None
    """Other settings, whole."""


class Preset(Config):
    """One preset as it is stored."""

    id: IdText
    name: Name
    request: dict[str, Any]
    created: float
    """Seconds since 1970."""


def add_preset_routes(app: FastAPI, service: Service) -> None:
    """The presets, told to every open page when they change."""
    presets = Presets(service.outputs.path / FILE)

    async def changed(work: Callable[[], T]) -> T:
        result = await asyncio.to_thread(work)
        service.events.publish({"type": "presets"})
        return result

    @app.get("/api/presets")
    async def listed() -> Response:
        """All presets: {"presets": [{"id", "name", "about", "request", "shipped"}]}."""
        return json_response({"presets": await asyncio.to_thread(presets.listed)})

    @app.post("/api/presets", openapi_extra=takes(NewPreset, {"name": "Mine", "request": {"steps": 40, "loop": True}}))
    async def save(body: Body) -> Response:
        """Saves settings under a new name; 409 where it is taken."""
        new = parsed(NewPreset, body)
        return json_response(await changed(lambda: presets.add(new.name, new.request)), 201)

    @app.patch("/api/presets/{preset_id}", openapi_extra=takes(Changes, {"name": "Softer"}))
    async def change(preset_id: str, body: Body) -> Response:
        """Gives a preset another name, or other settings."""
        changes = parsed(Changes, body)
        return json_response(await changed(lambda: presets.change(preset_id, changes.name, changes.request)))

    @app.delete("/api/presets/{preset_id}")
    async def delete(preset_id: str) -> Response:
        """Deletes a preset; restore undoes it."""
        return json_response(await changed(lambda: presets.delete(preset_id)))

    @app.post("/api/presets/{preset_id}/restore")
    async def restore(preset_id: str) -> Response:
        """Brings a deleted preset back."""
        return json_response(await changed(lambda: presets.restore(preset_id)))


class Presets:
    """The file of presets. Every change is written, atomically, before it is told; safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        """Reads the file; what cannot be read of it is left out, told in the terminal, and kept beside it."""
        self._path, self._lock = path, threading.Lock()
        self._presets, self._deleted = self._read()

    def listed(self) -> list[dict[str, Any]]:
        """All presets as the API shows them: those of the program first, then by name."""
        with self._lock:
            own = sorted(self._presets, key=lambda preset: _folded(preset.name))
        return [{**preset, "shipped": True} for preset in SHIPPED] + [_shown(preset) for preset in own]

    def add(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Saves settings under a new name.

        Raises:
            RefusedError: 409 where the name is taken, 422 for what is no request, 429 where there are too many.
        """
        _check(request)
        with self._lock:
            self._check_room()
            self._check_name(name, None)
            preset = Preset(id=secrets.token_hex(8), name=name, request=request, created=time.time())
            self._write([*self._presets, preset], self._deleted)
        return _shown(preset)

    def change(self, preset_id: str, name: str | None, request: dict[str, Any] | None) -> dict[str, Any]:
        """Renames a preset, or gives it other settings.

        Raises:
            RefusedError: 404, 409 where the name is taken, 422 for what is no request.
        """
        if request is not None:
            _check(request)
        with self._lock:
            old = self._found(preset_id, self._presets)
            if name is not None:
                self._check_name(name, preset_id)
            new = Preset(
                id=old.id,
                name=name or old.name,
                request=old.request if request is None else request,
                created=old.created,
            )
            # What was overwritten can be had back by hand: it stands among the deleted ones.
            lost = [old.model_copy(update={"id": secrets.token_hex(8)})] if request is not None else []
            self._write([new if each is old else each for each in self._presets], [*self._deleted, *lost])
        return _shown(new)

    def delete(self, preset_id: str) -> dict[str, Any]:
        """Takes a preset away, so that `restore` finds it.

        Raises:
            RefusedError: 404, or 409 for one that comes with the program.
        """
        with self._lock:
            gone = self._found(preset_id, self._presets)
            self._write([each for each in self._presets if each is not gone], [*self._deleted, gone])
        return _shown(gone)

    def restore(self, preset_id: str) -> dict[str, Any]:
        """Brings a deleted preset back; where its name was taken meanwhile, with a number.

        Raises:
            RefusedError: 404, it was never there or deleted too long ago; 429 where there are too many.
        """
        with self._lock:
            back = self._found(preset_id, self._deleted)
            self._check_room()
            names, number, name = self._names(None), 2, back.name
            while _folded(name) in names:
                name, number = f"{back.name[:70]} ({number})", number + 1
            back_again = back.model_copy(update={"name": name})
            self._write([*self._presets, back_again], [each for each in self._deleted if each is not back])
        return _shown(back_again)

    @staticmethod
    def _found(preset_id: str, presets: list[Preset]) -> Preset:
        found = next((preset for preset in presets if preset.id == preset_id), None)
        if found is None and any(preset["id"] == preset_id for preset in SHIPPED):
            raise RefusedError(409, "this preset comes with the program; save it under another name to change it", "id")
        if found is None:
            raise RefusedError(404, "there is no preset with this id", "id")
        return found

    def _names(self, but: str | None) -> set[str]:
        own = {_folded(preset.name) for preset in self._presets if preset.id != but}
        return own | {_folded(preset["name"]) for preset in SHIPPED}

    def _check_room(self) -> None:
        if len(self._presets) >= MOST:
            raise RefusedError(429, f"there are {MOST} presets; delete some first")

    def _check_name(self, name: str, own_id: str | None) -> None:
        if _folded(name) in self._names(own_id):
            raise RefusedError(409, f"name: there is a preset called {name!r} already", "name")

    def _write(self, presets: list[Preset], deleted: list[Preset]) -> None:
        deleted = deleted[-MOST_DELETED:]
        data = [[preset.to_json() for preset in group] for group in (presets, deleted)]
        write_json(self._path, {"version": VERSION, "presets": data[0], "deleted": data[1]})
        self._presets, self._deleted = presets, deleted

    def _read(self) -> tuple[list[Preset], list[Preset]]:
        if not self._path.exists():
            return [], []
        try:
            data = read_json(self._path)
            if not isinstance(data, dict) or data.get("version") != VERSION:
                raise UserError(f"{self._path}: is no file of presets of version {VERSION}")
        except UserError as error:
            return self._damaged(one_line(error))
        presets, wrong = _usable(data.get("presets"))
        deleted, _ = _usable(data.get("deleted"))
        if wrong:
            self._damaged(f"{self._path}: {wrong} presets cannot be read")
        return presets, deleted

    def _damaged(self, why: str) -> tuple[list[Preset], list[Preset]]:
        """Tells what is wrong, and keeps the file, which the next change would overwrite, beside older ones."""
        try:
            kept = _kept_aside(self._path)
            print(f"{why}; left out, and kept as {kept}", file=sys.stderr, flush=True)
        except OSError as error:
            print(f"{why}; left out, and cannot be kept: {error.strerror}", file=sys.stderr, flush=True)
        return [], []


def _kept_aside(path: Path) -> Path:
    """A copy of a file under a name that no other content has.

    Raises:
        OSError: it cannot be read or written.
    """
    content, names = path.read_bytes(), numbered_names(path.with_name(f"{path.stem}.damaged{path.suffix}"))
    copy = next(name for name in names if not name.exists() or name.read_bytes() == content)
    copy.write_bytes(content)
    return copy


def _usable(entries: JsonValue) -> tuple[list[Preset], int]:
    """The presets that can be used, each id once, and how many entries cannot."""
    found: dict[str, Preset] = {}
    wrong = 0
    for entry in entries if isinstance(entries, list) else []:
        try:
            preset = Preset.from_json(entry)
            _check(preset.request)
            found[preset.id] = preset
        except (ValidationError, RefusedError, ValueError):
            wrong += 1
    return list(found.values())[:MOST], wrong + (not isinstance(entries, list | None))


def _check(request: dict[str, Any]) -> None:
    """Refuses fields that no request may have; whether a model knows the games is seen when a preset is used."""
    if len(json.dumps(request)) > MOST_BYTES:
        raise RefusedError(413, f"request: a preset has at most {MOST_BYTES // 1024} KiB of settings", "request")
    fields = {"games": {"any": 1.0}, **{name: value for name, value in request.items() if name != "source"}}
    try:
        checked = Request.from_json(fields)
    except ValidationError as error:
        raise RefusedError(422, f"request.{refusal_of(Request, error).error}", "request") from None
    if "source" in request or checked.guidance.weak_model is not None:
        raise RefusedError(422, "request: a preset names no files; leave out source and guidance.weak_model", "request")


def _shown(preset: Preset) -> dict[str, Any]:
    return {"id": preset.id, "name": preset.name, "about": "", "request": preset.request, "shipped": False}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()
