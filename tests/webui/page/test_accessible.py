"""Each view can be read and used by everyone: names, contrast, ids, pictures, and the Tab key (WCAG 2.1, AA)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.webui.conftest import until
from tests.webui.learn.studio_server import NEW, StudioServer
from tests.webui.visit import Visit

pytestmark = pytest.mark.browser
CONTROLS = {
    *("button", "link", "textbox", "searchbox", "spinbutton", "slider", "checkbox", "radio", "switch", "combobox"),
    *("listbox", "option", "progressbar", "dialog", "image", "Audio", "navigation", "region"),
}
# How to get to each view from the one before.
VIEWS = {
    "play": "",
    "presets and everything": "for (const each of document.querySelectorAll('#instrument details')) each.open = true",
    "editor": "document.querySelector('.card .edit').click()",
    "help": "document.getElementById('help-button').click()",
    "grid": "document.getElementById('grid-open').click()",
    "take home": "document.querySelector('.card .export').click()",
    "models": "document.getElementById('model-line').click()",
    "selection": "document.getElementById('select').click()",
    "new generator": "location.hash = '#learn'",
    "generator": "location.hash = '#learn/mine'",
}
PROBE = (Path(__file__).parent / "accessibility.js").read_text()


@pytest.fixture(scope="module")
def visit(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    studio = StudioServer(tmp_path_factory.mktemp("studio"))
    studio.wait(studio.submit(seconds=1, steps=1), "done", timeout=60)
    studio.wait(studio.submit(seconds=1, steps=1, games={"Castle": 0.5, "Cave": -0.5}), "done", timeout=60)
    assert studio.client.post("/api/learn/generators", json=NEW).is_success
    assert studio.client.patch("/api/learn/generators/mine", json={"label": "Castles and caves"}).is_success
    visit = Visit(chromium, studio)
    visit.wait_for_cards(2)
    visit.page.evaluate(f"void (window.probe = {PROBE})")
    yield visit
    visit.close()
    studio.close()


def go(page: Any, view: str) -> None:
    page.evaluate("for (const open of document.querySelectorAll('dialog[open]')) open.close()")
    page.evaluate(f"() => {{ {VIEWS[view]} }}")
    page.wait_for_load_state("networkidle")


def names(visit: Visit) -> list[str]:
    """Controls of the accessibility tree that have no name."""
    nodes = visit.context.new_cdp_session(visit.page).send("Accessibility.getFullAXTree")["nodes"]
    seen = [node for node in nodes if not node["ignored"] and node["role"]["value"] in CONTROLS]
    assert len(seen) > 2
    return [f"no name: {node['role']['value']}" for node in seen if not node.get("name", {}).get("value", "").strip()]


def test_all_has_a_name_and_can_be_read_in_the_dark_and_in_the_light(visit: Visit) -> None:
    page = visit.page
    faults: dict[str, list[str]] = {}
    for view in VIEWS:
        go(page, view)
        faults[view] = [*names(visit), *page.evaluate("probe.attributes()")]
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            faults[view] += [f"{scheme}: {fault}" for fault in page.evaluate("probe.contrast()")]
    assert {view: found for view, found in faults.items() if found} == {}


def test_forced_colours_leave_faders_pictures_and_what_is_pressed(visit: Visit) -> None:
    page = visit.page
    page.emulate_media(forced_colors="active")
    go(page, "editor")
    page.locator(".timeline-view").wait_for()
    style = "(selector, name) => getComputedStyle(document.querySelector(selector))[name]"
    page.evaluate(f"void (window.styleOf = {style})")
    for drawn in (".fader", ".timeline-view", ".card-picture", ".mix-bar", "#volume"):
        assert page.evaluate("(it) => styleOf(it, 'forcedColorAdjust')", drawn) == "none", drawn
    for one, other in (("[data-tool=anew]", "[data-tool=extend]"), ("[data-view=all]", "[data-view=bin]")):
        colours = {page.evaluate("(it) => styleOf(it, 'backgroundColor')", each) for each in (one, other)}
        assert len(colours) == 2, one
    page.emulate_media(forced_colors="none")


def test_what_is_replaced_or_goes_leaves_its_focus_to_what_comes_after_it(visit: Visit) -> None:
    page = visit.page

    def focused() -> str:
        """The name of what has the focus; empty where nothing has."""
        active = "({ activeElement: e }) => e === document.body ? '' : e.ariaLabel || e.id || e.textContent"
        return page.evaluate(f"({active})(document)")

    def press(selector: str, seen: str, heir: str = "", key: str = "Enter") -> None:
        """Presses a control by its key, waits for what it does, and for the control that has the focus then: one whose
        name begins so, or any."""
        page.locator(selector).first.press(key)
        page.locator(seen).first.wait_for()
        until(lambda: (name := focused()) and name.startswith(heir), f"{heir or 'something'} has the focus: {selector}")

    page.evaluate("location.hash = '#play'")
    go(page, "play")
    press(".card .bin", ".toast button", "Delete (to the bin)")  # of the next clip
    press(".toast button", ".card >> nth=1", "Results")
    press(".card .compare", "#compare .icon-button")
    press("#compare .icon-button", "#dock:not(:has(#compare:not([hidden])))", "Play")
    page.evaluate("document.getElementById('presets').open = true")
    page.fill("#preset-name", "Mine")
    press("#preset-name", ".preset .rename")
    press(".preset .rename", ".preset .text-input")
    press(".preset .text-input", ".preset .rename", "Rename Mine", key="Escape")
    press(".preset .bin", ".preset-list:not(:has(.bin))")
    press("#model-line", ".model-item >> nth=1")
    press(".model-item >> nth=1", ".model-item[aria-current=true] >> text=chiptune", "chiptune")
    page.keyboard.press("Escape")
    page.evaluate("document.querySelector('.card .edit').click()")
    page.locator("#editor").wait_for()  # a key that is pressed on what is hidden is lost
    until(lambda: page.locator("#dock").get_attribute("aria-busy") == "false", "the clip is decoded")
    page.locator("[data-tool=anew]").press("Enter")
    press(".tool-pane > .chip", ".region-row", "Add a region here")
    press(".region-row button", ".tool-pane:not(:has(.region-row))", "Add a region here")
    page.evaluate("location.hash = '#learn'")
    press(".folder:has-text('snes')", ".crumb:has-text('snes')", "snes")


@pytest.mark.slow
def test_the_tab_key_reaches_everything(visit: Visit) -> None:
    page = visit.page
    for view in ("play", "editor", "models"):
        page.evaluate("location.hash = '#play'")
        go(page, view)
        count = until(lambda: (found := page.evaluate("probe.watchStops()")) > 3 and found, f"{view} is drawn")
        left = "[...window.stops].filter((each) => each.isConnected).map((each) => each.outerHTML.slice(0, 120))"
        for press in range(2 * count):  # players and what scrolls have stops of their own
            page.keyboard.press("Tab")
            if press >= count - 1 and not page.evaluate(left):
                break
        assert page.evaluate(left) == [], view
