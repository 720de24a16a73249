"""What a model may be told beside games has controls on the page, which come from the model's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.webui.conftest import REQUEST, Server, until
from tests.webui.visit import Visit

CONTROLS = {
    "tempo": {
        "kind": "number",
        "label": "Tempo",
        "unit": "BPM",
        "low": 55,
        "high": 205,
        "usual": {"Castle": [90, 120]},
    },
    "place": {"kind": "number", "label": "Place", "unit": "", "low": 0, "high": 1, "usual": {}},
    "who": {"kind": "mix", "label": "Composer", "names": ["Ada", "Bo", "Cy"]},
    "loudness": {"kind": "curve", "label": "Loudness", "unit": "dB", "low": -24, "high": 12},
    "known": {"kind": "source", "label": "Known parts"},
}


@pytest.fixture(scope="module")
def told_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose model lists a tempo."""
    folder = tmp_path_factory.mktemp("told")
    (folder / "demo").mkdir()
    entry = {"type": "diffusion/preconditioning.Denoiser", "ema": "raw", "controls": CONTROLS}
    (folder / "demo" / "model_index.json").write_text(json.dumps({"format_version": 1, "modules": {"unet": entry}}))
    server = Server(folder)
    yield server
    server.close()


def test_the_api_lists_controls_and_refuses_what_the_model_does_not_have(told_server: Server, server: Server) -> None:
    listed = told_server.client.get("/api/health").json()["controls"]
    assert listed == [
        {"id": name} | {k: v for k, v in control.items() if k != "usual"} for name, control in CONTROLS.items()
    ]
    assert server.client.get("/api/health").json()["controls"] == []
    job = told_server.job(told_server.submit(controls={"tempo": 120}))
    assert job["request"]["controls"] == {"tempo": 120}
    many = {"place": 0.25, "who": {"Ada": 1, "Cy": -0.5}, "loudness": [-12, 0, 6], "known": None}
    assert told_server.job(told_server.submit(controls=many))["request"]["controls"] == many
    for asked, said in (({"tempo": 300}, "from 55 to 205 BPM"), ({"tempi": 1}, "it has: tempo"), ({"tempo": "a"}, "")):
        refused = told_server.client.post("/api/jobs", json=REQUEST | {"controls": asked})
        assert refused.status_code == 422
        assert said in refused.json()["error"]
    assert server.client.post("/api/jobs", json=REQUEST | {"controls": {"tempo": 120}}).status_code == 422


def test_damaged_controls_are_left_out_and_the_page_plays_on(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    entry = {"type": "x", "ema": "raw", "controls": {"tempo": {"label": 3}}}
    (tmp_path / "demo" / "model_index.json").write_text(json.dumps({"format_version": 1, "modules": {"unet": entry}}))
    server = Server(tmp_path)
    try:
        assert server.client.get("/api/health").json()["controls"] == []
        server.wait(server.submit(), "done")
    finally:
        server.close()


@pytest.mark.browser
def test_the_tempo_is_usual_set_or_free_and_comes_back(chromium: Any, told_server: Server) -> None:
    visit = Visit(chromium, told_server)
    page = visit.page

    def asked() -> dict[str, Any]:
        """The controls of the next clip that is made."""
        with page.expect_response(lambda response: response.url.endswith("/api/jobs")) as sent:
            page.click("#generate")
        return told_server.wait(sent.value.json()["id"], "done")["request"]["controls"]

    def reuse(place: int) -> None:
        """Takes the settings of a clip, counted from the newest, once all are shown."""
        buttons = page.get_by_role("button", name="Use these settings")
        done = told_server.client.get("/api/jobs", params={"limit": 1}).json()["total"]
        until(lambda: buttons.count() == done, "all clips are shown")
        buttons.nth(place).click()

    visit.quick(seconds=1, steps=1)
    mode = page.locator("#control-mode-tempo")
    assert mode.input_value() == "usual"
    assert asked() == {}
    page.fill("#control-number-tempo", "132")
    assert mode.input_value() == "set", "whoever moves it means it"
    assert page.locator("#control-tempo").input_value() == "132"
    assert asked() == {"tempo": 132}
    mode.select_option("free")
    assert asked() == {"tempo": None}
    # Remembered over a reload, and brought back by a clip.
    visit.open()
    assert page.locator("#control-mode-tempo").input_value() == "free"
    reuse(1)
    until(lambda: page.locator("#control-mode-tempo").input_value() == "set", "the clip's tempo is set")
    assert page.input_value("#control-number-tempo") == "132"
    _names_and_curves_are_chosen_drawn_and_brought_back(page, asked, reuse)
    page.fill("#control-number-tempo", "999")
    page.click("#generate")
    until(lambda: "205" in page.locator("#error-controls").inner_text(), "what is wrong stands beside it")
    assert [line for line in visit.complaints if "422" not in line] == []
    visit.close()


def _names_and_curves_are_chosen_drawn_and_brought_back(
    page: Any, asked: Callable[[], dict[str, Any]], reuse: Callable[[int], None]
) -> None:
    assert page.locator("#control-mode-known").count() == 0, "only a source says it"
    page.locator("#control-place").evaluate(
        "slider => { slider.value = 0.25; slider.dispatchEvent(new Event('input')); }"
    )
    page.select_option("#control-who", ["Ada", "Cy"])
    for point, level in enumerate((-24, -12, 0, 6, 12)):
        page.fill(f"#control-loudness-{point}", str(level))
    told = {"tempo": 132, "place": 0.25, "who": {"Ada": 1, "Cy": 1}, "loudness": [-24, -12, 0, 6, 12]}
    assert asked() == told
    for name in told:
        page.select_option(f"#control-mode-{name}", "usual")
    assert asked() == {}
    reuse(1)
    until(lambda: page.locator("#control-mode-who").input_value() == "set", "the clip's composers are chosen")
    assert asked() == told
    page.select_option("#control-mode-who", "free")
    assert asked() == {**told, "who": None}


@pytest.mark.browser
def test_a_model_that_is_told_games_alone_shows_no_controls(chromium: Any, page_server: Server) -> None:
    visit = Visit(chromium, page_server)
    assert visit.page.locator("#controls *").count() == 0
    assert visit.complaints == []
    visit.close()
