"""A running server with the fake model, and a browser."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests import commands
from tests.webui.serve import make_model

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
REQUEST: dict[str, Any] = {"games": {"Castle": 0.7, "Cave": 0.3}, "seed": 1, "seconds": 2, "steps": 3, "cfg_scale": 2}


def until(condition: Callable[[], Any], what: str, timeout: float = 60.0) -> Any:
    """Waits for `condition` to be true and returns its value."""
    deadline, pause = time.monotonic() + timeout, 0.02
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(pause)
        pause = min(1.3 * pause, 0.12)  # to ask a browser costs more than to wait
    raise AssertionError(f"not within {timeout} s: {what}")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, in a thread of its own: where a browser was driven, this one has a loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """The real server in a process of its own; it can be killed and started again on the same folders and port."""

    context: Any = None  # the browser's, which visits one after another share

    def __init__(
        self,
        folder: Path,
        model: str = "demo",
        games: list[str] | None = None,
        extra: list[str] | None = None,
        recommended: dict[str, Any] | None = None,
    ):
        self.model, self.outputs = make_model(folder / model, games, recommended), folder / "outputs"
        self.port = free_port()
        self.extra = extra or []
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=10)
        self.start()

    def start(self) -> None:
        self.process = self.run()
        try:
            until(self._answers, "the server answers", timeout=60)  # also on a busy machine
        except AssertionError:
            self.kill()
            raise

    def command(self) -> list[object]:
        """What `python` runs."""
        return ["-m", "tests.webui.serve", self.model, self.outputs, self.port, *self.extra]

    def run(self) -> commands.Running | subprocess.Popen[bytes]:
        """Starts the process."""
        return commands.Running(*self.command())

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/api/health").status_code in (200, 401)
        return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(10)

    @property
    def worker_pid(self) -> int | None:
        return self.client.get("/api/health").json()["worker_pid"]

    def submit(self, **changes: Any) -> str:
        response = self.client.post("/api/jobs", json=REQUEST | changes)
        assert response.status_code == 201, response.text
        return response.json()["id"]

    def job(self, job_id: str) -> dict[str, Any]:
        return self.client.get(f"/api/jobs/{job_id}").json()

    def wait(self, job_id: str, *statuses: str, timeout: float = 60.0) -> dict[str, Any]:
        """Waits until the job has one of these statuses."""

        def reached() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in statuses else None

        return until(reached, f"job is {' or '.join(statuses)} (it is {self.job(job_id)})", timeout)

    def close(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it alive."""
    running = Server(tmp_path_factory.mktemp("webui"))
    yield running
    running.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server to break."""
    running = Server(tmp_path)
    yield running
    running.close()


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all visits; each finds its history empty."""
    server = Server(tmp_path_factory.mktemp("page"))
    yield server
    server.close()


@pytest.fixture
def empty_server(page_server: Server) -> Server:
    for job in page_server.client.get("/api/jobs?view=active").json()["jobs"]:
        page_server.client.delete(f"/api/jobs/{job['id']}")
    until(lambda: not page_server.client.get("/api/jobs?view=active").json()["jobs"], "the queue is empty")
    for job in page_server.client.get("/api/jobs").json()["jobs"]:
        page_server.client.post(f"/api/jobs/{job['id']}/bin")
    return page_server


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium, driven by playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing; install it to run the browser tests: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()
