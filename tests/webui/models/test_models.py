"""Models are chosen while the server runs; jobs keep the model that they were asked of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dualdiffusion.model.folder import ModelFolder
from tests.webui.conftest import REQUEST, Server, until
from tests.webui.serve import make_model
from tests.webui.visit import Visit
from webui.http.refusal import RefusedError
from webui.models.folders import ModelShelf, describe_model


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two models that differ in their games, and one that cannot be loaded."""
    folder = tmp_path_factory.mktemp("shelf")
    rich(make_model(folder / "other", ["Volcano", "Castle"], {"steps": 11}))
    make_model(folder / "unusable", ["Castle"])
    server = Server(folder, extra=["", "", "", str(folder)])
    yield server
    server.close()


def rich(folder: Path) -> Path:
    """Gives a model folder a card, curves, figures and two sets of weights."""
    (folder / "README.md").write_text("# other\n\n**Bold** words.\n\n| a | b |\n|---|---|\n| 1 | <img src=x> |\n")
    (folder / "measures.json").write_text('{"beat_ratio": 0.841, "note": "text"}')
    (folder / "unet").mkdir()
    for name in ("unet", "ema_0.100"):
        (folder / "unet" / f"{name}.safetensors").write_bytes(b"x" * 5000)
    run = folder / "runs" / "unet"
    run.mkdir(parents=True)
    rows = [f"{i},{8 * i},loss/total,{1 / (i + 1)}\n{i},{8 * i},learning_rate,0.1\n" for i in range(1000)]
    rows += [f"{i},{8 * i},validation/raw/loss,{0.5 + 1 / (i + 1)}\n" for i in range(0, 1000, 100)]
    (run / "metrics.csv").write_text("step,samples,metric,value\n" + "".join(rows) + "9,x,loss/total\nhalf")
    return folder


def choose(server: Server, model: str, ema: str | None = None) -> Any:
    return server.client.post("/api/models/choose", json={"model": model, "ema": ema})


def test_only_model_folders_in_the_root_itself_and_shipped_models_are_offered(tmp_path: Path) -> None:
    root, started = tmp_path / "root", make_model(tmp_path / "elsewhere" / "started")
    make_model(root / "inside")
    make_model(tmp_path / "outside")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "no model").mkdir()
    shelf = ModelShelf(started, root)
    assert list(shelf.names()) == ["started", "inside", "shipped:chiptune"]
    for name in ("link", "../outside", str(tmp_path / "outside"), "", "no model"):
        with pytest.raises(RefusedError, match="there is no model"):
            shelf.find(name)
    assert list(ModelShelf(started).names()) == ["started", "shipped:chiptune"]


def test_curves_are_thinned_and_damaged_lines_left_out(tmp_path: Path) -> None:
    found = describe_model(ModelFolder(rich(make_model(tmp_path / "m"))))["curves"]["unet"]
    assert set(found) == {"loss/total", "validation/raw/loss"}
    assert len(found["loss/total"]) == 250 and found["loss/total"][-1][0] == 8 * 999
    assert found["loss/total"][0][1] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_a_model_is_described_by_what_its_folder_has(shelf: Server, tmp_path: Path) -> None:
    detail = shelf.client.get("/api/models/other").json()
    assert detail["card"].startswith("# other") and detail["figures"] == {"beat_ratio": 0.841}
    assert detail["emas"] == ["ema_0.100", "raw"] and detail["bytes"] == 10_000
    assert "tensorboard --logdir" in detail["tensorboard"] and detail["games"][0]["name"] == "Volcano"
    assert shelf.client.get("/api/models/..%2f..%2fetc").status_code == 404
    empty = describe_model(ModelFolder(tmp_path))
    assert empty["card"] is None and empty["games"] == [] and empty["curves"] == {}


def test_jobs_keep_their_model_and_new_ones_are_for_the_chosen_one(shelf: Server) -> None:
    running, waiting = shelf.submit(steps=40), shelf.submit(seed=2)
    shelf.wait(running, "running")
    pid = shelf.worker_pid
    health = choose(shelf, "other").json()
    assert (health["model_id"], health["loaded"], health["status"]) == ("other", "demo", "loading")
    assert [game["name"] for game in health["games"]] == ["Volcano", "Castle"]
    assert shelf.client.get("/api/options").json()["fields"]["steps"]["default"] == 11
    new = shelf.submit(games={"Volcano": 1})
    assert [shelf.job(job)["model"] for job in (running, waiting, new)] == ["demo", "demo", "other"]
    for job in (running, waiting, new):
        shelf.wait(job, "done", timeout=40)
    health = shelf.client.get("/api/health").json()
    assert (health["loaded"], health["status"]) == ("other", "ready") and health["worker_pid"] != pid
    assert shelf.client.post("/api/jobs", json=REQUEST).status_code == 422  # of games that other does not know
    choose(shelf, "demo")
    until(lambda: shelf.client.get("/api/health").json()["status"] == "ready", "the first one is back", timeout=40)


def test_weights_are_chosen_for_requests_that_name_none(shelf: Server) -> None:
    before = choose(shelf, "other").json()["revision"]
    assert choose(shelf, "other", "ema_0.100").json()["revision"] != before
    job = shelf.submit(games={"Castle": 1})
    assert shelf.job(job)["request"]["ema"] == "ema_0.100"
    assert shelf.job(shelf.submit(games={"Castle": 1}, ema="raw"))["request"]["ema"] == "raw"
    assert "it has: ema_0.100, raw" in choose(shelf, "other", "../x").json()["error"]
    assert choose(shelf, "nowhere").status_code == 404
    choose(shelf, "demo")
    shelf.wait(job, "done", timeout=40)


def test_jobs_of_a_model_that_cannot_be_loaded_fail_when_another_one_is_chosen(shelf: Server) -> None:
    choose(shelf, "unusable")
    health = until(lambda: (h := shelf.client.get("/api/health").json())["status"] == "failed" and h, "it is told")
    assert "has no module 'unet'" in health["message"]
    stuck = shelf.submit(games={"Castle": 1})
    assert shelf.job(stuck)["status"] == "queued"
    choose(shelf, "demo")
    assert "unusable cannot be loaded" in shelf.wait(stuck, "failed", timeout=40)["error"]
    shelf.wait(shelf.submit(), "done", timeout=40)


@pytest.mark.browser
def test_a_visitor_looks_at_a_model_and_plays_it(chromium: Any, shelf: Server) -> None:
    visit = Visit(chromium, shelf)
    page = visit.page
    page.click("#model-line")
    page.locator(".model-item", has_text="other").click()
    until(lambda: page.inner_text(".model-title") == "other", "its page")
    assert page.locator(".model-card strong").inner_text() == "Bold"
    assert page.locator(".model-card td").last.inner_text() == "<img src=x>"  # as text
    lines = page.locator(".curves polyline")
    colours = lines.evaluate_all("lines => lines.map((line) => getComputedStyle(line).stroke)")
    assert len(set(colours)) == 2 and "0.841" in page.inner_text("#model-page")
    page.select_option("#model-ema", "ema_0.100")
    page.click("#model-choose")
    until(lambda: page.locator(".game-name").all_inner_texts() == ["Volcano", "Castle"], "its faders", timeout=40)
    page.keyboard.press("Escape")
    until(lambda: "other · 2 games" in page.inner_text("#model-text"), "it plays", timeout=40)
    assert "ema_0.100" in page.inner_text("#model-text") and not page.locator("#models").is_visible()
    choose(shelf, "demo")
    until(lambda: page.locator(".game-name").count() == 6, "another page's choice is seen", timeout=40)
    visit.close()
    assert visit.complaints == []


def test_the_listing_says_which_model_plays_and_which_cannot(shelf: Server) -> None:
    answer = shelf.client.get("/api/models").json()
    assert answer["chosen"] == "demo"
    entries = {entry["id"]: entry for entry in answer["models"]}
    assert list(entries) == ["demo", "other", "unusable", "shipped:chiptune"]
    assert entries["shipped:chiptune"]["shipped"] and entries["other"]["games"] == 2
    (shelf.model / "labels.json").write_text(json.dumps({"games": "damaged"}))
    assert shelf.client.get("/api/models").json()["models"][0]["problem"]
