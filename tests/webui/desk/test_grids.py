"""Grids from the page, the curve of a schedule, and the schema that controls are drawn from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sampling.guidance import Guidance
from sampling.request import Request
from sampling.solvers.samplers import SAMPLERS
from sampling.solvers.schedules import SCHEDULES
from tests.webui.conftest import REQUEST, Server
from webui.desk import grids
from webui.desk.request_schema import request_schema


def test_a_grid_is_all_combinations_with_a_sheet_that_is_found_again(own_server: Server) -> None:
    client = own_server.client
    axes = [{"key": "guidance.rescale", "values": [0, 0.5]}, {"key": "seed", "values": [3, 4, 5]}]
    sheet = client.post("/api/grids", json={"request": {**REQUEST, "seconds": 0.5, "steps": 1}, "axes": axes}).json()
    assert [axis["labels"] for axis in sheet["axes"]] == [["0", "0.5"], ["3", "4", "5"]]
    made = [own_server.wait(job, "done", timeout=30)["request"] for job in sheet["jobs"]]
    assert [(each["guidance"]["rescale"], each["seed"]) for each in made] == [
        (r, s) for r in (0, 0.5) for s in (3, 4, 5)
    ]
    own_server.kill()
    own_server.start()
    assert client.get("/api/grids").json()["grids"] == [sheet] == [client.get(f"/api/grids/{sheet['id']}").json()]
    assert client.delete(f"/api/grids/{sheet['id']}").status_code == 200
    assert client.get(f"/api/grids/{sheet['id']}").status_code == 404
    assert len(client.get("/api/jobs").json()["jobs"]) == 6, "its clips stay"


def test_sheets_that_are_damaged_gone_or_being_written_are_left_out_and_old_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets = [{"id": f"{n:016x}", "created": float(n), "axes": [], "jobs": ["a" * 16]} for n in range(4)]
    for sheet in sheets:
        grids._keep(tmp_path, sheet)
        os.utime(tmp_path / f"{sheet['id']}.json", (sheet["created"], sheet["created"]))
    (tmp_path / ".tmp-1.json").write_text(json.dumps(sheets[0] | {"id": ".tmp-1"}))
    (tmp_path / "link.json").symlink_to("gone meanwhile")
    for name, nonsense in (("b" * 16, {"created": "soon"}), ("c" * 16, {"created": float("nan")}), ("d" * 16, {})):
        (tmp_path / f"{name}.json").write_text(json.dumps({**sheets[0], **nonsense}))
    assert grids._sheets(tmp_path) == sheets[::-1]
    monkeypatch.setattr(grids, "KEPT", 4)
    grids._keep(tmp_path, sheets[3])
    assert grids._sheets(tmp_path) == [sheets[3]] and (tmp_path / ".tmp-1.json").exists()


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ([], "axes"),
        ([{"key": "stepz", "values": [1]}], "did you mean steps?"),
        ([{"key": "source", "values": [{"path": "/etc/passwd"}]}], "no key that can vary"),
        ([{"key": "steps", "values": []}], "values"),
        ([{"key": "steps", "values": [1, -1]}], "greater than or equal to 1"),
        ([{"key": "steps", "values": [1, 1]}], "same request"),
        ([{"key": "seed", "values": [1]}] * 2, "twice"),
        ([{"key": "seed", "values": list(range(9))}, {"key": "steps", "values": list(range(1, 9))}], "at most 64"),
        ([{"key": "seed", "values": list(range(9))}], "room for 8"),
        ([{"key": "game", "values": ["Atlantis", "Castle"]}], "unknown game 'Atlantis'"),
        ([{"key": "ema", "values": ["../x", None]}], "has no"),
    ],
)
def test_what_is_no_grid_queues_nothing(own_server: Server, axes: list, words: str) -> None:
    answer = own_server.client.post("/api/grids", json={"request": REQUEST, "axes": axes})
    assert answer.status_code in (422, 429) and words in answer.json()["error"], answer.text
    assert own_server.client.get("/api/jobs?view=active").json()["jobs"] == []


def test_the_schema_has_every_key_and_says_what_it_does() -> None:
    schema = request_schema(["ema_0.100", "raw"])
    fields = {field["key"]: field for field in schema["fields"]}
    assert set(Request.model_fields) - set(fields) == {"guidance", "source"}
    assert {f"guidance.{name}" for name in Guidance.model_fields} - set(fields) == {"guidance.weak_model"}
    assert all(field["help"] for field in fields.values())
    assert fields["ema"]["choices"] == ["ema_0.100", "raw"] and fields["ema"]["nullable"]
    assert fields["guidance.interval"]["kind"] == "range" and fields["sigma_max"]["le"] == 1000
    assert set(schema["sampler_options"]) == set(SAMPLERS) and set(schema["schedules"]) == set(SCHEDULES)
    churn = {field["key"] for field in schema["sampler_options"]["heun"]}
    assert {"sampler_options.s_churn", "sampler_options.reinjection"} <= churn
    assert "sampler_options.s_churn" not in {field["key"] for field in schema["sampler_options"]["euler"]}


def test_a_schedule_tells_its_curve(server: Server) -> None:
    levels = server.client.post("/api/levels", json={"steps": 5, "schedule": "linear", "sigma_max": 9, "sigma_min": 1})
    assert levels.json()["levels"] == [9, 7, 5, 3, 1, 0]
    for body, words in (({"schedule": "learned"}, "model's own errors"), ({"steps": 0}, "steps"), ([], "JSON object")):
        answer = server.client.post("/api/levels", json=body)
        assert answer.status_code == 422 and words in answer.json()["error"]
