"""Cases of `tests/WILD.md` that concern the page."""

from __future__ import annotations

import errno
import socket
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dualdiffusion.errors import UserError
from tests.webui.conftest import REQUEST, Server
from tests.webui.serve import make_model
from tests.webui.visit import Visit
from webui.__main__ import bind
from webui.history.jobs import JobStore
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


@pytest.mark.browser
def test_a_decimal_comma_is_a_decimal_point(chromium: Any, empty_server: Server) -> None:
    """This browser is English: by itself, it drops the comma, and 2,5 becomes 25."""
    visit = Visit(chromium, empty_server)
    try:
        for number in ("#number-seconds", ".fader-row .number >> nth=1"):
            visit.page.fill(number, "")
            visit.page.focus(number)
            visit.page.keyboard.type("0,5")
            assert visit.page.input_value(number) == "0.5"
        assert visit.page.locator(".fader-row .fader >> nth=1").input_value() == "0.5"
        assert visit.complaints == []
    finally:
        visit.close()


WITHOUT_SHARED_MEMORY = {"PRAGMA journal_mode=WAL": "disk I/O error"}
WITHOUT_LOCKS = {"BEGIN IMMEDIATE": "database is locked"}


@pytest.mark.parametrize("lacks", [WITHOUT_SHARED_MEMORY, WITHOUT_LOCKS])
def test_the_history_is_kept_on_shares_without_shared_memory_and_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: dict[str, str]
) -> None:
    """What SQLite says on NFS, SMB and the mounts of containers, after a start on a disk that has both."""
    path = tmp_path / "100 % café #1.sqlite3"
    store = JobStore(path)
    store.add(REQUEST, limit=9)
    store.close()
    connect = sqlite3.connect

    class Share(sqlite3.Connection):
        address = ""

        def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
            if sql in lacks and not (lacks is WITHOUT_LOCKS and "none" in self.address):
                raise sqlite3.OperationalError(lacks[sql])
            return super().execute(sql, *arguments)

    def to_share(address: str, **settings: object) -> sqlite3.Connection:
        db = connect(address, factory=Share, **settings)
        db.address = address
        return db

    monkeypatch.setattr(sqlite3, "connect", to_share)
    store = JobStore(path)
    store.add(REQUEST, limit=9)
    assert len(store.active()) == 2 and store._file.db.execute("PRAGMA journal_mode").fetchone()[0] == "truncate"
    store.close()
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert len(JobStore(path).active()) == 2


def test_what_is_no_history_is_told_as_before(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite3").write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserError, match="cannot be used as the history: file is not a database; move it away"):
        JobStore(tmp_path / "history.sqlite3")


def _ask(app: FastAPI, path: str, body: bytes | None = None) -> httpx.Response:
    client = TestClient(app, base_url="http://127.0.0.1:7860")
    json = {"Content-Type": "application/json"}
    return client.get(path) if body is None else client.post(path, content=body, headers=json)
