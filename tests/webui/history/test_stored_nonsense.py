"""What browser, history and model folder have stored may be nonsense: it is dropped, one thing after another."""

from __future__ import annotations

import json
import sqlite3
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from dualdiffusion.model.folder import ModelFolder
from tests.webui.conftest import Server, until
from tests.webui.page.test_changing_world import BROWSER, Visitor
from webui.history.stored import usable_recommendation
from webui.server import request_options

NONSENSE = [
    "5",
    '"loud"',
    "null",
    "[]",
    "{}",
    "-1",
    "1e999",
    "true",
    "not JSON",
    "",
    '{"a": ',
    "\x00",
    '"' + "x" * 10**6 + '"',
    '{"ema": "' + "x" * 10**6 + '"}',
    '{"__proto__": {"games": 5}, "constructor": 1, "games": {"__proto__": 1}}',
]


READ = """async (values) => {
    const {isRecord, isShare, isSwitch, remembered} = await import('/static/js/storage.js');
    const wrong = [];
    for (const value of values) {
        localStorage.setItem('dual-diffusion.tried', value);
        for (const fits of [isRecord, isShare, isSwitch]) {
            const found = remembered('tried', 'fallback', fits);
            if (found !== 'fallback' && !fits(found)) wrong.push([value.slice(0, 80), fits.name]);
        }
    }
    return wrong;
}"""


@BROWSER
def test_nonsense_in_the_browsers_storage_is_dropped(chromium: Any, empty_server: Server) -> None:
    visit = Visitor(chromium, empty_server)
    assert visit.page.evaluate(READ, NONSENSE) == []
    store = (
        "(values) => Object.entries(values).forEach(([name, v]) => localStorage.setItem(`dual-diffusion.${name}`, v))"
    )
    names = ["changes", "volume", "play-new", "shortcuts", "of-the-future"]
    for first in (0, 2, 4, 6, 9, 11, 13, 14):  # all of them over the names, and all objects as what was changed
        values = {name: NONSENSE[(first + 3 * number) % len(NONSENSE)] for number, name in enumerate(names)}
        visit.page.evaluate(store, values)
        visit.open()
        assert len(visit.faders()) == 6 and visit.weights() == {"Castle": 1}, values
        assert visit.page.input_value("#number-seconds") == "8"
        assert 0 <= float(visit.page.input_value("#volume")) <= 1
    visit.close()
    assert visit.complaints == []


@BROWSER
def test_one_bad_setting_leaves_the_others(chromium: Any, empty_server: Server) -> None:
    visit = Visitor(chromium, empty_server)
    good = {"games": {"Cave": -0.5, "Moss": 0.25}, "seconds": 4, "steps": 12, "seed": 99, "seed-mode": "increment"}
    nonsense = ["x", None, [], {"a": 1}, -1, 1e300, True, "9" * 400, [[[]]], "1e5"]
    fields = ["seconds", "steps", "seed", "seed-mode", "sampler", "sampler_options", "guidance", "rho", "noise", "ema"]
    shown = {"seconds": "#number-seconds", "steps": "#number-steps", "seed": "#seed"}
    mixes = [5, "x", [1], {"Cave": "1", "Moss": 0.25, "Nowhere": 1}, {"Cave": None, "Moss": 0.25}, {"Moss": 1e308}]
    for (field, value), games in zip_longest(zip(fields, nonsense, strict=True), mixes, fillvalue=good["games"]):
        changes = {**good, "games": games, field: value, "unknown": value}
        visit.page.evaluate("c => localStorage.setItem('dual-diffusion.changes', JSON.stringify(c))", changes)
        visit.open()
        for name, selector in shown.items():
            kept = visit.page.input_value(selector)
            assert kept == str(good[name]) if name != field else float(kept) >= 0, (field, value, kept)
        is_usable = isinstance(games, dict) and len(games) > 1
        usable = good["games"] if games is good["games"] else {"Moss": 0.25} if is_usable else {"Castle": 1}
        assert visit.weights() == usable, games
    visit.page.click("#more summary")
    visit.quick(seconds=1)
    visit.page.click("#generate")
    until(lambda: visit.page.locator(".card").count() > 0, "and a clip can be made")
    visit.close()
    assert visit.complaints == []


@BROWSER
@pytest.mark.parametrize(
    "storage",
    [
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError') }})",
        "Object.defineProperty(window, 'localStorage', {value: null})",
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }",
    ],
    ids=["denied", "not there", "full"],
)
def test_a_storage_that_cannot_be_used_is_no_trouble(chromium: Any, empty_server: Server, storage: str) -> None:
    visit = Visitor(chromium, empty_server, before=storage)
    visit.page.fill("#number-seconds", "2")
    visit.page.locator("#volume").evaluate("v => { v.value = 0.5; v.dispatchEvent(new Event('input')) }")
    visit.page.uncheck("#play-new")
    before = len(visit.cards())
    visit.page.click("#generate")
    visit.wait_for_cards(before + 1)
    visit.close()
    assert visit.complaints == []


ROWS: dict[str, list[Any]] = {
    "request": ["", "null", "[1]", "{", '{"games": 5}', '{"games": {"Castle": NaN}, "seconds": 1e999}', b"\xff\x00", 5],
    "position": ["first", 1.5, 2**62, -4],
    "status": ["", "of the future", 5],
    "created": ["yesterday", 9e99, -5.0],
    "finished": ["tomorrow", 9e99, b"x"],
    "title": [5, b"\xff"],
    "file": [5, b"\xff", "../history.sqlite3", "/etc/passwd"],
    "error": [b"\xff", 5],
    "starred": ["yes", 7],
    "binned": ["no"],
    "id": ["../../etc", "", None, 5, "ABCDEF0123456789"],
}


@BROWSER
def test_nonsense_in_the_history_hides_no_clip_and_stops_no_new_one(chromium: Any, own_server: Server) -> None:
    server = own_server
    good = server.wait(server.submit(), "done")
    server.kill()
    database = sqlite3.connect(server.outputs / "history.sqlite3")
    number = 10
    for column, values in ROWS.items():
        for value in values:
            number += 1
            row = {"id": f"{number:016x}", "position": number, "status": "done", "request": "{}", "created": 1.0}
            row |= {column: value}
            names = ", ".join(row)
            database.execute(f"INSERT INTO jobs ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    database.commit()
    database.close()
    (server.outputs / ".webui" / f"{good['id']}.json").write_text('{"seconds": null, "peaks": "none"}')
    (server.outputs / ".webui" / f"{good['id']}.png").write_bytes(b"no picture")
    server.start()

    rows = sum(map(len, ROWS.values()))
    for view in ("all", "bin", "active"):
        text = server.client.get(f"/api/jobs?view={view}&limit=200").text
        jobs = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))["jobs"]
        assert view != "all" or len(jobs) == rows  # one more that is good, one fewer that is in the bin
    visit = Visitor(chromium, server)
    count = visit.page.locator("#history-count")
    until(lambda: count.inner_text() == f"{rows} clips", "the history")
    play = visit.page.locator(".card-play:enabled")
    until(lambda: visit.page.mouse.wheel(0, 400) or play.count(), "the good clip, further down")
    play.first.click()
    until(lambda: float(visit.page.locator("#dock-wave").get_attribute("aria-valuemax")) == 2, "the length")
    visit.page.locator(".reuse").first.click()
    visit.quick()
    visit.page.click("#mix-random")
    visit.page.click("#generate")
    until(lambda: count.inner_text() == f"{rows + 1} clips", "one more")
    visit.close()
    assert [line for line in visit.complaints if "status of 4" not in line] == []


def test_nonsense_in_the_models_recommendation_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases: dict[str, tuple[Any, int]] = {
        "no JSON": ("{steps: 7", 30),
        "no object": ("[7]", 30),
        "no text": (b"\xff\xfe\x00", 30),
        "wrong": ('{"steps": 7, "cfg_scale": "much", "games": {"X": 1}, "sampler": "x", "of_the_future": 1}', 7),
        "no number": ('{"steps": 7, "cfg_scale": NaN, "sigma_min": 1e999}', 7),
        "at odds": ('{"steps": 7, "sigma_min": 5, "sigma_max": 2}', 7),
    }
    folder = ModelFolder(tmp_path)
    for name, (text, steps) in cases.items():
        folder.request_path.write_bytes(text if isinstance(text, bytes) else text.encode())
        fields = request_options(usable_recommendation(folder))["fields"]
        assert (fields["steps"]["default"], fields["cfg_scale"]["default"]) == (steps, 2.0), name
        assert capsys.readouterr().err.count("request.json") == 1, name
