"""The editor in a real browser with a real, tiny model: regions, ends, loops, and the tree of versions."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import soundfile
from numpy import array_equal, ndarray

from tests import tiny
from tests.webui.conftest import until
from tests.webui.models.test_real_model import RealServer, made
from tests.webui.visit import Visit

pytestmark = pytest.mark.browser

RATE = tiny.SAMPLE_RATE


class Editing(Visit):
    """A visit with a clip of one second in the editor."""

    def edit(self, job_id: str) -> None:
        self.page.goto(f"{self.server.url}/#edit={job_id}")
        self.page.reload()
        until(
            lambda: self.page.locator(f'.version[aria-current][data-id="{job_id}"]').count(), "it is open", timeout=60
        )
        until(lambda: self.page.locator("#dock").get_attribute("aria-busy") == "false", "it is decoded", timeout=30)

    def drag(self, start: float, end: float) -> None:
        """From one share of the timeline's width to another."""
        box = self.page.locator(".timeline-view").bounding_box()
        x, y = (lambda share: box["x"] + share * box["width"]), box["y"] + 30
        self.page.mouse.move(x(start), y)
        self.page.mouse.down()
        self.page.mouse.move(x((start + end) / 2), y)
        self.page.mouse.move(x(end), y)
        self.page.mouse.up()

    def make(self) -> dict[str, Any]:
        """Presses the button and waits for the version, which the editor then shows."""
        before = set(self.versions())
        self.page.click(".editor-make")
        until(lambda: "ready" in self.page.inner_text(".editor-status"), "the result", timeout=60)
        until(lambda: self.shown() not in before, "the new version is shown")
        return self.server.job(self.shown())

    def shown(self) -> str:
        return self.page.locator(".version[aria-current]").get_attribute("data-id")

    def versions(self) -> list[str]:
        return [button.get_attribute("data-id") for button in self.page.locator(".version").all()]

    def samples(self, job: dict[str, Any]) -> ndarray:
        return soundfile.read(io.BytesIO(self.server.client.get(job["audio"]).content), dtype="int16")[0]


@pytest.fixture(scope="module")
def first(real_editing: RealServer) -> dict[str, Any]:
    return made(real_editing)[0]


@pytest.fixture(scope="module")
def real_editing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    server = RealServer(tmp_path_factory.mktemp("editing"))
    server.url = f"http://127.0.0.1:{server.port}"
    yield server
    server.close()


@pytest.fixture(scope="module")
def visit(chromium: Any, real_editing: RealServer, first: dict[str, Any]) -> Iterator[Editing]:
    visit = Editing(chromium, real_editing)
    visit.page.uncheck("#play-new")
    yield visit
    visit.close()
    assert visit.complaints == []


def test_regions_that_are_dragged_are_made_anew_and_the_rest_stays_to_the_sample(
    visit: Editing, first: dict[str, Any]
) -> None:
    page = visit.page
    page.locator(".card .edit").first.click()
    page.locator("#editor").wait_for()
    until(lambda: page.locator("#dock").get_attribute("aria-busy") == "false", "it is decoded", timeout=30)
    page.click(".editor-make")
    assert "Drag over" in page.inner_text("#editor .field-error"), "nothing is asked for without a region"
    visit.drag(0.2, 0.4)
    visit.drag(0.9, 0.75)
    visit.drag(0.5, 0.95)  # ends where the next one begins
    regions = page.locator(".region-row")
    assert regions.count() == 3
    regions.nth(1).get_by_role("button").click()
    handle = page.get_by_role("slider", name="End of region 1")
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(0.41, abs=0.006)

    child = visit.make()
    inpaint = child["request"]["inpaint"]
    assert child["parent"] == first["id"] and child["request"]["source"]["job"] == first["id"]
    assert [edge for region in inpaint for edge in region] == pytest.approx([0.2, 0.41, 0.75, 0.9], abs=0.01)
    old, new = visit.samples(first), visit.samples(child)
    fade = 0.018  # seconds of cross-fade, and a sample for rounding
    (start, end), (second_start, second_end) = inpaint
    for kept in ((0, start - fade), (end + fade, second_start - fade), (second_end + fade, 1)):
        at = slice(round(kept[0] * RATE), round(kept[1] * RATE))
        assert array_equal(new[at], old[at])
    assert not array_equal(new[round(0.25 * RATE) : round(0.35 * RATE)], old[round(0.25 * RATE) : round(0.35 * RATE)])


def test_versions_are_a_tree_that_is_walked_back_and_is_there_after_a_reload(
    visit: Editing, first: dict[str, Any]
) -> None:
    page = visit.page
    child = visit.shown()
    page.get_by_role("button", name="Back to the version before").click()
    until(lambda: visit.shown() == first["id"], "the first version")
    page.go_back()
    until(lambda: visit.shown() == child, "the browser's Back knows the way, too")
    page.reload()
    until(lambda: page.locator(".version").count() == 2, "the tree is back")
    assert visit.shown() == child and visit.versions() == [first["id"], child]
    assert page.locator("ul ul .version").get_attribute("data-id") == child, "it stands below what it came from"
    assert "anew 0.2" in page.locator("ul ul .version").inner_text()


def test_an_end_that_is_drawn_out_is_made_and_both_versions_are_compared(visit: Editing, first: dict[str, Any]) -> None:
    page = visit.page
    visit.edit(first["id"])
    page.click("[data-tool=extend]")
    # A margin of a second lies on either side: the clip ends at two thirds.
    visit.drag(2 / 3, 2 / 3 + 0.15)
    after = float(page.get_by_label("Seconds after").input_value())
    assert after == pytest.approx(0.45, abs=0.03)
    page.get_by_label("Seconds before").fill("0.25")
    page.keyboard.press("Tab")
    child = visit.make()
    assert child["request"]["extend_before"] == 0.25 and child["request"]["extend_after"] == pytest.approx(
        after, abs=0.01
    )
    old, new = visit.samples(first), visit.samples(child)
    assert len(new) == pytest.approx(RATE * (1.25 + after), abs=RATE * 0.01)
    edge = round(0.018 * RATE)
    assert array_equal(new[RATE // 4 :][:RATE][edge:-edge], old[edge:-edge])
    chips = page.locator("#compare [data-id]")
    assert [chip.get_attribute("data-id") for chip in chips.all()] == [first["id"], child["id"]]
    for key, job in (("1", first), ("2", child)):
        page.locator("#editor-heading").focus()
        page.keyboard.press(key)
        until(
            lambda j=job: page.locator(f'#compare [data-id="{j["id"]}"]').get_attribute("aria-pressed") == "true", key
        )


def test_a_loop_shows_its_seam_and_repeats(visit: Editing, first: dict[str, Any]) -> None:
    page = visit.page
    visit.edit(first["id"])
    page.click("[data-tool=loop]")
    assert "was not made as a loop" in page.inner_text(".seam-row")
    child = visit.make()
    assert child["request"]["loop"] and child["request"]["seed"] == first["request"]["seed"]
    assert child["request"]["seconds"] == 1 and child["parent"] == first["id"]
    until(lambda: "seam" in page.inner_text(".seam-row"), "the seam is measured")
    assert "was not made" not in page.inner_text(".seam-row")
    assert page.get_by_role("button", name="Repeat").get_attribute("aria-pressed") == "true"
    page.evaluate(
        """() => {
            window.places = [];
            const slider = document.getElementById('dock-wave');
            const note = () => window.places.push(Number(slider.getAttribute('aria-valuenow')));
            new MutationObserver(note).observe(slider, { attributes: true });
        }"""
    )
    page.get_by_role("button", name="Hear the seam").click()
    turns = "() => window.places.filter((place, i) => i && place < window.places[i - 1] - 0.5).length"
    until(lambda: page.evaluate(turns) >= 2, "it has gone round twice", timeout=30)
    assert page.locator("#dock-play").get_attribute("aria-label") == "Pause"
    page.locator("#dock-play").click()


def test_four_variations_come_at_once_and_fill_the_keys(visit: Editing, first: dict[str, Any]) -> None:
    page = visit.page
    visit.edit(first["id"])
    page.click("[data-tool=vary]")
    page.get_by_role("slider", name="Distance").fill("0.3")
    visit.make()
    chips = page.locator("#compare [data-id]")
    assert chips.count() == 4
    jobs = [visit.server.job(chip.get_attribute("data-id")) for chip in chips.all()]
    assert {job["request"]["variation_strength"] for job in jobs} == {0.3}
    assert len({job["request"]["variation_seed"] for job in jobs}) == 4
    assert {(job["parent"], job["request"]["seed"]) for job in jobs} == {(first["id"], first["request"]["seed"])}


def test_reshaping_and_a_mix_over_time_take_what_is_set_on_the_left(visit: Editing, first: dict[str, Any]) -> None:
    page = visit.page
    visit.edit(first["id"])
    visit.quick(seconds=7, steps=2)
    page.click("[data-tool=reshape]")
    page.get_by_role("slider", name="Change").fill("0.5")
    page.get_by_role("button", name="of the instrument", exact=True).click()
    request = visit.make()["request"]
    assert request["games"] == {"Castle": 1} and request["steps"] == 2 and request["seconds"] == 1
    assert request["source"]["job"] == first["id"] and request["source"]["strength"] == 0.5

    visit.edit(first["id"])
    page.click("[data-tool=mix]")
    page.locator(".fader").nth(0).fill("0")
    page.locator(".fader").nth(2).fill("1")
    page.get_by_role("button", name="and ends as: Take the mix of the instrument").click()
    request = visit.make()["request"]
    assert request["games"] == first["request"]["games"] and request["games_end"] == {"Circuit": 1}


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_editor_fits_narrow_screens_and_all_of_it_has_names(
    chromium: Any, real_editing: RealServer, first: dict[str, Any], scheme: str
) -> None:
    visit = Editing(chromium, real_editing, color_scheme=scheme)
    page = visit.page
    page.set_viewport_size({"width": 360, "height": 740})
    visit.edit(first["id"])
    page.get_by_role("button", name="Add a region here").click()
    for tool, width in product(page.locator("[data-tool]").all(), (360, 320)):  # the second one at 400 %
        page.set_viewport_size({"width": width, "height": 740})
        tool.click()
        assert page.evaluate("document.documentElement.scrollWidth") == width, tool.inner_text()
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('#editor :is(button, input, canvas[role], [role=slider], a)')]
                .filter((control) => !(control.ariaLabel || control.textContent.trim() || control.labels?.length))
                .map((control) => control.outerHTML)"""
        )
        assert nameless == []
    visit.close()
    assert visit.complaints == []
