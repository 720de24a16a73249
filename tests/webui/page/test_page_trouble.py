"""What goes wrong on the page is told once and can be tried again; dialogs have the keys for themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.webui.conftest import Server, until
from tests.webui.visit import Visit

pytestmark = pytest.mark.browser
STAGES = ("prepare", "check", "vae", "encode", "unet")


@pytest.fixture(scope="module")
def visit(chromium: Any, page_server: Server) -> Iterator[Visit]:
    for seed in (5, 6):
        page_server.wait(page_server.submit(seed=seed, seconds=1, steps=1), "done", timeout=60)
    visit = Visit(chromium, page_server)
    visit.page.uncheck("#play-new")
    visit.wait_for_cards(2)
    yield visit
    visit.close()


@pytest.fixture(autouse=True)
def no_complaints(visit: Visit) -> Iterator[None]:
    visit.page.evaluate("location.hash = '#play'")
    yield
    visit.page.unroute_all()
    visit.page.evaluate("for (const open of document.querySelectorAll('dialog[open]')) open.close()")
    refused = "Failed to load resource"  # the browser's own line on what a test refuses
    assert [line for line in visit.complaints if refused not in line] == []


def toast(visit: Visit, text: str) -> None:
    until(lambda: visit.page.locator(".toast", has_text=text).count(), f"the notice {text!r}")


def wait_for_route(visit: Visit, routes: list[Any], what: str) -> None:
    """Waits until a handler has kept a route. The browser is asked something: only then are handlers called."""
    until(lambda: visit.page.evaluate("true") and routes, what)


def refusing(message: str, field: str | None = None) -> Callable[[Any], None]:
    return lambda route: route.fulfill(status=409, json={"error": message, "field": field})


def test_behind_a_dialog_no_key_cancels_or_asks_for_a_clip(visit: Visit) -> None:
    page, server = visit.page, visit.server
    job = server.submit(steps=400)
    page.locator(".forming").wait_for()
    for opener in (".card .export >> nth=0", "#grid-open", "#model-line", "#help-button"):
        page.click(opener)
        page.locator("dialog[open]").wait_for()
        page.locator("dialog[open] button").last.focus()
        page.keyboard.press("Control+Enter")
        page.keyboard.press("Escape")
        until(lambda: not page.locator("dialog[open]").count(), "Esc closes it")
    assert [each["id"] for each in server.client.get("/api/jobs?view=active").json()["jobs"]] == [job]
    assert server.job(job)["status"] == "running"
    server.client.delete(f"/api/jobs/{job}")
    server.wait(job, "cancelled")


def test_the_way_to_the_results_leaves_the_editor_and_the_view_as_they_are(visit: Visit) -> None:
    page = visit.page
    page.locator(".card .edit").first.click()
    page.locator("#editor").wait_for()
    address = page.url
    for target in ("stage", "learn"):
        page.locator(".skip").focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == target and page.url == address
        assert page.locator("#editor").is_visible() == (target == "stage")
        page.evaluate("location.hash = '#learn'")
        page.locator("#learn .generators").wait_for(state="attached")
        address = page.url


def test_keyboards_that_type_brackets_with_altgr_mark_regions_too(visit: Visit) -> None:
    page = visit.page
    page.locator(".card .edit").first.click()
    page.locator("#editor").wait_for()
    page.click("[data-tool=anew]")
    type_bracket = """([key, how]) => document.querySelector('.head').dispatchEvent(
        new KeyboardEvent('keydown', { key, bubbles: true, ...how }))"""
    for how, regions in (
        ({"ctrlKey": True}, 0),  # a command of the browser
        ({"ctrlKey": True, "altKey": True, "modifierAltGraph": True}, 1),
    ):
        page.evaluate(type_bracket, ["[", how])
        assert page.locator(".region-row").count() == regions
    page.locator(".region-row button").click()
    page.evaluate(type_bracket, ["[", {"altKey": True}])
    assert page.locator(".region-row").count() == 1


def test_a_region_is_added_at_the_end_too_and_its_fields_keep_the_focus(visit: Visit) -> None:
    page = visit.page
    page.locator(".card .edit").first.click()
    page.locator("#editor").wait_for()
    page.click("[data-tool=anew]")
    for button in page.locator(".region-row button").all():
        button.click()
    until(lambda: page.locator("#dock").get_attribute("aria-busy") == "false", "it is decoded")
    page.locator(".head").press("End")
    until(lambda: page.locator(".head").get_attribute("aria-valuenow") == "1.00", "the playhead is at the end")
    page.get_by_role("button", name="Add a region here").click()
    fields = page.locator(".region-row input")
    assert [field.input_value() for field in fields.all()] == ["0.75", "1.00"]
    fields.first.fill("-5")
    page.keyboard.press("Tab")
    assert fields.first.input_value() == "0.00"
    assert page.evaluate("document.activeElement.ariaLabel") == fields.nth(1).get_attribute("aria-label")
    page.get_by_role("button", name="Add a region here").click()
    toast(visit, "no room for a region here")
    assert fields.count() == 2


def test_a_waveform_and_a_clip_that_could_not_be_read_are_read_again(visit: Visit) -> None:
    page = visit.page
    job = visit.server.client.get("/api/jobs").json()["jobs"][-1]
    script = """async (job) => {
        const { peaksOf } = await import('/static/js/waveform.js');
        const jobs = [{ ...job, id: 'new' }, { ...job, id: 'none', peaks: null }];
        const read = await Promise.all(jobs.map(peaksOf));
        return read.map(({ peaks }) => peaks.length);
    }"""
    page.route("**/peaks", lambda route: route.abort())
    page.route("**/audio", lambda route: route.abort())
    assert page.evaluate(script, job) == [2, 2], "a flat line"
    page.locator(".card-picture").last.click(position={"x": 200, "y": 110})
    toast(visit, "cannot be played")
    page.unroute_all()
    assert page.evaluate(script, job)[0] > 2
    page.locator(".card-picture").last.click(position={"x": 200, "y": 110})
    until(lambda: page.get_attribute("#dock-wave", "aria-valuemax") == "1.0", "it is read")
    until(lambda: page.get_attribute("#dock-play", "aria-label") == "Pause", "it plays")


def test_a_clip_that_is_queued_is_no_error_although_it_cannot_be_read_at_once(visit: Visit) -> None:
    page = visit.page
    told = page.evaluate(
        """async () => {
            const { Library } = await import('/static/js/library.js');
            const library = new Library();
            await library.expect('0123456789abcdef');
            return [library.get('0123456789abcdef') ?? null, library.active().length];
        }"""
    )
    assert told == [None, 0]


def test_two_clicks_ask_for_one_grid(visit: Visit) -> None:
    page = visit.page
    asked: list[Any] = []
    page.route("**/api/grids", lambda route: route.fallback() if route.request.method == "GET" else asked.append(route))
    page.click("#grid-open")
    page.dblclick("#grid-go")
    wait_for_route(visit, asked, "it is asked for")
    page.click("#grid-go", force=True)
    asked[0].fulfill(status=422, json={"error": "axes: no room", "field": "axes"})
    until(lambda: page.inner_text("#error-axes") == "no room", "the answer")
    assert len(asked) == 1


def test_a_grid_of_one_axis_has_it_in_the_rows_as_it_was_asked_for(visit: Visit) -> None:
    page = visit.page
    visit.quick(seconds=0.5, steps=1)
    page.click("#grid-open")
    page.select_option("#grid-key-0", "seed")
    page.fill("#grid-values-0", "3, 4")
    page.select_option("#grid-key-1", "")
    page.click("#grid-go")
    until(lambda: page.locator("#sheet tbody tr").count() == 2, "its rows")
    assert page.locator("#sheet tbody th").all_inner_texts() == ["Seed 3", "Seed 4"]
    until(lambda: page.locator("#sheet .play-button:visible").count() == 2, "its clips", timeout=60)
    page.click("#sheet-close")


def test_more_than_a_zip_holds_are_not_asked_for(visit: Visit) -> None:
    page = visit.page
    page.route("**/api/jobs/ids?**", lambda route: route.fulfill(json={"ids": [f"{i:016x}" for i in range(201)]}))
    page.click("#select")
    page.click("#selected-all")
    until(lambda: page.inner_text("#selected-count") == "201 selected", "all of them")
    page.click("#selected-download")
    toast(visit, "200 clips at most")
    assert not page.locator("#take-home").is_visible()
    page.click("#selected-none")


def test_an_error_of_a_preset_stays_while_a_fader_moves(visit: Visit) -> None:
    page = visit.page
    page.click("#presets summary")
    page.click("#preset-save")
    page.fill("#number-steps", "12")
    assert page.inner_text("#error-preset") == "Give it a name."


def generator(**changes: Any) -> dict[str, Any]:
    """The state of a generator whose training is done."""
    done = {
        "status": "done",
        "fraction": 1,
        "seconds": 2,
        "text": "",
        "left": None,
        "killed": 0,
        "steps": [],
        "ended": 1,
    }
    state: dict[str, Any] = {"name": "mine", "label": "mine", "status": "done", "stage": "unet", "error": None}
    state["stages"] = [{"name": name, **done} for name in STAGES]
    return {**state, "stopping": False, "starting": False, "playable": True, "report": False, **changes}


def learn(visit: Visit, state: dict[str, Any]) -> None:
    """Has the server tell of one generator."""
    page = visit.page
    overview = visit.server.client.get("/api/learn").json()
    told = {**overview, "generators": [state], "roots": [{"root": 0, "name": "music"}]}
    page.route("**/api/learn", lambda route: route.fulfill(json=told))
    page.route("**/api/learn/generators/mine", lambda route: route.fulfill(json=state))
    page.route("**/api/learn/generators/mine/curves", lambda route: route.fulfill(json={}))
    page.route("**/api/learn/generators/mine/demos", lambda route: route.fulfill(json={}))


def test_the_command_that_plays_and_what_an_action_was_refused_stay_until_the_next_action(visit: Visit) -> None:
    page = visit.page
    learn(visit, generator())
    page.route("**/mine/play", lambda route: route.fulfill(json={"opened": False, "command": "python -m webui x"}))
    page.route("**/mine/prepare", refusing("Another one is at work."))
    page.route("**/mine/log?**", refusing("The log is damaged."))
    page.evaluate("location.hash = '#learn/mine'")
    page.click("[data-what=play]")
    page.locator("#learn code", has_text="python -m webui x").wait_for()
    again = "dispatchEvent(new Event('hashchange'))"  # asks how far it is, as every few seconds
    with page.expect_response("**/generators/mine"):
        page.evaluate(again)
    assert page.locator("#learn code", has_text="python -m webui x").is_visible()
    page.click("[data-what=prepare]")
    until(lambda: page.inner_text(".generator .field-error") == "Another one is at work.", "the refusal")
    assert not page.locator("#learn code", has_text="python -m webui x").count()
    with page.expect_response("**/generators/mine"):
        page.evaluate(again)
    assert page.inner_text(".generator .field-error") == "Another one is at work."
    page.click(".log-card summary")
    until(lambda: page.inner_text(".log") == "The log is damaged.", "no word is lost")


def test_a_generator_that_cannot_be_prepared_is_shown_and_says_why(visit: Visit) -> None:
    page = visit.page
    learn(visit, generator())
    listing = {"root": 0, "path": "", "name": "music", "folders": [{"name": "slow", "path": "slow"}], "files": 0}
    held: list[Any] = []

    def folders(route: Any) -> None:
        if "path=slow" in route.request.url and not held:
            held.append(route)
        else:
            route.fulfill(json=listing)

    page.route("**/api/learn/folders?**", folders)
    summary = {"kept": 1, "hours": 1, "games": [], "refused": 0, "reasons": {}, "refused_files": [], "not_audio": 0}
    page.route("**/api/learn/surveys", lambda route: route.fulfill(json={"status": "done", "result": summary}))
    kind = {"name": "tiny", "title": "Tiny", "description": "", "problem": None, "need": 1, "suggested": True}
    presets = {"status": "done", "device": "cpu", "name": "", "room": 1, "presets": [kind]}
    page.route("**/api/learn/presets", lambda route: route.fulfill(json=presets))
    page.route("**/api/learn/generators", lambda route: route.fulfill(status=201, json=generator()))
    page.route("**/mine/prepare", refusing("The disk is full."))
    page.evaluate("location.hash = '#learn'")
    page.locator(".folder", has_text="slow").click()
    wait_for_route(visit, held, "it is slow")
    page.locator(".crumb").first.click()  # back, before the answer
    page.locator("#learn-look").wait_for()
    with page.expect_response("**/api/learn/folders?**path=slow"):
        held[0].fulfill(json={**listing, "path": "slow", "name": "slow", "folders": []})
    assert page.locator(".crumb").count() == 1, "the newest question counts"
    page.click("#learn-look")
    page.locator(".survey .total").wait_for()
    page.fill("#learn-name", "mine")
    page.click("#learn-prepare")
    toast(visit, "The disk is full.")
    page.locator(".generator h2", has_text="mine").wait_for()
