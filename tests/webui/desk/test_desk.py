"""The desk in a real browser: every setting comes back, presets, files in and out, grids, many games, small windows."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.webui.conftest import Server, until
from tests.webui.exchange.test_bring_in import ours, sound
from tests.webui.visit import Visit

pytestmark = pytest.mark.browser

ODD: dict[str, Any] = {
    "games": {"Cave": 0.25, "Moss": -0.5},
    "games_end": {"Castle": 1.0},
    "seed": 77,
    "seconds": 1.2345,
    "steps": 3,
    "cfg_scale": 2.71828,
    "sampler": "heun",
    "sampler_options": {"s_churn": 2.0, "reinjection": 0.3},
    "schedule": "polyexponential",
    "rho": 1.5,
    "sigma_max": 60.0,
    "sigma_min": 0.02,
    "sigma_end": "latents",
    "ema": "ema_0.100",
    "guidance": {
        "interval": [0.3, 5.0],
        "rescale": 0.4,
        "projected_parallel": 0.0,
        "projected_momentum": -0.5,
        "scales": {"games": 1.5},
    },
    "noise": "brownian",
    "precision": "bfloat16",
    "window_seconds": 5.0,
    "phase_iterations": 9,
    "loop": True,
    "variation_seed": 5,
    "variation_strength": 0.25,
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose model has an EMA."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "demo" / "unet").mkdir(parents=True)
    (folder / "demo" / "unet" / "ema_0.100.safetensors").write_bytes(b"")
    server = Server(folder)
    yield server
    server.close()


@pytest.fixture(scope="module")
def long_visit(chromium: Any, desk: Server) -> Iterator[Visit]:
    visit = Visit(chromium, desk)
    yield visit
    visit.close()


@pytest.fixture
def visit(long_visit: Visit) -> Iterator[Visit]:
    """One page for all tests, which finds the settings that the model recommends."""
    yield long_visit
    visit, desk = long_visit, long_visit.server
    page = visit.page
    page.set_viewport_size({"width": 1280, "height": 800})
    page.evaluate(
        """() => {
            for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
            for (const toast of document.querySelectorAll('.toast')) toast.remove();
            document.getElementById('sheet-close').click();
            for (let chip; (chip = document.querySelector('#changed button'));) chip.click();
            if (document.getElementById('mix-moves').checked) document.getElementById('mix-moves').click();
        }"""
    )
    assert [line for line in visit.complaints if "status of 4" not in line] == []
    assert visit.hosts == {f"127.0.0.1:{desk.port}"}


def asked(visit: Visit) -> dict[str, Any]:
    """The request that Generate sends."""
    with visit.page.expect_response(lambda response: response.url.endswith("/api/jobs")) as sent:
        visit.page.click("#generate")
    assert sent.value.status == 201, sent.value.text()
    return visit.server.wait(sent.value.json()["id"], "done", timeout=60)["request"]


def drop(visit: Visit, name: str, data: bytes) -> None:
    """Drops a file in the middle of the page, as a file manager does."""
    visit.page.evaluate(
        """([name, data]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
            for (const type of ['dragenter', 'dragover', 'drop'])
                document.body.dispatchEvent(
                    new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        [name, base64.b64encode(data).decode()],
    )


def toast(visit: Visit, words: str) -> None:
    until(lambda: any(words in text for text in visit.page.locator(".toast").all_inner_texts()), words, timeout=60)


def test_a_clips_whole_request_comes_back_from_history_and_from_its_file(visit: Visit, tmp_path: Path) -> None:
    page, server = visit.page, visit.server
    whole = server.wait(server.submit(**ODD), "done")["request"]
    until(lambda: visit.cards(), "the card")
    page.locator(".reuse").first.click()
    chips = page.locator("#changed").inner_text()
    for words in ("Loop on", "Sigma max 60", "Weights ema_0.100", "Interval 0.3 to 5", "S churn 2", "Variation seed 5"):
        assert words in chips, chips
    assert asked(visit) == whole
    # The faders show both mixes, and a reload brings all of it back.
    assert page.locator("#mix-moves").is_checked() and page.locator("#mix-sides").is_visible()
    page.check("input[value=lock]", force=True)
    visit.open()
    assert asked(visit) == whole
    page.click("#recommended")
    page.click("#mix-clear")
    page.locator(".fader").first.fill("1")
    drop(visit, "mine.flac", ours(tmp_path, **ODD))
    toast(visit, "settings of mine.flac are back")
    assert asked(visit) == whole
    # One thing after another goes back to what the model has.
    page.get_by_role("button", name=re.compile("^Loop on: back to off")).click()
    page.get_by_role("button", name=re.compile("^S churn 2")).click()
    page.click("#more summary")
    assert not page.locator("#loop").is_checked()
    assert page.input_value("#field-sampler_options-s_churn") == "0"
    assert page.input_value("#field-sampler_options-reinjection") == "0.3"


def test_every_key_has_a_control_with_a_sentence_and_the_schedule_a_curve(visit: Visit) -> None:
    page = visit.page
    schema = visit.server.client.get("/api/schema").json()
    if not page.locator("#groups").is_visible():
        page.click("#more summary")
    elsewhere = {"games", "games_end", "controls", "seed", "seconds", "steps", "cfg_scale", "loop", "sampler_options"}
    shown = page.evaluate("[...document.querySelectorAll('#groups .field')].map((field) => field.dataset.field)")
    keys = {field["key"] for field in schema["fields"]} - elsewhere
    keys |= {field["key"] for field in schema["sampler_options"]["heun"]}
    assert set(shown) == keys
    silent = page.evaluate(
        "[...document.querySelectorAll('#groups .field')].filter((f) => !f.querySelector('.hint')).length"
    )
    assert silent == 0
    page.select_option("#select-sampler", "euler")
    assert page.locator("#field-sampler_options-s_churn").count() == 0
    page.evaluate("document.querySelectorAll('.group').forEach((group) => { group.open = true })")
    until(lambda: "30 noise levels from 80 to 0.01" in page.inner_text(".schedule-curve"), "the curve")
    page.fill("#field-guidance-interval", "0.3")
    page.locator("[data-field='guidance.interval'] input").nth(1).fill("5")
    until(lambda: "guided from 0.3 to 5" in page.inner_text(".schedule-curve"), "where guidance holds")
    # A number, or the word that stands for one.
    page.select_option("#field-sigma_end", "number")
    page.locator("[data-field=sigma_end] input").fill("0.05")
    until(lambda: "noise levels from 80 to 0.05" in page.inner_text(".schedule-curve"), "where sampling ends")
    page.select_option("#field-sigma_end", "latents")
    assert "Sigma end latents" in page.inner_text("#changed")
    assert not page.locator("[data-field=sigma_end] input").is_visible()
    page.select_option("#field-sigma_end", "")
    assert "Sigma end" not in page.inner_text("#changed")
    page.select_option("#select-schedule", "learned")
    until(lambda: "known only once" in page.inner_text(".schedule-curve"), "a schedule without a curve")
    # What is wrong is told beside its control.
    page.fill("#field-sigma_min", "99")
    page.click("#generate")
    until(lambda: page.locator("[data-field=sigma_min].invalid").is_visible(), "the error")
    page.click("#recommended")


def test_presets_are_saved_applied_renamed_deleted_and_undone(visit: Visit) -> None:
    page = visit.page
    page.click("#presets summary")
    page.get_by_role("button", name="Calm").first.click()
    toast(visit, "Calm is set")
    assert page.input_value("#number-steps") == "80" and "Reinjection 0.9" in page.inner_text("#changed")
    page.get_by_role("button", name="Undo").first.click()
    assert page.input_value("#number-steps") == "30"
    page.fill("#number-steps", "7")
    page.fill("#preset-name", "<b>Mine</b>")
    page.keyboard.press("Enter")  # saves, and asks for no clip
    until(lambda: page.get_by_role("button", name="<b>Mine</b>", exact=True).count() == 1, "the preset")
    page.fill("#preset-name", "CALM")
    page.click("#preset-save")
    until(lambda: "already" in page.inner_text("#error-preset"), "the name is taken")
    page.click("#recommended")
    visit.open()
    page.click("#presets summary")
    page.get_by_role("button", name="<b>Mine</b>", exact=True).click()
    until(lambda: page.input_value("#number-steps") == "7", "it is applied after a reload")
    page.get_by_role("button", name="Rename <b>Mine</b>").click()
    page.keyboard.type("Quick")
    page.keyboard.press("Enter")
    until(lambda: page.get_by_role("button", name="Quick", exact=True).count() == 1, "the new name")
    page.get_by_role("button", name="Delete Quick").click()
    toast(visit, "Quick is deleted")
    assert page.get_by_role("button", name="Quick", exact=True).count() == 0
    page.locator(".toast", has_text="Quick is deleted").get_by_role("button").click()
    until(lambda: page.get_by_role("button", name="Quick", exact=True).count() == 1, "it is back")
    assert visit.server.client.get("/api/jobs?view=active").json()["jobs"] == []
    page.click("#recommended")


def test_any_audio_becomes_the_source_and_what_is_none_is_told(visit: Visit) -> None:
    page = visit.page
    page.set_input_files(
        "#bring-in-file", files=[{"name": "theme.ogg", "mimeType": "audio/ogg", "buffer": sound("OGG")}]
    )
    toast(visit, "start from theme.ogg")
    assert "theme.ogg" in page.inner_text("#source-name")
    page.fill("#field-source-strength", "0.4")
    visit.quick(steps=1)
    source = asked(visit)["source"]
    assert re.fullmatch("[0-9a-f]{16}", source["upload"]) and source["strength"] == 0.4 and "label" not in source
    visit.open()
    assert "theme.ogg" in page.text_content("#source-name"), "remembered"
    page.locator("#changed button", has_text="Source theme.ogg").click()
    assert asked(visit)["source"] is None
    drop(visit, "notes.txt", b"no audio at all\n" * 99)
    toast(visit, "notes.txt is no audio")


def test_a_grid_forms_on_its_sheet_and_plays_from_there(visit: Visit) -> None:
    page = visit.page
    visit.quick(seconds=1, steps=2, seed=3)
    page.click("#grid-open")
    page.fill("#grid-values-0", "1, 2")
    page.fill("#grid-values-1", "3, 4")
    assert page.inner_text("#grid-count").startswith("4 clips")
    page.fill("#grid-values-0", "1, -2")
    page.click("#grid-go")
    until(lambda: "greater than or equal to 0" in page.inner_text("#error-axes"), "what is wrong")
    page.fill("#grid-values-0", "1, 2")
    page.click("#grid-go")
    cells = page.locator("#sheet td[data-job]")
    until(lambda: cells.count() == 4, "the sheet")
    assert page.locator("#sheet thead th").all_inner_texts() == ["Seed 3", "Seed 4"]
    until(lambda: page.locator("#sheet .play-button:visible").count() == 4, "its clips", timeout=60)
    page.get_by_role("button", name="Play Guidance 2, Seed 3").click()
    until(lambda: page.locator("#dock").is_visible(), "the player")
    page.click("#sheet-close")
    page.click("#grid-open")
    page.get_by_role("button", name=re.compile("Guidance × Seed, 4 clips")).click()
    until(lambda: page.locator("#sheet .play-button:visible").count() == 4, "found again")


def test_a_clip_is_taken_home_in_another_format(visit: Visit) -> None:
    page, server = visit.page, visit.server
    job_id = server.submit(seed=9, loop=True)
    server.wait(job_id, "done")
    page.locator(f".card[data-key^='{job_id}'] .export").click()
    page.select_option("#take-home-format", "ogg")
    page.select_option("#take-home-loudness", "-23")
    assert page.locator("#take-home-loop").is_checked()
    with page.expect_download(timeout=60_000) as download:
        page.click("#take-home-go")
    assert download.value.suggested_filename.endswith(".ogg")
    info = soundfile.info(download.value.path())
    assert info.format == "OGG" and info.frames == 64000
    jobs = server.client.get("/api/jobs?limit=2").json()["jobs"]
    page.evaluate("jobs => document.dispatchEvent(new CustomEvent('take-home', {detail: jobs}))", jobs)
    assert "2 clips, as one zip" in page.inner_text("#take-home-what")
    assert "ids=" in page.get_attribute("#take-home-go", "href")


def test_solo_gives_back_what_was_there_and_survives_a_reload(visit: Visit) -> None:
    page = visit.page
    values = lambda: [fader.input_value() for fader in page.locator(".fader").all()]  # noqa: E731
    page.click("#mix-clear")
    page.locator(".fader").nth(0).fill("0.5")
    before = values()
    page.locator(".solo").nth(2).click()
    assert page.get_attribute("#mix-bar", "aria-label") == "The mix: Sky Ruins 100 percent"
    visit.open()
    assert page.locator(".fader").nth(0).input_value() == "0.5", "the rest of the mix is not lost"
    assert page.get_attribute("#mix-bar", "aria-label") == "The mix: Sky Ruins 100 percent"
    page.locator(".solo").nth(2).click()
    assert values() == before


def test_esc_in_a_field_cancels_nothing_and_a_cancelled_clip_can_be_had_after_all(visit: Visit) -> None:
    page, server = visit.page, visit.server
    job = server.submit(steps=200)
    page.locator(".forming").wait_for()
    page.focus("#number-steps")
    page.keyboard.press("Escape")
    page.focus("#preset-name") if page.locator("#preset-name").is_visible() else page.focus("#seed")
    page.keyboard.press("Escape")
    assert server.job(job)["status"] == "running"
    page.locator("#stage").focus()
    page.keyboard.press("Escape")
    server.wait(job, "cancelled")
    page.get_by_role("button", name="Make it after all").click()
    server.wait(job, "running", "queued")
    server.client.delete(f"/api/jobs/{job}")
    server.wait(job, "cancelled")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_low_and_narrow_windows_are_not_covered_and_the_estimate_is_readable(visit: Visit, scheme: str) -> None:
    page, server = visit.page, visit.server
    if not visit.cards():
        server.wait(server.submit(), "done")
        until(lambda: visit.cards(), "the card")
    page.emulate_media(color_scheme=scheme)
    page.locator(".card-play").first.click()
    page.locator("#dock").wait_for()
    for width, height in ((640, 400), (320, 200)):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("scrollTo(0, 600)")
        covered = page.evaluate(
            """() => [...document.querySelectorAll('.launch, .dock, .instrument')]
                .filter((e) => ['fixed', 'sticky'].includes(getComputedStyle(e).position))
                .reduce((sum, e) => sum + e.getBoundingClientRect().height, 0) / innerHeight"""
        )
        assert covered < 0.2, f"{covered:.0%} of {width} x {height}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        slider = page.locator(".fader").nth(1)
        slider.scroll_into_view_if_needed()
        slider.click()  # nothing lies over it
    page.set_viewport_size({"width": 850, "height": 800})
    assert _contrast(page, "#estimate") > 4.5 and _contrast(page, ".play-new") > 4.5


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (640, 400), (360, 740), (320, 256)])
def test_what_has_the_focus_is_not_behind_the_player_or_generate(visit: Visit, width: int, height: int) -> None:
    page, server = visit.page, visit.server
    if len(visit.cards()) < 2:
        server.wait(server.submit(), "done")
        server.wait(server.submit(), "done")
    until(lambda: len(visit.cards()) >= 2, "the cards")
    # The player with its second row. Named, as scrolling to one card draws others in front of it.
    drawn = page.locator(".card .compare").evaluate_all("buttons => buttons.map((button) => button.dataset.id)")
    for clip in drawn[:2]:
        page.click(f'.card .compare[data-id="{clip}"]')
    page.locator("#compare [data-id]").nth(1).wait_for()
    page.set_viewport_size({"width": width, "height": height})
    covered = page.evaluate(
        """() => [...document.querySelectorAll('#desk :is(a, button, input, select, summary, [tabindex="0"])')]
            .filter((each) => each.checkVisibility() && !each.disabled)
            .filter((each) => {
                each.focus();
                const { left, top, width, height } = each.getBoundingClientRect();
                const seen = document.elementFromPoint(left + width / 2, top + height / 2);
                return !seen || (seen.closest('.dock, .launch') && !each.closest('.launch'));
            })
            .map((each) => each.id || each.ariaLabel || each.className)"""
    )
    is_in_sight = page.evaluate(
        """() => document.querySelector('#compare .icon-button').getBoundingClientRect().right
            <= document.getElementById('compare').getBoundingClientRect().right"""
    )
    page.set_viewport_size({"width": 1280, "height": 800})
    page.click("#compare .icon-button")
    assert covered == []
    assert is_in_sight, "the way out of the comparison"


def _contrast(page: Any, selector: str) -> float:
    """WCAG's contrast of a text with the colour behind it."""
    colours = page.evaluate(
        """(selector) => { const e = document.querySelector(selector);
            return [getComputedStyle(e).color, getComputedStyle(e.closest('.launch')).backgroundColor] }""",
        selector,
    )
    assert page.inner_text(selector)

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted(map(light, colours))
    return (bright + 0.05) / (dark + 0.05)


def test_1600_games_are_found_by_name_and_what_is_mixed_is_seen(chromium: Any, tmp_path: Path) -> None:
    server = Server(tmp_path, games=[f'The Adventure of the Crystal Kingdom, Part {i} "<i>' for i in range(1600)])
    visit = Visit(chromium, server)
    page = visit.page
    try:
        stops = (
            "document.querySelectorAll('#instrument :is(input, button, select, summary):not([tabindex=\"-1\"])').length"
        )
        assert page.evaluate(stops) < 100 and page.locator(".fader-row").count() == 1
        page.click("#mix-clear")
        page.fill("#mix-search", "part 27")
        assert page.locator("#mix-options [role=option]").count() == 36
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        assert page.get_attribute("#mix-search", "aria-activedescendant") == "mix-option-1"
        page.keyboard.press("Enter")
        page.keyboard.type("kingdom 1599")
        page.keyboard.press("Enter")
        names = page.locator(".game-name").all_inner_texts()
        assert names == [f'The Adventure of the Crystal Kingdom, Part {i} "<i>' for i in (127, 1599)]
        assert page.evaluate(
            "[...document.querySelectorAll('.game-name')].every((n) => n.scrollWidth <= n.clientWidth)"
        )
        assert (
            page.locator(".fader").first.input_value() == "1" and page.locator(".fader").nth(1).input_value() == "0.5"
        )
        page.focus("#mix-search")
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        assert server.client.get("/api/jobs?view=active").json()["jobs"] == [], "Enter in the search asks for no clip"
        page.click("#mix-random")
        assert page.locator(".fader-row:visible").count() == page.locator("#mix-bar .part").count() >= 2
        page.fill("#mix-search", "no such game")
        assert "No game" in page.inner_text("#mix-options")
        page.click("#mix-clear")
        assert page.locator("#none-found").is_visible()
        assert json.loads(page.evaluate("localStorage['dual-diffusion.changes']"))["games"] == {}
        assert visit.complaints == []
    finally:
        visit.close()
        server.close()
