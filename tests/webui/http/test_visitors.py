"""Visitors that say nothing, guess tokens, or come from other machines; and folders that cannot be written."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn

from dualdiffusion.errors import UserError
from tests import commands
from tests.webui.conftest import Server, until
from tests.webui.serve import make_model
from webui import running
from webui.__main__ import addresses, bind, models_root
from webui.http import bodies
from webui.http.refusal import RefusedError
from webui.http.security import Guesses
from webui.models.worker import explain
from webui.settings import Settings, read_token

REQUEST = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n"


class Here:
    """A small application in this process, served as the page is."""

    def __init__(self) -> None:
        async def app(scope: dict, receive: object, send: object) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"hi"})

        self.listener = bind("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        config = uvicorn.Config(app, http=running.PatientProtocol, lifespan="off", log_level="error")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]}, daemon=True)
        self.thread.start()
        until(lambda: self.server.started, "it serves")

    def connect(self, words: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        client.sendall(words)
        return client

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.listener.close()


def answer(client: socket.socket) -> bytes:
    """What a server says, up to its last word."""
    said = b""
    while not said.endswith(b"hi"):
        said += client.recv(1000)
    return said


def test_who_never_finishes_saying_what_they_want_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "HEAD_PATIENCE", 0.5)
    here = Here()
    try:
        silent, half = here.connect(), here.connect(REQUEST)
        second = here.connect(REQUEST + b"\r\n")
        assert answer(second).endswith(b"hi")
        second.sendall(REQUEST)  # half of another one
        slow = here.connect(REQUEST)
        slow.sendall(b"\r\n")
        assert answer(slow).endswith(b"hi")
        began = time.monotonic()
        assert [client.recv(100) for client in (silent, half, second)] == [b""] * 3
        assert time.monotonic() - began < 5
    finally:
        here.close()


def test_a_body_that_does_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, as the real patience is long; in a thread, as a browser's loop may run in this one."""

    class Slow:
        headers = {"content-type": "application/json"}  # noqa: RUF012

        async def stream(self):
            yield b"{"
            await asyncio.sleep(60)

    monkeypatch.setattr(bodies, "BODY_PATIENCE", 0.1)
    with ThreadPoolExecutor(1) as thread, pytest.raises(RefusedError, match="longer than"):
        thread.submit(lambda: asyncio.run(bodies.read_body(Slow()))).result()  # type: ignore[arg-type]


def test_a_thousand_guesses_are_not_looked_at(tmp_path: Path) -> None:
    server = Server(tmp_path, extra=["127.0.0.1", "a long secret"])
    try:
        visitor = httpx.Client(base_url=server.url)
        assert visitor.get("/", params={"token": "a long secret"}).status_code == 303
        assert "a long secret" not in str(visitor.cookies)
        codes = [server.client.get("/", params={"token": f"guess {i}"}).status_code for i in range(30)]
        assert codes[: Guesses.AT_ONCE] == [401] * Guesses.AT_ONCE and set(codes[Guesses.AT_ONCE :]) == {429}
        right = {"Authorization": "Bearer a long secret"}
        assert server.client.get("/api/health", headers=right).status_code == 429  # nor told from wrong ones
        assert visitor.get("/api/health").status_code == 200  # who is known is let in
        server.kill()
        server.start()
        assert visitor.get("/api/health").status_code == 200  # also after a restart
        assert server.client.get("/api/health", headers=right).status_code == 200
    finally:
        server.close()


def test_guesses_are_looked_at_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    guesses = Guesses()
    for _ in range(Guesses.AT_ONCE):
        assert not guesses.are_too_many("here")
        guesses.count("here")
    assert guesses.are_too_many("here") and not guesses.are_too_many("elsewhere")
    now[0] += Guesses.PAUSE + 0.1
    assert not guesses.are_too_many("here")
    guesses.count("here")
    assert guesses.are_too_many("here")


def test_a_token_is_read_from_a_file_that_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "below" / "token"
    token = read_token(path)
    assert len(token) >= 32 and read_token(path) == token and path.stat().st_mode & 0o077 == 0
    path.write_text(" chosen by hand \n")
    assert read_token(path) == "chosen by hand"
    path.write_text("")
    with pytest.raises(UserError, match="is empty"):
        read_token(path)
    with pytest.raises(UserError, match="--token-file"):
        read_token(tmp_path)


def test_the_printed_address_can_be_opened() -> None:
    everywhere = Settings(Path("m"), host="0.0.0.0", port=8000, token="12345678")
    assert addresses(everywhere) == [
        "http://127.0.0.1:8000/?token=...",
        f"http://{socket.gethostname()}:8000/?token=...",
    ]
    assert addresses(Settings(Path("m"), host="::1", port=1, root_path="/a%20b")) == ["http://[::1]:1/a%20b/"]


def test_models_lie_beside_the_one_of_the_start(tmp_path: Path) -> None:
    assert models_root(None, tmp_path / "mine" / "a") == tmp_path / "mine"
    assert models_root(tmp_path, Path("m")) == tmp_path
    with pytest.raises(UserError, match="--models"):
        models_root(tmp_path / "none", Path("m"))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody can write, such as /proc")
def test_an_outputs_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    command = ["-m", "webui", "--model", make_model(tmp_path / "demo"), "--port", "0"]
    result = commands.run([*command, "--outputs", "/proc/outputs"], timeout=60)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "/proc/outputs: cannot be written" in result.stderr and "--outputs" in result.stderr


def test_errors_of_the_disk_name_no_temporary_files() -> None:
    error = PermissionError(13, "Permission denied", "/somewhere/.tmp-123-456.flac")
    told = explain(error, None)  # type: ignore[arg-type]
    assert "outputs folder cannot be written: Permission denied" in told and ".tmp" not in told
