"""Presets are kept on the server, whatever becomes of it, and can be had back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampling.request import Request
from tests.webui.conftest import Server, until
from webui.desk.presets import MOST, Presets
from webui.http.refusal import RefusedError

SOFT = {"steps": 40, "guidance": {"rescale": 0.5}, "games": {"Castle": 1}}


def names(presets: Presets) -> list[str]:
    return [preset["name"] for preset in presets.listed() if not preset["shipped"]]


def test_a_preset_is_saved_renamed_deleted_and_brought_back(own_server: Server) -> None:
    client = own_server.client
    saved = client.post("/api/presets", json={"name": "Soft", "request": SOFT})
    assert saved.status_code == 201 and saved.json()["request"] == SOFT
    path = f"/api/presets/{saved.json()['id']}"
    assert client.patch(path, json={"name": "Softer"}).json()["name"] == "Softer"
    assert client.patch(path, json={"request": {"steps": 50}}).json()["request"] == {"steps": 50}
    own_server.kill()
    own_server.start()
    assert [p["name"] for p in client.get("/api/presets").json()["presets"] if not p["shipped"]] == ["Softer"]
    assert client.delete(path).status_code == 200
    assert client.delete(path).status_code == 404
    assert all(preset["shipped"] for preset in client.get("/api/presets").json()["presets"])
    assert client.post(f"{path}/restore").json()["request"] == {"steps": 50}
    own_server.wait(
        own_server.submit(**client.get("/api/presets").json()["presets"][-1]["request"]), "done", timeout=30
    )


def test_what_comes_with_the_program_suits_every_model_and_stays(tmp_path: Path) -> None:
    presets = Presets(tmp_path / "presets.json")
    shipped = presets.listed()
    assert len(shipped) >= 4 and all(preset["shipped"] and preset["about"] for preset in shipped)
    for preset in shipped:
        assert "games" not in preset["request"] and "seed" not in preset["request"]
        Request.from_json({"games": {"any": 1.0}, **preset["request"]})
        with pytest.raises(RefusedError, match="comes with the program"):
            presets.delete(preset["id"])


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"name": "", "request": {}}, 422, "name"),
        ({"name": "   ", "request": {}}, 422, "name"),
        ({"name": "x" * 81, "request": {}}, 422, "name"),
        ({"name": "x", "request": {"steps": -1}}, 422, "request.steps"),
        ({"name": "x", "request": {"stepz": 1}}, 422, "stepz"),
        ({"name": "x", "request": {"source": {"path": "/etc/passwd"}}}, 422, "names no files"),
        ({"name": "x", "request": {"guidance": {"weak_model": "/", "weak_scale": 2}}}, 422, "names no files"),
        ({"name": "x", "request": {"games": {f"g{i}": 1 for i in range(9000)}}}, 413, "64 KiB"),
        ({"name": "x"}, 422, "request"),
        ({"name": "calm", "request": {}}, 409, "already"),
        ({"name": "x", "request": {}, "path": "../x"}, 422, "path"),
    ],
)
def test_what_is_no_preset_is_refused_in_one_line(server: Server, body: dict, status: int, words: str) -> None:
    answer = server.client.post("/api/presets", json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"] and "\n" not in answer.json()["error"]
    for path in ("..%2fhistory", "shipped-x", "0" * 16):
        assert server.client.delete(f"/api/presets/{path}").status_code in (404, 409)


def test_a_damaged_file_is_told_kept_and_started_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "presets.json"
    for text in ("{", "[]", '{"version": 9}', "\0"):
        path.write_text(text)
        assert names(Presets(path)) == []
        assert capsys.readouterr().err.count("\n") == 1
    Presets(path)
    kept = {each.read_text() for each in tmp_path.glob("presets.damaged*.json")}
    assert kept == {"{", "[]", '{"version": 9}', "\0"} and len(list(tmp_path.iterdir())) == 5, "each once"
    capsys.readouterr()
    good = {"id": "0" * 16, "name": "Good", "request": {"steps": 3}, "created": 1.0}
    bad = [{"id": "../x"}, 5, {**good, "id": "1" * 16, "request": {"steps": "many"}}, {**good, "id": "2" * 16, "x": 1}]
    path.write_text(json.dumps({"version": 1, "presets": [*bad, good], "deleted": "x"}))
    presets = Presets(path)
    assert names(presets) == ["Good"] and "4 presets cannot be read" in capsys.readouterr().err
    presets.add("Another", {})
    assert names(Presets(path)) == ["Another", "Good"]


def test_names_are_one_each_and_their_number_is_bounded(tmp_path: Path) -> None:
    presets = Presets(tmp_path / "presets.json")
    first = presets.add("Soft", {"steps": 3})
    for same in ("soft", "ＳＯＦＴ", " Soft "):
        with pytest.raises(RefusedError, match="already"):
            presets.add(same, {})
    presets.delete(first["id"])
    presets.add("SOFT", {"steps": 4})
    assert presets.restore(first["id"])["name"] == "Soft (2)"
    presets._presets *= MOST // 2
    presets._deleted = [presets._presets[0]]
    for more in (lambda: presets.add("one more", {}), lambda: presets.restore(presets._deleted[0].id)):
        with pytest.raises(RefusedError, match="delete some"):
            more()


def test_open_pages_are_told_of_changes(server: Server) -> None:
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{server.port}/api/events") as socket:
        socket.recv()
        saved = server.client.post("/api/presets", json={"name": "Told", "request": {}}).json()
        until(lambda: json.loads(socket.recv())["type"] == "presets", "the event")
    server.client.delete(f"/api/presets/{saved['id']}")
