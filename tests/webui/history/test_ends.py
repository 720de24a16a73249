"""What must not be lost or stay for ever: ends that cannot be written, silent models, clips that no history knows."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mutagen.flac
import numpy
import pytest
import soundfile
from fastapi.testclient import TestClient

from tests.webui.conftest import REQUEST, Server, is_alive, until
from tests.webui.serve import make_model
from webui.history.job import Clip
from webui.history.jobs import JobStore
from webui.models import supervisor as supervising
from webui.server import create_app
from webui.settings import Settings


class Page:
    """The application in this process, with the fake model in its own."""

    def __init__(self, folder: Path) -> None:
        self.outputs = folder / "outputs"
        settings = Settings(make_model(folder / "demo"), self.outputs, loader="tests.webui.fake_model:load")
        self.app = create_app(settings)
        self.service = self.app.state.service
        self.client = TestClient(self.app, base_url="http://127.0.0.1:7860")

    def job(self, job_id: str) -> dict[str, Any]:
        return self.client.get(f"/api/jobs/{job_id}").json()

    def wait(self, job_id: str, status: str) -> dict[str, Any]:
        return until(lambda: (job := self.job(job_id))["status"] == status and job, f"{status}: {self.job(job_id)}")

    def submit(self, **changes: Any) -> str:
        return self.client.post("/api/jobs", json=REQUEST | changes).json()["id"]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path)
    with page.client:
        yield page


def write_clip(folder: Path, name: str, settings: dict[str, Any] | None, seconds: float = 1.0) -> Path:
    """An audio file as the command line leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    time = numpy.arange(int(seconds * 32000)) / 32000
    soundfile.write(folder / name, numpy.stack([0.5 * numpy.sin(2770 * time)] * 2, axis=1), 32000)
    if settings is not None:
        file = mutagen.flac.FLAC(folder / name)
        file["dualdiffusion"] = json.dumps(settings)
        file.save()
    return folder / name


def test_an_end_that_cannot_be_written_is_shown_and_written_when_that_is_possible_again(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = page.service.store
    finish, is_full = store.finish, [True]

    def fail(*values: Any, **more: Any) -> bool:
        if is_full[0]:
            raise sqlite3.OperationalError("database or disk is full")
        return finish(*values, **more)

    monkeypatch.setattr(store, "finish", fail)
    first, second = page.submit(), page.submit(seed=2)
    shown = page.wait(first, "done")
    assert shown["finished"] and page.client.get(shown["audio"]).status_code == 200
    assert store.get(first).status == "running"  # on the disk
    assert page.client.delete(f"/api/jobs/{first}").status_code == 409  # it is done, as is said
    assert page.job(second)["status"] == "queued"
    is_full[0] = False
    page.wait(second, "done")
    assert store.get(first).status == "done" and store.get(first).finished == shown["finished"]


def test_a_queue_that_cannot_be_read_goes_on_by_itself(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    store = page.service.store
    claim, left = store.claim_next, [2]

    def fail() -> Any:
        if left[0]:
            left[0] -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return claim()

    monkeypatch.setattr(store, "claim_next", fail)
    page.wait(page.submit(), "done")


def test_a_model_that_is_stopped_is_told_and_one_that_goes_on_is_ready_again(own_server: Server) -> None:
    status = lambda: own_server.client.get("/api/health").json()["status"]  # noqa: E731
    until(lambda: status() == "ready", "it is ready")
    pid = own_server.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    until(lambda: status() == "silent", "its silence is told", timeout=12)
    os.kill(pid, signal.SIGCONT)
    until(lambda: status() == "ready", "it is heard again", timeout=12)
    assert own_server.worker_pid == pid


def test_a_model_that_stays_silent_is_ended_and_its_job_fails_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TICK", 0.2), ("QUIET_TICKS", 8), ("DEAD_TICKS", 15)):
        monkeypatch.setattr(supervising, name, value)
    page = Page(tmp_path)
    with page.client:
        job = page.submit(steps=400)
        page.wait(job, "running")
        pid = page.client.get("/api/health").json()["worker_pid"]
        os.kill(pid, signal.SIGSTOP)
        assert "did not answer any more" in page.wait(job, "failed")["error"]
        until(lambda: not is_alive(pid), "the silent process is gone")
        page.wait(page.submit(), "done")


SETTINGS = {"version": 1, "request": {**REQUEST, "seed": 4711}, "model": "models/mine", "fingerprint": "e" * 16}


def test_clips_of_the_command_line_are_taken_in_drawn_and_not_twice(page: Page) -> None:
    page.wait(page.submit(), "done")
    write_clip(page.outputs, "Castle-seed4711.flac", SETTINGS)
    write_clip(page.outputs, "foreign.flac", None)
    write_clip(page.outputs / "below", "deeper.flac", SETTINGS)
    (page.outputs / "noise.flac").write_bytes(b"fLaC" + bytes(range(256)))
    (page.outputs / "link.flac").symlink_to(write_clip(page.outputs.parent, "outside.flac", SETTINGS))
    assert page.client.post("/api/history/import").json() == {"added": 1}
    assert page.client.post("/api/history/import").json() == {"added": 0}
    job = page.client.get("/api/jobs?search=4711").json()["jobs"][0]
    assert (job["model"], job["fingerprint"], job["request"]["games"]) == ("mine", "e" * 16, REQUEST["games"])
    assert page.client.get(job["audio"]).content[:4] == b"fLaC"
    assert job["spectrogram"] is None and job["peaks"] is None
    assert page.client.post(f"/api/jobs/{job['id']}/draw").status_code == 202
    drawn = until(lambda: (now := page.job(job["id"]))["spectrogram"] and now, "its picture is made")
    assert page.client.get(drawn["spectrogram"]).content[8:12] == b"WEBP"
    assert page.client.get(drawn["peaks"]).json()["seconds"] == 1


def test_a_lost_history_comes_back_from_the_clips_also_those_in_the_bin(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    for seed in range(3):
        clip = write_clip(outputs, f"{seed}.flac", {**SETTINGS, "request": {**REQUEST, "seed": seed}})
        os.utime(clip, (1e9 + seed, 1e9 + seed))
    write_clip(outputs / ".bin", "deleted.flac", SETTINGS)
    page = Page(tmp_path)
    with page.client:
        until(lambda: page.client.get("/api/jobs").json()["total"] == 3, "the clips are back")
        assert [job["request"]["seed"] for job in page.client.get("/api/jobs").json()["jobs"]] == [2, 1, 0]
        assert page.client.get("/api/jobs?view=bin").json()["total"] == 1
        answer = page.client.delete("/api/history/bin").json()
        assert len(answer["changed"]) == 1 and list((outputs / ".bin").iterdir()) == []


def test_many_are_starred_binned_taken_out_and_deleted_at_once(page: Page) -> None:
    ids = [page.submit(seed=seed, steps=1) for seed in range(3)]
    for job_id in ids:
        page.wait(job_id, "done")

    def act(action: str, which: list[str]) -> list[str]:
        return page.client.post("/api/history/batch", json={"ids": which, "action": action}).json()["changed"]

    def total(view: str) -> int:
        return page.client.get(f"/api/jobs?view={view}").json()["total"]

    assert act("star", [*ids[:2], "0" * 16]) == ids[:2] and total("starred") == 2
    assert act("delete", ids) == []  # for good only from the bin
    assert act("bin", ids) == ids and total("bin") == 3 and total("all") == 0
    assert act("restore", ids[:1]) == ids[:1] and page.client.get(page.job(ids[0])["audio"]).status_code == 200
    assert act("delete", ids) == ids[1:] and total("bin") == 0
    assert {path.name for path in (page.outputs / ".webui").iterdir()} >= {f"{ids[0]}.webp", f"{ids[0]}.json"}
    assert not list((page.outputs / ".webui").glob(f"{ids[1]}*")) and page.job(ids[1])["field"] == "id"
    for body in ({"ids": [], "action": "bin"}, {"ids": ["../x"], "action": "bin"}, {"ids": ids, "action": "burn"}):
        assert page.client.post("/api/history/batch", json=body).status_code == 422


def test_what_a_browser_has_is_not_sent_again(page: Page) -> None:
    job = page.wait(page.submit(), "done")
    for address in (job["audio"], job["spectrogram"], job["peaks"]):
        first = page.client.get(address)
        tag = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
        assert page.client.get(address, headers=tag).status_code == 304
        assert page.client.head(address).headers["content-length"] == str(len(first.content))
        assert page.client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200
    assert len(page.client.get(job["spectrogram"]).content) < 40_000


def test_two_who_take_clips_in_at_once_add_each_once(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "history.sqlite3")
    clips = [Clip("a.flac", {"games": {"Castle": 1}}, 1.0, None, None, binned) for binned in (False, True)]
    assert store.take_in(clips) == 2, "the same name in the bin is another clip"
    assert store.take_in(clips) == 0
    assert len(store.finished()) == 1 == len(store.finished("bin"))
    store.close()
