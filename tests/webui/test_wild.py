"""Cases of `tests/WILD.md` that concern the page."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from dualdiffusion.errors import UserError
from tests.webui.conftest import REQUEST
from tests.webui.serve import make_model
from webui.__main__ import bind
from webui.server import STATIC, create_app
from webui.settings import Settings


@pytest.fixture
def system_without_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Windows whose registry calls all text, or a container without a list of types: starlette then says text."""
    for name in ("starlette.responses.guess_type", "starlette.staticfiles.guess_type"):
        monkeypatch.setattr(name, lambda *_, **__: ("text/plain", None), raising=False)


@pytest.mark.parametrize(
    ("file", "kind"), [("a.flac", "audio/flac"), ('ゲーム "1".ogg', "audio/ogg"), ("a.wav", "audio/wav")]
)
def test_a_clip_is_audio_whatever_the_system_knows_of_types(
    tmp_path: Path, system_without_types: None, file: str, kind: str
) -> None:
    app = create_app(Settings(make_model(tmp_path / "model"), tmp_path / "outputs"))
    service = app.state.service
    (tmp_path / "outputs" / file).write_bytes(b"fLaC")
    job, _ = service.store.add(REQUEST, limit=1)
    service.store.claim_next()
    assert service.store.finish(job.id, "done", file=file)
    answer = _ask(app, f"/api/jobs/{job.id}/audio?download=1")
    assert answer.status_code == 200 and answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"].isascii()


@pytest.mark.parametrize("file", sorted(path.name for path in (STATIC / "js").glob("*.js"))[:2])
def test_modules_are_javascript_whatever_the_system_knows_of_types(
    tmp_path: Path, system_without_types: None, file: str
) -> None:
    app = create_app(Settings(make_model(tmp_path / "model"), tmp_path / "outputs"))
    answer = _ask(app, f"/static/js/{file}")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/javascript; charset=utf-8"


def test_text_that_is_none_is_refused_by_its_field(tmp_path: Path) -> None:
    app = create_app(Settings(make_model(tmp_path / "model"), tmp_path / "outputs"))
    answer = _ask(app, "/api/jobs", rb'{"games": {"Castle\ud800": 1}}')
    assert answer.status_code == 422 and "is not text in UTF-8" in answer.json()["error"]


@pytest.mark.parametrize("missing", [("::1", errno.EADDRNOTAVAIL), ("fe80::1%nowhere", errno.EAFNOSUPPORT)])
def test_localhost_is_found_where_its_first_address_is_not_there(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, int]
) -> None:
    """Containers without IPv6 have it in /etc/hosts all the same, before 127.0.0.1."""
    address, number = missing

    class Socket(socket.socket):
        def bind(self, where: tuple) -> None:
            if where[0] == address:
                raise OSError(number, "not here")
            super().bind(where)

    kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    found = [(socket.AF_INET, *kind, (address, 0)), (socket.AF_INET, *kind, ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", Socket)
    with bind("localhost", 0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
    found.pop()
    with pytest.raises(UserError, match="--host localhost --port 0: cannot listen there: not here"):
        bind("localhost", 0)


def _ask(app: FastAPI, path: str, body: bytes | None = None) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
            json = {"Content-Type": "application/json"}
            return await (client.get(path) if body is None else client.post(path, content=body, headers=json))

    return asyncio.run(ask())
