"""A model without games on the page: none is asked for, and there is no mixer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.webui.conftest import REQUEST, Server, until
from tests.webui.visit import Visit


class WithoutMixer(Visit):
    """A visit that waits for no fader."""

    def open(self) -> None:
        self.page.goto(self.server.url)
        until(lambda: self.page.locator("#model-line").get_attribute("data-status") == "ready", "the model is ready")


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("plain")
    unet = folder / "demo" / "unet" / "unet.json"
    unet.parent.mkdir(parents=True)
    unet.write_text(json.dumps({"config": {"backbone": {"type": "unet_edm2.UNet", "label_dim": 0}}}))
    server = Server(folder)
    yield server
    server.close()


def test_games_may_be_empty_or_left_out_for_it_alone(plain_server: Server, server: Server) -> None:
    without = {name: value for name, value in REQUEST.items() if name != "games"}
    assert plain_server.client.get("/api/health").json()["games"] == []
    for body in (without, {**without, "games": {}}):
        created = plain_server.client.post("/api/jobs", json=body)
        assert created.status_code == 201, created.text
        assert plain_server.wait(created.json()["id"], "done")["request"]["games"] == {}
    for body, said in ((without, "games: "), ({**without, "games": {}}, "games: at least one game needs a weight")):
        refused = server.client.post("/api/jobs", json=body)
        assert refused.status_code == 422 and refused.json()["field"] == "games"
        assert refused.json()["error"].startswith(said) and "\n" not in refused.json()["error"]


def test_settings_of_a_clip_of_games_lose_their_games(plain_server: Server) -> None:
    answer = plain_server.client.post("/api/check", json={"games": {"Castle": 1}, "steps": 7}).json()
    assert answer["request"] == {"steps": 7} and list(answer["dropped"]) == ["games.Castle"]


@pytest.mark.browser
def test_the_page_hides_the_mixer_and_plays(chromium: Any, plain_server: Server, tmp_path: Path) -> None:
    visit = WithoutMixer(chromium, plain_server)
    assert not visit.page.locator("#mix").is_visible() and visit.page.locator("#number-seconds").is_visible()
    before = len(visit.cards())
    visit.quick(seconds=1, steps=1, seed=9)
    with visit.page.expect_response(lambda response: response.url.endswith("/api/jobs")) as sent:
        visit.page.click("#generate")
    assert plain_server.wait(sent.value.json()["id"], "done")["request"]["games"] == {}
    visit.wait_for_cards(before + 1)
    assert visit.cards()[0] == "#9"
    visit.page.screenshot(path=tmp_path / "plain.png")
    visit.page.click("#grid-open")
    axes = visit.page.locator("#grid-key-0 option").evaluate_all("options => options.map((each) => each.value)")
    assert "steps" in axes and "game" not in axes
    visit.page.press("#grid", "Escape")
    visit.page.locator(".card").first.get_by_role("button", name="Edit").click()
    visit.page.locator(".tools-row [data-tool='vary']").wait_for()
    assert not visit.page.locator(".tools-row [data-tool='mix']").is_visible()
    visit.close()
    assert visit.complaints == []
