"""Clips that are made from clips: sources by job, and the tree of versions."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.webui.conftest import REQUEST, Server
from webui.history.database import UPGRADES
from webui.history.jobs import JobStore


def versions(server: Server, job_id: str) -> list[str]:
    return [job["id"] for job in server.client.get(f"/api/jobs/{job_id}/versions").json()["jobs"]]


def test_versions_are_told_from_anywhere_in_the_tree_the_first_one_first(server: Server) -> None:
    first = server.wait(server.submit(), "done")["id"]
    other = server.wait(server.submit(), "done")["id"]
    child = server.wait(server.submit(source={"job": first}, inpaint=[[0.5, 1]]), "done")
    assert child["parent"] == first and child["request"]["source"]["job"] == first
    response = server.client.post(f"/api/jobs?parent={child['id']}", json=REQUEST | {"loop": True})
    loop = server.wait(response.json()["id"], "done")
    assert loop["parent"] == child["id"] and loop["request"]["source"] is None
    tree = [first, child["id"], loop["id"]]
    assert versions(server, first) == versions(server, child["id"]) == versions(server, loop["id"]) == tree
    assert versions(server, other) == [other]
    assert server.client.get("/api/jobs/0123456789abcdef/versions").status_code == 404


def test_a_version_has_the_length_of_its_clip_and_of_what_is_made_around_it(server: Server) -> None:
    first = server.wait(server.submit(seconds=2), "done")["id"]
    longer = server.job(server.submit(seconds=9, source={"job": first}, extend_before=0.5, extend_after=1))
    assert longer["request"]["seconds"] == 3.5
    part = server.job(server.submit(source={"job": first, "start": 0.5, "strength": 0.3}))
    assert part["request"]["seconds"] == 1.5


def test_what_lies_outside_of_its_source_is_refused_at_once(server: Server) -> None:
    first = server.wait(server.submit(seconds=2), "done")["id"]
    cases = [
        ({"inpaint": [[0.2, 0.6], [1.5, 3]]}, {}, "inpaint", "1.5 to 3 s leaves the source, which has 2 s"),
        ({"inpaint": [[1.5, 2]]}, {"start": 1}, "inpaint", "leaves the source, which has 1 s"),
        ({}, {"start": 2.5}, "source", "has 2 s, and cannot be used from 2.5 s on"),
        ({}, {"start": 1, "seconds": 9}, "source", "has 2 s, and cannot be used from 1 to 10 s"),
    ]
    for changes, part, field, words in cases:
        refused = server.client.post("/api/jobs", json=REQUEST | {"source": {"job": first, **part}, **changes})
        assert refused.status_code == 422 and refused.json()["field"] == field, refused.text
        assert words in refused.json()["error"]
    server.wait(server.submit(source={"job": first}, inpaint=[[1.5, 2]]), "done")


def test_a_source_that_is_no_finished_clip_is_refused(server: Server) -> None:
    waiting = server.submit(steps=60)
    cases = {
        ("job", "0123456789abcdef"): "no clip with this id",
        ("job", "../../etc/passwd"): "by its job's id",
        ("job", 5): "by its job's id",
        ("job", waiting): "cannot start from this clip",
        ("path", "/etc/passwd"): "python -m sampling only",
        ("start", 1): "by its job's id",
    }
    for (name, value), words in cases.items():
        refused = server.client.post("/api/jobs", json=REQUEST | {"source": {name: value}})
        assert refused.status_code == 422 and refused.json()["field"] == "source", refused.text
        assert words in refused.json()["error"]
    both = {"job": waiting, "path": "/etc/passwd"}
    assert server.client.post("/api/jobs", json=REQUEST | {"source": both}).status_code == 422
    refused = server.client.post("/api/jobs?parent=0123456789abcdef", json=REQUEST)
    assert refused.status_code == 422 and refused.json()["field"] == "parent"
    server.client.delete(f"/api/jobs/{waiting}")


def test_a_clip_that_moves_to_the_bin_before_its_version_begins_is_found_and_a_lost_one_told(
    own_server: Server,
) -> None:
    server = own_server
    first, second = (server.wait(server.submit(), "done") for _ in range(2))
    busy = server.submit(steps=400)
    server.wait(busy, "running")
    lost, version = (server.submit(source={"job": job["id"]}) for job in (second, first))
    server.client.post(f"/api/jobs/{first['id']}/bin")
    (server.outputs / second["file"]).unlink()
    server.client.delete(f"/api/jobs/{busy}")
    assert "its audio file is gone" in server.wait(lost, "failed")["error"]
    server.wait(version, "done")


def test_a_history_from_before_versions_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    old = sqlite3.connect(path)
    old.executescript(UPGRADES[0] + "PRAGMA user_version = 1;")
    old.execute(
        "INSERT INTO jobs (id, position, status, request, created) VALUES (?, 1, 'done', ?, 5)",
        ("a" * 16, json.dumps(REQUEST)),
    )
    old.commit()
    old.close()
    store = JobStore(path)
    child, _ = store.add(REQUEST, limit=5, parent="a" * 16)
    assert [(job.id, job.parent) for job in store.family(child.id)] == [("a" * 16, None), (child.id, "a" * 16)]
    store.close()


def test_the_path_of_a_source_is_told_to_no_page(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "history.sqlite3")
    job, _ = store.add(REQUEST | {"source": {"path": "/home/somebody/song.flac", "start": 1.0}}, limit=5)
    assert job.request["source"] == {"start": 1.0}
    store.close()


def test_parents_of_nonsense_are_walked_to_an_end(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "history.sqlite3")
    first, _ = store.add(REQUEST, limit=5)
    second, _ = store.add(REQUEST, limit=5, parent=first.id)
    store._update("parent = ? WHERE id = ?", (second.id, first.id))
    assert [job.id for job in store.family(second.id)] == [first.id, second.id]
    store.close()
