"""The server while a training has the GPU: the model's process lets go, waits, plays on the CPU, and comes back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dualdiffusion.files import write_json
from tests.webui.conftest import until
from tests.webui.learn.studio_server import StudioServer
from webui.learn.processes import is_alive, mark_of

NEW = {"name": "mine", "root": 0, "path": "snes", "preset": "tiny"}


@pytest.fixture
def training(studio: StudioServer) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a training on a GPU, as its files tell it; it began before this server."""
    studio.client.post("/api/learn/generators", json=NEW)
    process = subprocess.Popen(["sleep", "600"])
    mark = mark_of(process.pid)
    stages = {"prepare": {"status": "done"}, "vae": {"status": "running"}}
    forecast = {"device": "cuda", "name": "a GPU", "room": 2**33, "runs": []}
    state = {"status": "running", "runner": mark, "command": mark, "last": "unet", "stage": "vae", "stages": stages}
    studio.kill()
    write_json(studio.work / "generators" / "mine" / "run.json", {**state, "forecast": forecast, "error": None})
    studio.start()
    yield process
    process.kill()
    process.wait()


def health(studio: StudioServer) -> dict[str, Any]:
    return studio.client.get("/api/health").json()


def turn(studio: StudioServer) -> dict[str, Any]:
    return studio.client.get("/api/learn").json()["turn"]


def test_a_training_has_the_gpu_to_itself_until_it_ends(
    studio: StudioServer, training: subprocess.Popen[bytes]
) -> None:
    assert studio.generator("mine")["status"] == "running"
    assert turn(studio) == {
        "training": "cuda",
        "seat": "resting",
        "choice": "wait",
        "options": ["wait", "cpu", "pause"],
    }
    assert (health(studio)["status"], health(studio)["worker_pid"]) == ("resting", None)
    waiting = studio.submit()  # nothing is lost, and nothing fails
    assert studio.job(waiting)["status"] == "queued"

    assert studio.client.post("/api/learn/turn", json={"choice": "share"}).status_code == 409
    assert studio.client.post("/api/learn/turn", json={"choice": "cpu"}).json()["seat"] == "cpu"
    studio.wait(waiting, "done", timeout=60)

    slow = studio.submit(steps=20)
    studio.wait(slow, "running")
    assert studio.client.post("/api/learn/turn", json={"choice": "wait"}).json()["seat"] == "resting"
    assert studio.job(slow)["status"] == "done"  # a clip that is forming is finished first
    assert until(lambda: health(studio)["worker_pid"] is None, "the process has let go")

    waiting = studio.submit()
    assert studio.client.post("/api/learn/generators/mine/pause").status_code == 202
    assert training.wait(30) < 0  # it was asked to save and leave
    studio.wait(waiting, "done", timeout=60)
    assert turn(studio)["seat"] == "device"
    assert health(studio)["status"] == "ready"
    assert studio.generator("mine")["status"] == "interrupted"  # it had no time to say that it was paused


def test_a_number_that_has_passed_to_another_process_is_none_of_ours(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "600"])
    try:
        mark = mark_of(process.pid)
        assert is_alive(mark)
        assert not is_alive({**mark, "started": mark["started"] - 60})
        assert not any(map(is_alive, (None, {}, {"pid": "x", "started": 1}, {"pid": 10**12, "started": 1})))
    finally:
        process.kill()
        until(lambda: not is_alive(mark), "it counts as dead, though nobody has asked yet how it ended")
        process.wait()
