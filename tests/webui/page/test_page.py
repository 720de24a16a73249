"""The real page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.webui.conftest import Server, until
from tests.webui.fake_model import REFUSES
from tests.webui.visit import Visit

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(chromium: Any, empty_server: Server) -> Iterator[Visit]:
    visit = Visit(chromium, empty_server)
    yield visit
    visit.close()
    assert visit.complaints == []
    assert visit.hosts == {f"127.0.0.1:{empty_server.port}"}


def test_first_visit_says_what_to_do_and_one_click_gives_music(visit: Visit) -> None:
    page = visit.page
    until(lambda: "press Generate" in page.inner_text("#history-empty"), "the hint")
    page.fill("#number-steps", "5")
    page.dblclick("#generate")  # twice by accident is once
    visit.wait_for_cards(1)
    assert visit.cards() == ["Castle"]
    until(lambda: page.locator("#dock-play").get_attribute("aria-label") == "Pause", "what was asked for plays")
    page.keyboard.press("Space")  # reaches the player, although Generate was what was clicked last
    until(lambda: page.locator("#dock-play").get_attribute("aria-label") == "Play", "Space pauses")
    assert not visit.server.client.get("/api/jobs?view=active").json()["jobs"]


def test_mix_generate_watch_play_and_find_again(visit: Visit) -> None:
    page = visit.page
    page.locator(".fader").nth(0).fill("0.7")
    page.locator(".fader-row .number").nth(1).fill("-0.3")
    assert page.locator("#mix-bar").get_attribute("aria-label") == "The mix: Castle 70 percent, Cave -30 percent"
    visit.quick(seconds=4, steps=40, seed=77)
    page.check("input[value=increment]", force=True)
    page.uncheck("#play-new")
    page.click("#generate")

    progress = page.locator("progress")
    seen = until(lambda: (value := progress.evaluate("p => p.value")) > 0 and value, "progress")
    until(lambda: progress.evaluate("p => p.value") > seen, "more progress")
    until(lambda: page.locator(".preview").evaluate("i => i.naturalWidth > 0 && !i.hidden"), "a preview")
    assert "left" in until(lambda: "left" in (text := page.inner_text(".forming-text")) and text, "the time left")
    assert page.input_value("#seed") == "78"

    visit.wait_for_cards(1)
    assert visit.cards() == ["Castle 70 · Cave −30"]
    assert page.locator("#dock-play").get_attribute("aria-label") == "Play"  # it was asked not to play by itself
    page.locator(".card-play").click()
    time = page.locator("#dock-wave")
    until(lambda: float(time.get_attribute("aria-valuenow")) > 0.3, "the sound goes on")
    assert page.locator("#dock-play").get_attribute("aria-label") == "Pause"
    page.locator(".card-picture").click(position={"x": 280, "y": 110})
    until(lambda: float(time.get_attribute("aria-valuenow")) > 2, "playing from the place that was clicked")
    page.locator("#dock-play").click()

    page.reload()
    visit.wait_for_cards(1)
    assert page.locator(".fader").nth(0).input_value() == "0.7" and page.input_value("#number-steps") == "40"

    visit.server.kill()
    until(lambda: page.locator("#model-line").get_attribute("data-status") == "lost", "the loss is told")
    visit.server.start()
    until(lambda: page.locator("#model-line").get_attribute("data-status") == "ready", "the page is back by itself")
    assert visit.cards() == ["Castle 70 · Cave −30"]
    visit.complaints.clear()  # the browser's own complaints about the lost connection


def test_keyboard_alone_generates_plays_and_cancels(visit: Visit) -> None:
    page = visit.page
    visit.quick(seconds=30)  # long enough to be still playing on a busy machine
    page.keyboard.press("Control+Enter")
    visit.wait_for_cards(1)
    until(lambda: "plays" in page.inner_text("#live"), "the end is announced")
    until(lambda: page.locator("#dock-play").get_attribute("aria-label") == "Pause", "it plays")
    page.locator("#stage").focus()
    page.keyboard.press("Space")
    until(lambda: page.locator("#dock-play").get_attribute("aria-label") == "Play", "Space pauses")
    page.keyboard.press("Space")
    until(lambda: page.locator("#dock-play").get_attribute("aria-label") == "Pause", "Space plays")
    page.keyboard.press("Space")
    until(lambda: page.locator("#dock-play").get_attribute("aria-label") == "Play", "Space pauses again")
    page.locator("#dock-wave").focus()
    page.keyboard.press("End")
    assert float(page.locator("#dock-wave").get_attribute("aria-valuenow")) == pytest.approx(30, abs=0.5)
    page.fill("#number-steps", "400")
    page.keyboard.press("Control+Enter")
    page.locator(".forming").wait_for()
    page.keyboard.press("Escape")
    assert page.locator(".forming").count() == 1, "in a field, Esc is the field's"
    page.locator("#stage").focus()
    page.keyboard.press("Escape")
    until(lambda: page.locator(".forming").count() == 0, "Esc cancels")
    page.locator("#stage").focus()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_the_help_says_how_to_watch_a_training_or_how_to_begin_one(visit: Visit) -> None:
    page = visit.page
    page.click("#help-button")
    assert page.locator("#tensorboard").is_visible() and not page.locator("#train-own").is_visible()
    page.route("**/api/health", lambda route: route.fulfill(json={**route.fetch().json(), "shipped": True}))
    page.route_web_socket("**/api/events", lambda socket: None)  # which tells the health, too
    visit.open()
    page.click("#help-button")
    until(lambda: page.locator("#train-own").is_visible(), "a model that comes with the program has no curves")
    assert "make demo MODEL=models/demo" in page.locator("#train-own").inner_text()
    assert not page.locator("#tensorboard").is_visible()


def test_star_rename_reuse_delete_and_undo(visit: Visit) -> None:
    page = visit.page
    visit.quick(seed=42)
    page.click("#generate")
    visit.wait_for_cards(1)
    page.locator(".star").click()
    page.locator(".rename").click()
    page.locator(".title-input").fill("<b>Bold</b> theme")
    page.keyboard.press("Enter")
    until(lambda: visit.cards() == ["<b>Bold</b> theme"], "the new name, as text")
    page.click("[data-view=starred]")
    visit.wait_for_cards(1)
    page.click("#mix-clear")
    page.locator(".reuse").click()
    assert page.input_value("#seed") == "42" and page.locator(".fader").first.input_value() == "1"
    with page.expect_download() as download:
        page.locator(".download").click()
    assert Path(download.value.path()).read_bytes().startswith(b"fLaC")
    page.locator(".card .bin").click()
    visit.wait_for_cards(0)
    page.click(".toast >> text=Undo")
    visit.wait_for_cards(1)


def test_errors_stand_beside_their_field_and_keep_what_was_typed(visit: Visit) -> None:
    page = visit.page
    page.fill("#number-seconds", "9999")
    page.click("#generate")
    until(lambda: "600" in page.inner_text("#error-seconds"), "the error")
    assert page.input_value("#number-seconds") == "9999"
    assert page.locator("#number-seconds").get_attribute("aria-invalid") == "true"
    visit.quick(seed=REFUSES)
    assert page.inner_text("#error-seconds") == ""
    page.click("#generate")
    until(lambda: "another shape" in page.inner_text(".card-error"), "the failure")
    assert page.locator(".retry").is_visible()
    page.click("#mix-clear")
    page.set_viewport_size({"width": 360, "height": 740})
    page.evaluate("for (const group of document.querySelectorAll('#instrument details')) group.open = true")
    page.locator("#source-box").scroll_into_view_if_needed()
    page.click("#generate")
    until(lambda: "at least one game" in page.inner_text("#error-games").lower(), "the empty mix")
    assert 0 <= page.locator("#error-games").bounding_box()["y"] < 740, "it is far above the button, and shown"
    visit.complaints.clear()  # Chromium logs each 422 as an error


def test_controls_begin_as_the_model_recommends_and_a_clip_brings_back_all_of_its_settings(
    chromium: Any, tmp_path: Path
) -> None:
    recommended = {"sampler": "euler", "steps": 6, "cfg_scale": 3.5, "sampler_options": {"reinjection": 0.8}}
    server = Server(tmp_path, recommended=recommended)
    visit = Visit(chromium, server)
    try:
        page = visit.page

        def shown() -> tuple[str, str, str]:
            return (
                page.input_value("#select-sampler"),
                page.input_value("#number-steps"),
                page.input_value("#field-sampler_options-reinjection"),
            )

        assert shown() == ("euler", "6", "0.8")
        page.click("#more summary")
        assert not page.locator("#recommended").is_visible(), "nothing differs"
        page.fill("#number-seconds", "1")
        page.click("#generate")
        visit.wait_for_cards(1)
        page.select_option("#select-sampler", "heun")
        assert shown() == ("heun", "6", "0")
        page.fill("#number-steps", "4")
        page.click("#generate")
        visit.wait_for_cards(2)
        newest, oldest = (job["request"] for job in server.client.get("/api/jobs").json()["jobs"])
        assert (oldest["sampler"], oldest["sampler_options"]) == ("euler", {"reinjection": 0.8})
        assert (newest["sampler"], newest["sampler_options"], newest["steps"]) == ("heun", {}, 4)
        page.locator(".reuse").nth(1).click()
        assert shown() == ("euler", "6", "0.8")
        page.locator(".reuse").nth(0).click()
        assert shown() == ("heun", "4", "0")
        page.click("#recommended")
        assert shown() == ("euler", "6", "0.8")

        # What was not changed follows the model's next recommendation; what was changed stays.
        page.fill("#number-steps", "9")
        server.kill()
        (server.model / "request.json").write_text('{"sampler": "dpmpp_2m", "steps": 5, "cfg_scale": 1.5}')
        server.start()
        visit.open()
        assert shown() == ("dpmpp_2m", "9", "0") and page.input_value("#number-cfg_scale") == "1.5"
        visit.complaints.clear()  # the browser's own complaints about the lost connection
    finally:
        visit.close()
        server.close()


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_narrow_screens_need_no_sideways_scrolling_and_controls_have_names(
    chromium: Any, empty_server: Server, scheme: str
) -> None:
    visit = Visit(chromium, empty_server, color_scheme=scheme)
    visit.page.set_viewport_size({"width": 360, "height": 740})
    visit.quick()
    visit.page.click("#generate")
    visit.wait_for_cards(1)
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
    nameless = visit.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [role=slider], progress, a')]
            .filter((control) => !(control.ariaLabel || control.textContent.trim() || control.labels?.length))
            .map((control) => control.outerHTML)"""
    )
    assert nameless == []
    visit.close()
