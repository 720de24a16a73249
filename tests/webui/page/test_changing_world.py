"""The page when its world changes: no socket gets through, another model answers, what is stored is nonsense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.webui.conftest import REQUEST, Server, kill, until
from tests.webui.proxy import Proxy
from tests.webui.serve import make_model
from tests.webui.visit import Visit

BROWSER = pytest.mark.browser

# How sockets fail: the first is that of most proxies, the second the one that only silence tells.
BLOCKED = {
    "refused": "class { constructor() { setTimeout(() => this.onclose?.({}), 50) } close() {} }",
    "opens and says nothing": "class { constructor() { setTimeout(() => this.onopen?.({}), 50) } close() {} }",
    "never opens": "class { close() {} }",
    "opens and closes": "class { constructor() { setTimeout(() => { this.onopen?.({}); this.onclose?.({}) }, 50) } "
    "close() {} }",
    "forbidden": "class { constructor() { throw new DOMException('blocked', 'SecurityError') } }",
    "not there": "undefined",
    "noise": "class { constructor() { setTimeout(() => this.onmessage?.({data: '<html>'}), 50) } close() {} }",
}


WAYS = [pytest.param(way, marks=[] if number < 2 else [pytest.mark.slow]) for number, way in enumerate(BLOCKED)]


class Visitor(Visit):
    """A visit to any address, with a script that runs before the page's own."""

    def __init__(self, chromium: Any, server: Server, url: str | None = None, before: str = "") -> None:
        self.url, self.before = url or server.url, before
        super().__init__(chromium, server, **({"base_url": url} if url else {}))

    def open(self) -> None:
        if self.before:
            self.page.add_init_script(self.before)
            self.before = ""
        self.page.goto(self.url)
        self.page.locator(".fader-row").first.wait_for()
        until(lambda: self.status == "ready", "the model is ready")

    @property
    def status(self) -> str | None:
        return self.page.locator("#model-line").get_attribute("data-status")

    def faders(self) -> list[str]:
        return self.page.locator(".game-name").all_inner_texts()

    def weights(self) -> dict[str, float]:
        values = [fader.input_value() for fader in self.page.locator(".fader").all()]
        return {name: float(value) for name, value in zip(self.faders(), values, strict=True) if float(value)}


@BROWSER
@pytest.mark.parametrize("way", WAYS)
def test_without_a_socket_a_clip_forms_is_shown_and_plays(chromium: Any, empty_server: Server, way: str) -> None:
    visit = Visitor(chromium, empty_server, before=f"window.WebSocket = {BLOCKED[way]}")
    page = visit.page
    states = "window.states = []; new MutationObserver(() => states.push(document.getElementById('model-line').dataset"
    page.evaluate(states + ".status)).observe(document.getElementById('model-line'), {attributes: true})")
    before = len(visit.cards())
    visit.quick(seconds=2, steps=60)
    page.click("#generate")
    until(lambda: page.locator(".forming progress").evaluate("bar => bar.value > 0"), "progress is shown")
    until(lambda: page.locator(".preview").evaluate("i => i.naturalWidth > 0 && !i.hidden"), "a preview")
    visit.wait_for_cards(before + 1)
    until(lambda: page.locator(".forming").count() == 0, "nothing forms any more")
    until(lambda: page.locator("#dock").is_visible(), "what was asked for is in the player")
    assert page.locator(".toast").count() == 0 and set(page.evaluate("states")) <= {"ready"}
    visit.close()
    assert visit.complaints == []


@BROWSER
@pytest.mark.slow
def test_behind_a_proxy_without_sockets_the_page_asks_and_goes_back_when_one_gets_through(
    chromium: Any, own_server: Server
) -> None:
    proxy = Proxy(own_server.port)
    proxy.refuses_sockets = True
    visit = Visitor(chromium, own_server, proxy.url)
    page = visit.page
    page.clock.install()  # half a minute passes in no time, where a test says so
    visit.open()

    # What scripts and other pages do is seen, too.
    job = own_server.wait(own_server.submit(), "done")
    visit.wait_for_cards(1)
    own_server.client.patch(f"/api/jobs/{job['id']}", json={"title": "A theme"})
    until(lambda: visit.cards() == ["A theme"], "another page's new title")
    own_server.submit(steps=300)
    page.locator(".forming").wait_for()
    page.locator(".forming .cancel").click()
    until(lambda: page.locator(".forming").count() == 0, "it is cancelled")

    # The model's process dies, and comes back.
    assert own_server.worker_pid is not None
    kill(own_server.worker_pid)
    until(lambda: visit.status == "ready", "the model is back")

    # The server goes away, which is told; and comes back, which is seen.
    own_server.kill()
    until(lambda: visit.status == "lost", "the loss is told")
    own_server.start()
    until(lambda: visit.status == "ready", "it is back")

    proxy.refuses_sockets = False
    page.clock.fast_forward(31_000)  # the longest time between two tries
    until(lambda: proxy.sockets == 1, "a socket", timeout=40)
    page.wait_for_timeout(1000)
    asked = len(proxy.requests)
    page.clock.fast_forward(9_000)
    page.wait_for_timeout(500)
    assert len(proxy.requests) == asked  # it is told again, and asks no more
    own_server.submit()
    visit.wait_for_cards(3)
    visit.close()
    proxy.close()


@BROWSER
def test_a_page_that_is_open_before_its_server_is_starts_by_itself(chromium: Any, empty_server: Server) -> None:
    visit = Visitor(chromium, empty_server)
    answers = {"broken": 0}

    def answer(route: Any) -> None:
        answers["broken"] += 1
        if answers["broken"] == 1:
            route.fulfill(status=502, body="<html>Bad gateway</html>", content_type="text/html")
        elif answers["broken"] == 2:
            route.fulfill(status=200, body="<html>Log in</html>", content_type="text/html")
        else:
            route.continue_()

    visit.page.route("**/api/health", answer)
    visit.page.goto(empty_server.url)
    until(lambda: "Something else answers" in visit.page.inner_text("#model-text"), "what answers is told")
    until(lambda: visit.status == "ready", "the page starts")
    assert len(visit.faders()) == 6
    visit.close()


@BROWSER
@pytest.mark.parametrize("socket", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_another_model_at_the_same_address_is_noticed(chromium: Any, tmp_path: Path, socket: bool) -> None:
    server = Server(tmp_path, games=["Castle", "Cave", "Sky"], recommended={"steps": 7, "cfg_scale": 3.0})
    visit = Visitor(chromium, server, before="" if socket else f"window.WebSocket = {BLOCKED['refused']}")
    page = visit.page
    for number, weight in ((0, "0.5"), (1, "-0.25")):
        page.locator(".fader-row .number").nth(number).fill(weight)
    page.fill("#number-seconds", "3")
    page.fill("#seed", "77")
    page.get_by_text("lock", exact=True).click()
    page.click("#generate")
    visit.wait_for_cards(1)

    server.kill()
    other = make_model(tmp_path / "other", ["Volcano", "Castle"], {"steps": 11, "sampler": "euler", "cfg_scale": 1.5})
    server.model = other
    server.start()
    # At first what does not stay: on a busy machine, the rest takes as long as a toast is shown.
    told = ["Another model answers now: other. It cannot do Cave: left out."]
    until(lambda: page.locator(".toast").all_inner_texts() == told, "the change is told")
    until(lambda: visit.faders() == ["Volcano", "Castle"], "the faders of the other model")
    until(lambda: "other · 2 games" in page.inner_text("#model-text"), "its name")
    assert visit.weights() == {"Castle": 0.5}
    assert page.input_value("#number-seconds") == "3" and page.input_value("#seed") == "77"  # changed by hand: kept
    assert page.locator("input[name=seed-mode][value=lock]").is_checked()
    # Never changed: as the other model recommends.
    assert page.input_value("#number-steps") == "11" and page.input_value("#number-cfg_scale") == "1.5"
    assert page.input_value("#select-sampler") == "euler"
    assert page.locator(".unknown-game").count() > 0  # the old clip's Cave, in its card

    # The old clip's settings, as far as this model can do them.
    page.locator(".reuse").click()
    until(lambda: "cannot do Cave" in page.locator(".toast").last.inner_text(), "what was left out is told")
    page.click("#generate")
    visit.wait_for_cards(2)
    newest = server.client.get("/api/jobs").json()["jobs"][0]["request"]
    assert newest["games"] == {"Castle": 0.5} and newest["seed"] == 77
    page.reload()
    page.locator(".fader-row").first.wait_for()
    assert visit.faders() == ["Volcano", "Castle"] and visit.weights() == {"Castle": 0.5}
    visit.close()
    server.close()


@BROWSER
def test_another_history_at_the_same_address_empties_the_player(chromium: Any, tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.wait(server.submit(seconds=30), "done")
    visit = Visitor(chromium, server)
    visit.page.locator(".card-play").click()
    visit.page.locator("#dock").wait_for()
    server.kill()
    server.outputs = tmp_path / "other outputs"
    server.start()
    visit.wait_for_cards(0)
    until(lambda: not visit.page.locator("#dock").is_visible(), "the player is empty")
    visit.close()
    server.close()


@BROWSER
def test_a_model_that_learned_more_games_while_the_page_is_open(chromium: Any, own_server: Server) -> None:
    visit = Visitor(chromium, own_server)
    make_model(own_server.model, ["Castle", "Cave", "constructor", "__proto__"])
    assert own_server.worker_pid is not None
    kill(own_server.worker_pid)  # the next process loads the folder anew
    until(lambda: visit.faders() == ["Castle", "Cave", "constructor", "__proto__"], "the new games")
    visit.page.locator(".solo").nth(2).click()
    visit.page.locator(".solo").nth(3).click()
    visit.quick()
    visit.page.click("#generate")
    visit.wait_for_cards(1)
    assert visit.cards() == ["constructor 50 · __proto__ 50"]
    visit.close()
    assert visit.complaints == []


def test_what_a_model_cannot_do_is_left_out_field_by_field(server: Server) -> None:
    stored = {
        "games": {"Castle": 0.5, "Volcano": 1, "Cave": "loud", "Moss": True, "Clockwork": 1e300},
        "seconds": None,
        "steps": 12,
        "cfg_scale": "much",
        "sampler": "of the future",
        "ema": "ema_0.08",
        "guidance": {"rescale": 0.5, "weak_ema": "ema_0.01"},
        "sigma_min": 5,
        "sigma_max": 2,
        "games_end": {"Atlantis": 1},
        "source": {"path": "/etc/passwd"},
        "volume": 11,
        "__proto__": {},
    }
    answer = server.client.post("/api/check", json=stored).json()
    assert answer["request"] == {"games": {"Castle": 0.5}, "steps": 12, "sigma_max": 2}
    assert set(answer["dropped"]) == (set(stored) - {"games", "steps", "sigma_max", "games_end"}) | {
        *(f"games.{name}" for name in ("Volcano", "Cave", "Moss", "Clockwork")),
        "games_end.Atlantis",
    }
    whole = {**REQUEST, "sampler": "heun", "sampler_options": {"s_churn": 2.0}, "loop": True}
    assert server.client.post("/api/check", json=whole).json() == {"request": whole, "dropped": {}}
    for body in (b"[1]", b"nonsense", b'"text"', b"", b"null"):
        assert server.client.post("/api/check", content=body).status_code == 422


def test_jobs_of_a_model_that_is_gone_are_refused_by_name_and_hold_nothing_up(tmp_path: Path) -> None:
    server = Server(tmp_path, games=["Castle", "Cave"])
    running, waiting = server.submit(steps=400), server.submit(games={"Castle": 1})
    server.wait(running, "running")
    server.kill()
    server.model = make_model(tmp_path / "other", ["Castle"])
    server.start()
    assert "there is no model 'demo'" in server.wait(waiting, "failed")["error"]
    server.wait(server.submit(games={"Castle": 1}), "done")
    refusal = server.client.post(f"/api/jobs/{running}/retry")
    assert refusal.status_code == 404 and "there is no model 'demo'" in refusal.json()["error"]
    server.close()
