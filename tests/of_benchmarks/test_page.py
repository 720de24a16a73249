"""What the benchmark of the page makes of what it has seen, with a browser that answers at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks import page as benchmark
from tests.benchmarks.page import CLIPS, JUMP, PREVIEW, Measured

URL = "http://127.0.0.1:7860"
VISITS = [(500.0, 2000.0, 472_000), (900.0, 2600.0, 5), (568.04, 2268.0, 5), (1.0, 1.0, 5)]


class Page:
    """Answers the two scripts; counts what is closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.context = SimpleNamespace(close=self.close)
        self.previews = [1203.0, 7.0, 1900.0]
        self.keyboard = SimpleNamespace(press=self.press)
        self.pressed: list[str] = []

    def close(self) -> None:
        self.closed += 1

    def wait_for_timeout(self, milliseconds: float) -> None:
        pass

    def evaluate(self, script: str, argument: object = None) -> Any:
        if script == JUMP:
            assert argument == CLIPS
        if script == PREVIEW:
            return self.previews.pop(0)
        return {JUMP: 80.06}.get(script)

    def press(self, key: str) -> None:
        self.pressed.append(key)


class Browser(Measured):
    """Visits that took as long as VISITS say, the second of which asked another place for something."""

    def __init__(self) -> None:
        super().__init__(None, URL)
        self.pages: list[Page] = []

    def visit(self) -> tuple[Page, dict[str, float]]:
        paint, listed, size = VISITS[len(self.pages)]
        self._asked(f"{URL}/static/page.js")
        if len(self.pages) == 1:
            self._asked("https://fonts.example/a.woff2")
        self.pages.append(Page())
        return self.pages[-1], {"paint": paint, "list": listed, "bytes": size}

    def idle_percent(self, seconds: float) -> float:
        assert seconds == 7.0
        return 1.0666


def test_figures_are_medians_of_the_visits_and_the_last_page_is_used() -> None:
    browser = Browser()
    kept, told = benchmark._measure(browser, 3, 7.0)
    assert kept == {
        "first_paint_ms": 568.0,
        "click_to_preview_ms": 1203.0,
        "list_10k_ms": 2268.0,
        "idle_cpu_percent": 1.07,
        "requests_leaving": 1,
    }
    assert told == {"cold_load_kb": 472.0, "jump_to_the_end_ms": 80.1}
    assert [page.closed for page in browser.pages] == [1, 1, 1, 1]
    assert browser.pages[-1].pressed == ["Escape"] * 3, "a clip that is seen to form is not waited for"


@pytest.mark.parametrize(
    ("address", "leaves"),
    [
        (f"{URL}/api/models", False),
        ("ws://127.0.0.1:7860/api/events", False),
        ("data:image/svg+xml,%3Csvg%3E", False),
        ("blob:http://127.0.0.1:7860/1-2-3", False),
        ("http://127.0.0.1:7861/", True),
        ("https://cdn.example/react.js", True),
        ("wss://elsewhere.example/socket", True),
    ],
)
def test_only_what_goes_to_another_place_is_counted_as_leaving(address: str, leaves: bool) -> None:
    measured = Measured(None, URL)
    measured._asked(address)
    assert bool(measured.leaving) == leaves


def test_idle_load_is_the_cpu_time_of_all_processes_over_the_time_that_went_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter((10.0, 30.0))
    used = iter(((1.0, 2.0), (1.5, 2.7)))
    session = SimpleNamespace(send=lambda name: {"processInfo": [{"cpuTime": time} for time in next(used)]})
    monkeypatch.setattr(benchmark.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(benchmark.time, "sleep", lambda seconds: None)
    measured = Measured(SimpleNamespace(new_browser_cdp_session=lambda: session), URL)
    assert measured.idle_percent(20.0) == pytest.approx(100 * 1.2 / 20)
