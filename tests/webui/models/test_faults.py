"""Processes that die: nothing is lost, and what was interrupted says so."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests import commands
from tests.webui.conftest import REPOSITORY, Server, is_alive, kill, until
from tests.webui.fake_model import DIES
from tests.webui.serve import make_model


def test_killed_server_comes_back_with_its_queue_and_history(own_server: Server) -> None:
    server = own_server
    done = server.wait(server.submit(), "done")["id"]
    running = server.submit(steps=400)
    waiting = [server.submit(seed=10 + i, steps=2) for i in range(3)]
    server.wait(running, "running")
    worker = server.worker_pid
    assert worker is not None
    server.kill()
    until(lambda: not is_alive(worker), "the model's process leaves with the server", timeout=5)

    server.start()
    interrupted = server.job(running)
    assert interrupted["status"] == "interrupted" and "try it again" in interrupted["error"]
    assert server.job(done)["status"] == "done" and server.client.get(f"/api/jobs/{done}/audio").status_code == 200
    finished = [server.wait(job_id, "done")["finished"] for job_id in waiting]
    assert finished == sorted(finished)

    assert server.client.post(f"/api/jobs/{running}/retry").status_code == 200
    server.wait(running, "running")
    server.client.delete(f"/api/jobs/{running}")
    server.wait(running, "cancelled")


def test_killed_model_process_fails_its_job_and_the_next_one_runs(own_server: Server) -> None:
    first, second = own_server.submit(steps=400), own_server.submit()
    own_server.wait(first, "running")
    pid = own_server.worker_pid
    assert pid is not None
    began = time.monotonic()
    kill(pid)
    job = own_server.wait(first, "failed", timeout=2)
    assert time.monotonic() - began < 2 and "signal 9" in job["error"]
    own_server.wait(second, "done")
    assert own_server.worker_pid != pid


def test_a_model_that_dies_by_itself_is_started_again(own_server: Server) -> None:
    dying, next_one = own_server.submit(seed=DIES, steps=9), own_server.submit()
    assert "out of memory" in own_server.wait(dying, "failed")["error"]
    own_server.wait(next_one, "done")


def test_a_model_that_cannot_be_loaded_is_told_and_jobs_wait(tmp_path: Path) -> None:
    for name, words in (("unusable", "has no module 'unet'"), ("dies_at_load", "signal 9")):
        server = Server(tmp_path / name, model=name)
        try:
            until(lambda s=server: s.client.get("/api/health").json()["status"] == "failed", "the failure is told")
            assert words in server.client.get("/api/health").json()["message"]
            assert server.job(server.submit())["status"] == "queued"
        finally:
            server.close()


def test_the_web_process_never_imports_torch(tmp_path: Path) -> None:
    server = Interpreter(tmp_path)
    try:
        server.wait(server.submit(), "done")
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert "libtorch" not in maps and "torch/" not in maps
    finally:
        server.close()
    code = "import sys, webui.__main__, webui.server, webui.models.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


class Interpreter(Server):
    """A server that is no fork: its process has imported what it needs, and nothing else."""

    def run(self) -> subprocess.Popen[bytes]:
        """See `Server.run`."""
        words = [sys.executable, *map(str, self.command())]
        return subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run(["-m", "webui", *arguments], timeout=60)


def test_commands_that_cannot_start_say_why_in_one_line(own_server: Server, tmp_path: Path) -> None:
    model = str(make_model(tmp_path / "other"))
    outputs = str(tmp_path / "other outputs")
    cases = {
        ("--model", str(tmp_path / "none"), "--port", "0"): "make demo-model",
        ("--model", str(tmp_path), "--port", "0", "--outputs", outputs): "make demo-model",
        ("--model", model, "--port", str(own_server.port)): "in use",
        ("--model", model, "--port", "99999"): "--port",
        ("--model", model, "--host", "0.0.0.0"): "--token",
        ("--model", model, "--host", "0.0.0.0", "--token", "short"): "8 characters",
        ("--model", model, "--host", "no.such.host.invalid", "--token", "12345678"): "cannot listen",
        ("--model", model, "--port", "0", "--outputs", str(own_server.outputs)): "already at work",
        (): "--model",
    }
    for arguments, words in cases.items():
        result = command(*arguments)
        assert result.returncode == 2, (arguments, result)
        assert words in result.stderr and result.stderr.count("\n") == 1, (arguments, result.stderr)


def test_help_is_quick_to_print() -> None:
    assert "--model" in command("--help").stdout


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    (outputs / "history.sqlite3").write_bytes(b"not a database at all" * 100)
    result = command("--model", str(make_model(tmp_path / "demo")), "--outputs", str(outputs), "--port", "0")
    assert result.returncode == 2 and "history.sqlite3" in result.stderr and result.stderr.count("\n") == 1
