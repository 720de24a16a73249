"""A long history in the browser: it holds what is seen, and is searched, noted, starred, binned and emptied."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.webui.conftest import Server, until
from tests.webui.many import fill
from tests.webui.visit import Visit

pytestmark = pytest.mark.browser
COUNT = 10_000


@pytest.fixture(scope="module")
def long_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with 10,000 clips."""
    folder = tmp_path_factory.mktemp("long")
    fill(folder / "outputs", COUNT)
    server = Server(folder)
    yield server
    server.close()


@pytest.fixture
def visit(chromium: Any, long_server: Server) -> Iterator[Visit]:
    visit = Visit(chromium, long_server)
    yield visit
    visit.close()
    assert visit.complaints == []


def seeds(visit: Visit) -> list[int]:
    """Of the cards that are drawn."""
    words = visit.page.locator(".card-meta").all_inner_texts()
    return [int(text.split("seed ")[1].split()[0].rstrip("·")) for text in words]


def count(visit: Visit) -> str:
    return visit.page.inner_text("#history-count")


def test_of_ten_thousand_clips_the_page_holds_those_that_are_seen(visit: Visit) -> None:
    page = visit.page
    until(lambda: count(visit) == "10,000 clips", "the number")
    until(lambda: seeds(visit)[:3] == [9999, 9998, 9997], "the newest")
    until(lambda: page.locator(".spectrogram").first.evaluate("i => i.naturalWidth > 0"), "a picture")
    assert page.locator(".card").count() < 40
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    until(lambda: seeds(visit)[-1:] == [0], "the oldest")
    assert page.locator(".card").count() < 40
    assert page.locator(".card").last.get_attribute("aria-posinset") == "10000"
    page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    until(lambda: any(4500 < seed < 5500 for seed in seeds(visit)), "the middle")
    page.evaluate("scrollTo(0, 0)")
    until(lambda: seeds(visit)[:1] == [9999], "the newest again")


def test_an_event_costs_what_is_seen_and_not_what_there_is(visit: Visit) -> None:
    until(lambda: seeds(visit)[:1] == [9999], "the newest")
    visit.page.wait_for_load_state("networkidle")  # pictures and peaks of what is seen have come
    changes = visit.page.evaluate_handle(
        """() => { const seen = [];
          new MutationObserver((records) => seen.push(...records)).observe(document.getElementById('history'),
            {subtree: true, childList: true, characterData: true});
          return seen; }"""
    )
    job = visit.server.client.get("/api/jobs?limit=1").json()["jobs"][0]
    visit.server.client.patch(f"/api/jobs/{job['id']}", json={"title": "Renamed elsewhere"})
    until(lambda: visit.cards()[:1] == ["Renamed elsewhere"], "the event")
    assert visit.page.locator(".card").count() < 40 and changes.evaluate("seen => seen.length") < 5
    visit.server.client.patch(f"/api/jobs/{job['id']}", json={"title": ""})


def test_words_a_game_and_a_view_narrow_it_down(visit: Visit) -> None:
    page = visit.page
    page.fill("#history-search", "moss 77")
    until(lambda: count(visit) not in ("", "10,000 clips"), "fewer")
    assert seeds(visit) and all("77" in str(seed) for seed in seeds(visit))
    page.fill("#history-search", "")
    page.select_option("#history-game", "Clockwork")
    until(lambda: count(visit) not in ("", "10,000 clips") and "Clockwork" in "".join(visit.cards()[:1]), "of one game")
    page.fill("#history-search", "no such thing")
    until(lambda: "Nothing is found" in page.inner_text("#history-empty"), "that nothing is found")
    page.fill("#number-seconds", "1")
    page.fill("#number-steps", "1")
    page.uncheck("#play-new")
    page.click("#generate")  # the new clip is seen, whatever was searched for
    until(lambda: count(visit) == "10,001 clips" and visit.cards()[:1] == ["Castle"], "what was asked for")
    assert page.input_value("#history-search") == "" and page.input_value("#history-game") == ""
    newest = visit.server.client.get("/api/jobs?limit=1").json()["jobs"][0]["id"]
    for action in ("bin", "delete"):
        visit.server.client.post("/api/history/batch", json={"ids": [newest], "action": action})
    until(lambda: count(visit) == "10,000 clips", "the removal elsewhere is seen")


def test_notes_are_kept_shown_as_text_and_found(visit: Visit) -> None:
    page = visit.page
    page.locator(".card .note").nth(1).click()
    page.fill("#note-text", "<b>the bridge</b>\nis good")
    page.keyboard.press("Escape")  # gives up, and cancels no clip
    assert page.locator(".card-notes").nth(1).inner_text() == ""
    page.locator(".card .note").nth(1).click()
    page.fill("#note-text", "<b>the bridge</b>\nis good")
    page.get_by_role("button", name="Keep", exact=True).last.click()
    until(lambda: "<b>the bridge</b>" in page.locator(".card-notes").nth(1).text_content(), "the note")
    page.fill("#history-search", "BRIDGE")
    until(lambda: count(visit) == "1 clip", "it is found")


def test_many_are_selected_starred_binned_and_deleted_for_good(visit: Visit) -> None:
    page = visit.page
    until(lambda: count(visit) == "10,000 clips", "the list")
    page.click("#select")
    page.locator(".choose").nth(0).click()
    page.locator(".choose").nth(3).click(modifiers=["Shift"])
    assert page.inner_text("#selected-count") == "4 selected"
    page.click("#selected-star")
    until(lambda: page.locator(".star[aria-pressed=true]").count() == 4, "the stars")
    page.click("#selected-bin")
    until(lambda: count(visit) == "9,996 clips", "they are gone")
    page.click(".toast >> text=Undo")
    until(lambda: count(visit) == "10,000 clips", "they are back")
    page.click("[data-view=starred]")
    until(lambda: count(visit) == "4 clips", "they have their stars")
    page.click("#selected-all")
    until(lambda: page.inner_text("#selected-count") == "4 selected", "all of them")
    page.click("#selected-bin")
    until(lambda: "No stars" in page.inner_text("#history-empty"), "none is left")
    page.click("[data-view=bin]")
    until(lambda: count(visit) == "4 clips", "they are in the bin")
    page.click("#empty-bin")
    assert "4 clips" in page.inner_text("#confirm-text")
    page.get_by_role("button", name="Keep", exact=True).first.click()
    assert count(visit) == "4 clips"
    page.click("#empty-bin")
    page.click("#confirm-yes")
    until(lambda: "bin is empty" in page.inner_text("#history-empty"), "they are gone for good")
    assert visit.server.client.get("/api/jobs").json()["total"] == 9_996


def test_a_long_queue_leaves_the_history_in_sight(visit: Visit) -> None:
    page = visit.page
    ids = [visit.server.submit(steps=400) for _ in range(8)]
    until(lambda: page.inner_text("#queue-more") == "and 5 more in the queue", "what waits is counted")
    assert page.locator(".forming").count() == 3
    assert page.locator("#history-search").bounding_box()["y"] < 800
    page.click("#queue-more")
    until(lambda: page.locator(".forming").count() == 8, "all of it")
    page.click("#cancel-all")
    until(lambda: page.locator(".forming").count() == 0, "all is cancelled with one request")
    visit.server.client.post("/api/history/batch", json={"ids": ids, "action": "bin"})
    visit.server.client.delete("/api/history/bin")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_narrow_screens_show_it_whole(chromium: Any, long_server: Server, scheme: str) -> None:
    visit = Visit(chromium, long_server, color_scheme=scheme)
    page = visit.page
    page.set_viewport_size({"width": 360, "height": 740})
    page.click("#select")
    page.locator(".choose").first.check()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    boxes = [box.bounding_box() for box in page.locator(".card").all()[:4]]
    assert all(box["width"] < 345 for box in boxes)
    assert all(low["y"] >= high["y"] + high["height"] for high, low in pairwise(boxes))
    for dialog, opener in (("#models", "#model-line"), ("#note", ".card .note >> nth=0")):
        page.click(opener)
        box = page.locator(dialog).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360
        page.keyboard.press("Escape")
    visit.close()


def test_the_list_is_read_in_a_moment(long_server: Server) -> None:
    for words in ("", "search=moss%2077", "game=Castle", f"offset={COUNT - 100}"):
        answer = long_server.client.get(f"/api/jobs?limit=60&{words}")
        assert answer.elapsed.total_seconds() < 2 and answer.json()["jobs"], words
