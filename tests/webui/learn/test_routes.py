"""The addresses of new generators: what is answered, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from typing import Any

import httpx
import pytest

from dualdiffusion.files import write_json
from tests.webui.conftest import until
from tests.webui.learn.studio_server import NEW, StudioServer
from webui.learn.processes import mark_of


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and sentence; it is one line, and names no place of the machine."""
    told = answer.json()
    assert set(told) == {"error", "field"} and "\n" not in told["error"]
    assert "/tmp" not in told["error"] and "Traceback" not in told["error"]
    return answer.status_code, told["error"]


def test_folders_can_be_walked_and_nothing_else(studio: StudioServer) -> None:
    overview = studio.client.get("/api/learn").json()
    assert overview["roots"] == [{"root": 0, "name": "music"}]
    folders = studio.client.get("/api/learn/folders?root=0&path=snes").json()
    assert [folder["path"] for folder in folders["folders"]] == ["snes/Castle", "snes/Cave"]
    for path in ("..", "../work", "/etc", "snes/../..", "%2e%2e", "snes%2f..%2f.."):
        status, _ = refusal(studio.client.get(f"/api/learn/folders?root=0&path={path}"))
        assert status in (403, 404)
    assert refusal(studio.client.get("/api/learn/folders?root=7"))[0] == 404
    assert refusal(studio.client.get("/api/learn/folders?root=nonsense"))[0] == 422


def test_a_dry_run_tells_games_hours_and_what_would_be_refused(studio: StudioServer) -> None:
    place = {"root": 0, "path": "snes"}
    assert studio.client.post("/api/learn/surveys", json=place).status_code == 202

    def done() -> dict[str, Any] | None:
        state = studio.client.get("/api/learn/surveys", params=place).json()
        return None if state["status"] == "running" else state

    state = until(done, "the folder is looked into", 120)
    result = state["result"]
    assert state["error"] is None
    assert [(game["game"], game["tracks"], game["refused"]) for game in result["games"]] == [
        ("Castle", 3, 0),
        ("Cave", 3, 1),
    ]
    assert result["hours"] == pytest.approx(36 / 3600, abs=1e-3)
    assert [file["file"] for file in result["refused_files"]] == ["Cave/broken.wav"]
    assert result["not_audio"] == 1
    assert not studio.work.exists()
    assert refusal(studio.client.get("/api/learn/surveys?root=0&path=empty"))[0] == 404


def test_a_link_that_leads_out_is_refused_before_anything_is_read(studio: StudioServer) -> None:
    link = studio.folder / "music" / "snes" / "Cave" / "elsewhere"
    link.symlink_to("/etc")
    try:
        for address, body in (("surveys", {"root": 0, "path": "snes"}), ("generators", NEW)):
            status, error = refusal(studio.client.post(f"/api/learn/{address}", json=body))
            assert (status, error) == (403, "path: 'Cave/elsewhere' is a link that leads out of the folder of music")
    finally:
        link.unlink()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"name": "../mine"}, 422),
        ({"name": ""}, 422),
        ({"name": "x" * 200}, 422),
        ({"name": 7}, 422),
        ({"path": "../.."}, 403),
        ({"path": "nowhere"}, 404),
        ({"root": 3}, 404),
        ({"preset": "huge"}, 422),
        ({"more": 1}, 422),
    ],
)
def test_what_cannot_be_made_is_one_line(studio: StudioServer, changes: dict[str, Any], status: int) -> None:
    assert refusal(studio.client.post("/api/learn/generators", json=NEW | changes))[0] == status
    assert not (studio.folder / "mine").exists()


def test_bodies_that_are_no_json_or_too_large_are_refused(studio: StudioServer) -> None:
    post = studio.client.post
    assert refusal(post("/api/learn/generators", content=b"{", headers={"Content-Type": "application/json"}))[0] == 422
    assert refusal(post("/api/learn/generators", content=b"{}", headers={"Content-Type": "text/plain"}))[0] == 415
    large = json.dumps(NEW | {"path": "x" * 300_000}).encode()
    assert refusal(post("/api/learn/surveys", content=large, headers={"Content-Type": "application/json"}))[0] == 413


def test_other_sites_and_foreign_names_reach_nothing(studio: StudioServer) -> None:
    evil = {"Origin": "https://evil.example"}
    for address in ("surveys", "generators", "turn", "generators/mine/train", "generators/mine/pause"):
        assert refusal(studio.client.post(f"/api/learn/{address}", json={}, headers=evil))[0] == 403
    assert studio.client.get("/api/learn", headers={"Host": "evil.example"}).status_code == 400


def test_unknown_generators_and_reports_that_are_not_there(studio: StudioServer) -> None:
    for address in ("nobody", "nobody/curves", "nobody/demos", "nobody/report", "nobody/report.html", "..%2f..", "%00"):
        assert refusal(studio.client.get(f"/api/learn/generators/{address}"))[0] == 404
    for what in ("prepare", "train", "pause", "stop", "play"):
        assert refusal(studio.client.post(f"/api/learn/generators/nobody/{what}"))[0] == 404
    assert studio.client.head("/api/learn").status_code == 200
    assert studio.client.delete("/api/learn").status_code == 405


def test_the_life_of_a_generator_as_its_files_tell_it(studio: StudioServer) -> None:
    made = studio.client.post("/api/learn/generators", json=NEW)
    assert (made.status_code, made.json()["status"]) == (201, "new")
    assert refusal(studio.client.post("/api/learn/generators", json=NEW))[0] == 409
    for what, error in (
        ("train", "the music is not prepared yet"),
        ("pause", "nothing of this generator runs"),
        ("play", "there is nothing to play yet: the training of the UNet has not saved anything"),
    ):
        assert refusal(studio.client.post(f"/api/learn/generators/mine/{what}")) == (409, error)
    assert refusal(studio.client.get("/api/learn/generators/mine/report.html"))[0] == 404
    folder = studio.work / "generators" / "mine"
    stages = {"prepare": {"status": "done", "began": 5.0, "ended": 9.0}, "vae": {"status": "running"}}
    gone = {"pid": 4_000_000, "started": 1.0}
    state = {"status": "running", "runner": gone, "command": gone, "last": "unet", "stage": "vae", "stages": stages}
    write_json(folder / "run.json", state)  # as a power cut leaves it
    told = studio.generator("mine")
    assert told["status"] == "interrupted"
    assert [stage["status"] for stage in told["stages"]] == ["done", "waiting", "running", "waiting", "waiting"]
    assert told["stages"][0]["seconds"] == 4
    assert told["turn"]["training"] is None
    write_json(folder / "run.json", {**state, "status": "failed", "error": "no track is long enough"})
    assert studio.client.get("/api/learn").json()["generators"][0]["error"] == "no track is long enough"
    assert studio.client.post("/api/learn/generators/mine/stop").json()["status"] == "stopped"


def test_a_generator_is_called_otherwise_removed_and_brought_back(studio: StudioServer) -> None:
    client, address = studio.client, "/api/learn/generators/kept"
    assert refusal(client.post(f"{address}/restore"))[0] == 404
    assert client.post("/api/learn/generators", json=NEW | {"name": "kept"}).json()["label"] == "kept"
    assert client.patch(address, json={"label": " Castles & caves "}).json()["label"] == "Castles & caves"
    assert refusal(client.patch(address, json={"label": "x" * 81}))[0] == 422
    folder, dataset = (studio.work / kind / "kept" for kind in ("generators", "datasets"))
    model = studio.folder / "models" / "kept"
    for each in (dataset, model):
        each.mkdir(parents=True)
    (dataset / "report.json").write_text("first")
    command = subprocess.Popen(["sleep", "60"])
    state = {"status": "paused", "last": "prepare", "stages": {}, "command": mark_of(command.pid)}
    try:  # a command that has lost its runner
        write_json(folder / "run.json", state)
        assert refusal(client.delete(address)) == (409, "kept is being made; pause or stop it first")
    finally:
        command.kill()
        command.wait()
    assert client.delete(address).json() == {"name": "kept"}
    assert not folder.exists() and not dataset.exists() and model.is_dir(), "clips were made with it"
    assert refusal(client.get(address))[0] == 404 and refusal(client.delete(address))[0] == 404
    dataset.mkdir()
    assert refusal(client.post(f"{address}/restore"))[0] == 409
    dataset.rmdir()
    assert client.post(f"{address}/restore").json()["label"] == "Castles & caves"
    assert (dataset / "report.json").read_text() == "first"
    shutil.copytree(folder, folder.with_name("copied"))
    refused = refusal(client.patch(f"{address[:-4]}copied", json={"label": "x"}))
    assert refused[0] == 409 and "copied" in refused[1], "what it would be done to is another"
    assert client.delete(f"{address[:-4]}copied").is_success, "which takes nothing of the other's"
    assert folder.is_dir() and dataset.is_dir()
    assert client.delete(address).is_success and client.post(f"{address}/restore").is_success


def test_what_was_removed_is_listed_until_the_bin_is_emptied(studio: StudioServer) -> None:
    client, generators, datasets = studio.client, studio.work / "generators", studio.work / "datasets"
    assert client.delete("/api/learn/bin").is_success  # other tests throw away, too
    for name in ("first", "broken"):
        assert client.post("/api/learn/generators", json=NEW | {"name": name}).is_success
        (datasets / name).mkdir(parents=True)
    assert client.patch("/api/learn/generators/first", json={"label": "The first"}).is_success
    (generators / "broken" / "generator.json").write_text('{"name": 3')
    for name in ("first", "broken"):  # a damaged one can be thrown away, too
        assert client.delete(f"/api/learn/generators/{name}").is_success
    shutil.move(next((datasets / ".bin").glob("first.*")), next((generators / ".bin").glob("first.*")) / "dataset")
    removed = client.get("/api/learn/bin").json()["removed"]
    assert [(each["name"], each["label"]) for each in removed] == [("broken", "broken"), ("first", "The first")]
    assert abs(removed[0]["removed"] - time.time()) < 60
    assert client.post("/api/learn/generators/first/restore").json()["label"] == "The first"
    assert (datasets / "first").is_dir(), "where an earlier version has put it"
    assert client.post("/api/learn/generators/broken/restore").json()["status"] == "damaged"
    assert client.delete("/api/learn/generators/broken").is_success
    assert client.delete("/api/learn/bin").json() == {"removed": []} == client.get("/api/learn/bin").json()
    assert not (datasets / "broken").exists() and (datasets / "first").is_dir()
    assert refusal(client.post("/api/learn/generators/broken/restore"))[0] == 404
    assert client.delete("/api/learn/generators/first").is_success  # others' tests list what there is


@pytest.mark.browser
def test_on_the_page_a_generator_is_called_otherwise_removed_and_brought_back(
    chromium: Any, studio: StudioServer
) -> None:
    assert studio.client.post("/api/learn/generators", json=NEW | {"name": "caves"}).is_success
    folder = studio.work / "generators" / "caves"
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{studio.url}/#learn/caves")
    title, tab, field = page.locator(".generator h2").first, page.locator(".generators [aria-current]"), ".title-input"
    for key, called in (("Escape", "caves"), ("Enter", "Castles & <b>caves</b>")):
        page.click(".generator .rename")
        page.fill(field, " Castles & <b>caves</b> ")
        page.press(field, key)
        until(
            lambda called=called: (title.inner_text(), tab.inner_text()) == (called, called), f"it is called {called}"
        )
        assert studio.generator("caves")["label"] == called and not page.locator(f".generator {field}").count()
    assert page.inner_text(".generator-head .soft") == "in the folder caves"
    command = subprocess.Popen(["sleep", "60"])
    try:  # a command that has lost its runner
        state = {"status": "paused", "last": "prepare", "stages": {}, "command": mark_of(command.pid)}
        write_json(folder / "run.json", state)
        page.click(".generator .bin")
        page.locator(".field-error", has_text="caves is being made; pause or stop it first").wait_for()
    finally:
        command.kill()
        command.wait()
    page.click(".generator .bin")
    page.locator(".wizard").wait_for()
    assert not folder.exists() and "<b>caves</b>" not in page.inner_text(".generators")
    page.click(".toast button")
    page.locator(".generator h2", has_text="Castles & <b>caves</b>").wait_for()
    assert folder.is_dir() and page.url.endswith("#learn/caves") and "<b>caves</b>" in page.inner_text(".generators")
    page.click(".generator .bin")
    page.click(".bin-card li:has-text('Castles & <b>caves</b>') button")  # later, the bin lists it
    page.locator(".generator h2", has_text="Castles & <b>caves</b>").wait_for()
    page.click(".generator .bin")
    page.click(".bin-card > button")
    page.click("#confirm-yes")
    page.locator(".bin-card").wait_for(state="hidden")
    assert not folder.exists() and studio.client.get("/api/learn/bin").json() == {"removed": []}
    page.evaluate("location.hash = '#learn/%E0%A4%A'")  # no address of anything
    page.reload()
    page.locator(".wizard").wait_for()
    page.close()


def test_the_report_is_shown_under_a_policy_that_runs_nothing(studio: StudioServer) -> None:
    studio.client.post("/api/learn/generators", json=NEW)
    dataset = studio.work / "datasets" / "mine"
    dataset.mkdir(parents=True, exist_ok=True)
    (dataset / "report.html").write_text("<script>alert(1)</script>")
    (dataset / "report.json").write_text("{")
    page = studio.client.get("/api/learn/generators/mine/report.html")
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert page.headers["x-frame-options"] == "DENY"
    assert refusal(studio.client.get("/api/learn/generators/mine/report"))[0] == 404
    (dataset / "report.json").unlink()


def test_turns_can_only_be_taken_while_something_trains(studio: StudioServer) -> None:
    assert refusal(studio.client.post("/api/learn/turn", json={"choice": "cpu"}))[0] == 409
    assert refusal(studio.client.post("/api/learn/turn", json={"choice": "mine"}))[0] == 422
