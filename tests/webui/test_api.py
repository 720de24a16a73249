"""The JSON API as scripts see it."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import pytest
import soundfile

from tests.webui.conftest import REQUEST, Server, until
from tests.webui.fake_model import CRASHES, OUT_OF_MEMORY, PRINTS, REFUSES
from webui.jobs import JobStore
from webui.outputs import OutputFolder


def test_health_names_the_model_and_its_games(server: Server) -> None:
    until(lambda: server.client.get("/api/health").json()["status"] == "ready", "the model is ready")
    health = server.client.get("/api/health").json()
    assert health["model"] == "demo"
    assert health["games"][0] == {"id": 0, "name": "Castle", "tracks": 8}
    assert health["sample_rate"] == 32000


def test_options_list_what_a_request_may_contain(server: Server) -> None:
    options = server.client.get("/api/options").json()
    assert "heun" in options["samplers"] and "edm" in options["schedules"]
    assert options["fields"]["seconds"] == {"default": 8.0, "le": 600.0, "gt": 0}


def test_a_request_takes_what_the_model_recommends_where_it_says_nothing(tmp_path: Path) -> None:
    recommended = {"sampler": "euler", "steps": 7, "sampler_options": {"reinjection": 0.8}}
    server = Server(tmp_path, recommended=recommended)
    try:
        options = server.client.get("/api/options").json()
        assert options["fields"]["steps"] == {"default": 7, "ge": 1, "le": 1000}
        assert options["fields"]["sampler"]["default"] == "euler" and options["plain"]["sampler"] == "heun"
        assert options["fields"]["cfg_scale"]["default"] == options["plain"]["cfg_scale"]

        def request(**said: object) -> dict:
            job_id = server.client.post("/api/jobs", json={"games": {"Castle": 1}, **said}).json()["id"]
            return server.job(job_id)["request"]

        short = request(seed=1)
        assert (short["sampler"], short["steps"], short["sampler_options"]) == ("euler", 7, {"reinjection": 0.8})
        assert request(sampler="heun", steps=3)["sampler_options"] == {}
        assert request(sampler_options={})["sampler_options"] == {}
        assert request(**short | {"steps": 2}) == short | {"steps": 2}
        assert "JSON" in server.client.post("/api/jobs", content=b"[1").json()["error"]
    finally:
        server.close()


def test_a_job_becomes_audio_with_picture_and_peaks(server: Server) -> None:
    job = server.wait(server.submit(), "done")
    assert job["progress"] == 1 and job["error"] is None
    assert job["request"]["games"] == REQUEST["games"] and job["request"]["sampler"] == "heun"
    audio, rate = soundfile.read(io.BytesIO(server.client.get(job["audio"]).content))
    assert rate == 32000 and audio.shape == (64000, 2)
    peaks = server.client.get(job["peaks"]).json()
    assert peaks["seconds"] == 2 and len(peaks["peaks"]) == 800 and 0 < max(peaks["peaks"]) <= 1
    assert server.client.get(job["spectrogram"]).content[8:12] == b"WEBP"
    assert Path(job["file"]).name == job["file"]


def test_audio_is_served_in_byte_ranges(server: Server) -> None:
    url = server.wait(server.submit(), "done")["audio"]
    whole = server.client.get(url).content
    part = server.client.get(url, headers={"Range": "bytes=100-199"})
    assert part.status_code == 206 and part.content == whole[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert server.client.get(url, headers={"Range": f"bytes={len(whole) + 5}-"}).status_code == 416
    many = server.client.get(url, headers={"Range": "bytes=" + ",".join(f"{i}-{i}" for i in range(0, 4000, 2))})
    assert many.status_code in (200, 206, 400, 416) and many.elapsed.total_seconds() < 2
    saved = server.client.get(f"{url}?download=1")
    assert saved.headers["content-disposition"].startswith("attachment")


def test_progress_and_preview_are_seen_while_running(server: Server) -> None:
    job_id = server.submit(steps=30)
    job = until(lambda: (job := server.job(job_id))["preview"] and job, "a preview")
    assert 0 < job["progress"] < 1 and "sampling" in job["text"]
    assert server.client.get(job["preview"]).content[8:12] == b"WEBP"
    assert server.wait(job_id, "done")["preview"] is None


def test_cancel_ends_a_running_job_within_a_step_and_a_waiting_one_at_once(server: Server) -> None:
    running, waiting = server.submit(steps=300), server.submit()
    server.wait(running, "running")
    assert server.client.delete(f"/api/jobs/{waiting}").json()["status"] == "cancelled"
    assert server.client.delete(f"/api/jobs/{running}").status_code == 200
    assert server.wait(running, "cancelled", timeout=3)["audio"] is None
    assert server.client.delete(f"/api/jobs/{running}").json()["status"] == "cancelled"


def test_cancelling_what_is_done_says_so_and_keeps_it(server: Server) -> None:
    job = server.wait(server.submit(), "done")
    response = server.client.delete(f"/api/jobs/{job['id']}")
    assert response.status_code == 409 and "done already" in response.json()["error"]
    assert server.client.get(job["audio"]).status_code == 200


@pytest.mark.parametrize(
    ("seed", "words"),
    [(REFUSES, "another shape"), (CRASHES, r"a tensor was\nsurprised"), (OUT_OF_MEMORY, "shorter length")],
)
def test_a_failing_job_tells_why_in_one_line_and_can_be_tried_again(server: Server, seed: int, words: str) -> None:
    job = server.wait(server.submit(seed=seed), "failed")
    assert words in job["error"] and "\n" not in job["error"]
    assert server.client.post(f"/api/jobs/{job['id']}/retry").json()["status"] in ("queued", "running")
    server.wait(job["id"], "failed")


def test_what_libraries_print_does_not_reach_the_protocol(server: Server) -> None:
    assert server.wait(server.submit(seed=PRINTS), "done")["file"]


def test_what_changes_nothing_is_told(server: Server) -> None:
    answer = server.client.post("/api/jobs", json=REQUEST | {"schedule": "linear", "rho": 3}).json()
    assert answer["notes"] == ["rho: the schedule linear has no exponent; those that have: edm, polyexponential"]
    assert "notes" not in server.client.post("/api/jobs", json=REQUEST).json()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_request_comes_as_any_editor_saves_it(server: Server, encoding: str) -> None:
    body, headers = json.dumps(REQUEST).encode(encoding), {"Content-Type": "application/json"}
    assert server.client.post("/api/jobs", content=body, headers=headers).status_code == 201


def test_the_same_key_queues_once(server: Server) -> None:
    headers = {"Idempotency-Key": "one press"}
    first, second = (server.client.post("/api/jobs", json=REQUEST, headers=headers).json()["id"] for _ in range(2))
    assert first == second
    server.wait(first, "done")


def test_a_full_queue_refuses(server: Server) -> None:
    responses = [server.client.post("/api/jobs", json=REQUEST | {"steps": 100}) for _ in range(12)]
    assert [response.status_code for response in responses] == [201] * 8 + [429] * 4
    assert "queue is full" in responses[-1].json()["error"]
    for response in reversed(responses[:8]):
        server.client.delete(f"/api/jobs/{response.json()['id']}")
    until(lambda: not server.client.get("/api/jobs?view=active").json()["jobs"], "the queue is empty")


def test_star_rename_bin_and_undo(server: Server) -> None:
    job = server.wait(server.submit(), "done")
    url = f"/api/jobs/{job['id']}"
    title = "<script>alert(1)</script> \u202e quotes \" ' \U0001f3b5"
    changed = server.client.patch(url, json={"title": title, "starred": True}).json()
    assert changed["title"] == title and changed["starred"]
    assert job["id"] in ids(server, "starred")

    binned = server.client.post(f"{url}/bin").json()
    assert binned["binned"] and (server.outputs / ".bin" / binned["file"]).is_file()
    assert not (server.outputs / job["file"]).exists()
    assert job["id"] in ids(server, "bin") and job["id"] not in ids(server, "all")

    assert server.client.post(f"{url}/restore").json()["file"] == job["file"]
    assert server.client.get(job["audio"]).status_code == 200


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_the_bin_needs_no_hard_links_and_overwrites_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))  # as on exFAT

    monkeypatch.setattr(os, "link", refuse)
    outputs = OutputFolder(tmp_path)
    outputs.create()
    for content in ("first", "second"):
        (tmp_path / "a.flac").write_text(content)
        name = outputs.move("a.flac", to_bin=True)
    assert name == "a (2).flac"
    assert {path.name: path.read_text() for path in outputs.bin.iterdir()} == {"a.flac": "first", name: "second"}
    assert outputs.move(name, to_bin=False) == name
    assert (tmp_path / name).read_text() == "second"
    assert not (outputs.bin / name).exists()


def ids(server: Server, view: str) -> list[str]:
    return [job["id"] for job in server.client.get(f"/api/jobs?view={view}&limit=200").json()["jobs"]]


def test_history_is_paged_newest_first(server: Server) -> None:
    jobs = [server.wait(server.submit(steps=1), "done")["id"] for _ in range(3)]
    first = server.client.get("/api/jobs?limit=2").json()["jobs"]
    assert [job["id"] for job in first] == jobs[:0:-1]
    second = server.client.get(f"/api/jobs?limit=1&before={first[-1]['position']}").json()["jobs"]
    assert [job["id"] for job in second] == jobs[:1]


def test_a_vanished_file_is_told_and_the_rest_goes_on(server: Server) -> None:
    job = server.wait(server.submit(), "done")
    (server.outputs / job["file"]).unlink()
    gone = server.job(job["id"])
    assert gone["missing"] and "no longer" in gone["error"]
    assert server.client.get(f"/api/jobs/{job['id']}/audio").status_code == 410
    assert server.client.post(f"/api/jobs/{job['id']}/bin").status_code == 200


def test_an_item_whose_file_was_removed_does_not_claim_a_newer_file_of_that_name(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "history.sqlite3")
    for _ in range(2):
        store.add(REQUEST, limit=5)
    older, newer = (store.claim_next() for _ in range(2))
    assert older and newer
    for job in (older, newer):
        assert store.finish(job.id, "done", file="Castle-seed1.flac")
    assert [job.file for job in store.finished()] == ["Castle-seed1.flac", None]


def test_events_tell_the_life_of_a_job(server: Server) -> None:
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{server.port}/api/events") as socket:
        assert json.loads(socket.recv(5))["type"] == "health"
        job_id = server.submit(steps=12)
        seen: list[str] = []
        while "done" not in seen:
            event = json.loads(socket.recv(10))
            seen.append(event["job"]["status"] if event["type"] == "job" else event["type"])
            assert event.get("id", job_id) == job_id
    assert seen[:2] == ["queued", "running"] and "progress" in seen and "preview" in seen
