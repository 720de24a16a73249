"""How quick is the page? `python -m tests.benchmarks.page [--model chiptune] [--repeats 3] [--json FILE]`.

Measured in Chromium without a cache, against `python -m webui` with a real model and 10,000 clips in its history:

- first_paint_ms: from going to the page until it shows anything (first contentful paint), median of the repeats
- list_10k_ms: the same until the newest of the 10,000 clips has its card
- click_to_preview_ms: from pressing Generate, with the page quiet, until a preview of the clip is seen; median of the
  repeats, each cancelled then
- idle_cpu_percent: of one core, by the browser with the page open and nothing happening, over some seconds
- requests_leaving: requests of the page to any other place than the server, in all of this

What else it prints: the bytes of a cold load, and how long a jump to the end of the list takes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from tests.benchmarks.of_tests import httpx
from tests.webui.conftest import CHROMIUM, REPOSITORY, free_port, until
from tests.webui.many import fill

CLIPS = 10_000
PATIENCE = 120.0  # seconds for anything
QUIET = 3000  # ms
# Runs before the page's own scripts: when the newest clip has its card.
WATCH = """new MutationObserver((_, observer) => {
  if (!document.querySelector('.card .card-title')?.textContent) return;
  window.listed = performance.now();
  observer.disconnect();
}).observe(document, {childList: true, subtree: true, characterData: true});"""
PREVIEW = """() => new Promise((resolve) => {
  const began = performance.now();
  const look = () => {
    const image = document.querySelector('.preview');
    if (image && !image.hidden && image.naturalWidth) resolve(performance.now() - began);
    else requestAnimationFrame(look);
  };
  document.getElementById('generate').click();
  look();
})"""
JUMP = """(count) => new Promise((resolve) => {
  const began = performance.now();
  const look = () => {
    const last = [...document.querySelectorAll('.card')].at(-1);
    const isLast = last?.getAttribute('aria-posinset') === String(count);
    if (isLast && last.querySelector('.card-title')) resolve(performance.now() - began);
    else requestAnimationFrame(look);
  };
  scrollTo(0, document.body.scrollHeight);
  look();
})"""


@contextmanager
def serving(model: str, outputs: Path) -> Iterator[str]:
    """The page's address, with its model loaded."""
    port = free_port()
    command = [sys.executable, "-m", "webui", "--model", model, "--outputs", str(outputs), "--port", str(port)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"--model {model}: the page does not start; see the lines above")
            try:
                health = httpx.get(f"{url}/api/health", timeout=10).json()
            except httpx.TransportError:
                health = {"status": "starting"}
            if health["status"] == "failed":
                raise UserError(f"--model {model}: {health['message']}")
            if health["status"] == "ready":
                break
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


class Measured:
    """A browser, and what its pages ask for."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser, self.url = browser, url
        self.leaving: list[str] = []

    def visit(self) -> tuple[Any, dict[str, float]]:
        """A new visitor's page when it is quiet, with {"paint", "list"} in ms and {"bytes"} of the load."""
        context = self.browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))
        page.add_init_script(WATCH)
        page.goto(self.url)
        # Not `wait_for_function`, which the page's own policy forbids.
        is_ready = "() => window.listed && document.getElementById('model-line').dataset.status === 'ready'"
        until(lambda: page.evaluate(is_ready), "the page shows its history", PATIENCE)
        page.wait_for_timeout(2000)  # ms, for pictures and what else follows
        times = page.evaluate(
            """() => ({paint: performance.getEntriesByName('first-contentful-paint')[0].startTime, list: window.listed,
            bytes: performance.getEntriesByType('resource').reduce((sum, entry) => sum + entry.transferSize, 0)})"""
        )
        return page, times

    def _asked(self, address: str) -> None:
        # Data lie in the address itself, which then names no host.
        if not address.startswith(("data:", "blob:")) and urlsplit(address).netloc != urlsplit(self.url).netloc:
            self.leaving.append(address)

    def idle_percent(self, seconds: float) -> float:
        """CPU time of all of the browser's processes, of one core, while nothing happens."""
        session = self.browser.new_browser_cdp_session()

        def used() -> float:
            return sum(process["cpuTime"] for process in session.send("SystemInfo.getProcessInfo")["processInfo"])

        before, began = used(), time.monotonic()
        time.sleep(seconds)
        return 100 * (used() - before) / (time.monotonic() - began)


def measure(model: str, repeats: int, idle_seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """The figures that are kept, and others that are told.

    Raises:
        UserError: there is no Chromium, or the page does not start.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError("playwright is missing; make setup, then pip install -r tests/requirements.txt") from None
    if not CHROMIUM.exists():
        raise UserError(f"{CHROMIUM}: is missing; install it: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        fill(Path(folder), CLIPS)
        with serving(model, Path(folder)) as url:
            arguments = ["--no-sandbox", "--disable-background-networking"]
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
            try:
                return _measure(Measured(browser, url), repeats, idle_seconds)
            finally:
                browser.close()


def _measure(measured: Measured, repeats: int, idle_seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    visits = []
    for _ in range(repeats):
        page, times = measured.visit()
        visits.append(times)
        page.context.close()
    page, _ = measured.visit()
    page.wait_for_timeout(5000)  # ms; browsers compile scripts on for a while after a load
    idle = measured.idle_percent(idle_seconds)
    jump = page.evaluate(JUMP, CLIPS)
    page.evaluate("scrollTo(0, 0)")
    previews = []
    for _ in range(repeats):
        page.wait_for_timeout(QUIET)  # what the jump, or the clip before, has the page draw is not measured
        previews.append(page.evaluate(PREVIEW))
        page.keyboard.press("Escape")
    page.context.close()
    kept = {
        "first_paint_ms": round(statistics.median(times["paint"] for times in visits), 1),
        "click_to_preview_ms": round(statistics.median(previews), 1),
        "list_10k_ms": round(statistics.median(times["list"] for times in visits), 1),
        "idle_cpu_percent": round(idle, 2),
        "requests_leaving": len(measured.leaving),
    }
    return kept, {"cold_load_kb": round(visits[0]["bytes"] / 1000, 1), "jump_to_the_end_ms": round(jump, 1)}


def main() -> None:
    """Measures, prints, and writes the JSON where asked."""
    parser: argparse.ArgumentParser = CommandParser(
        prog="python -m tests.benchmarks.page", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", default="chiptune", help="what plays; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="visits for each median; default: %(default)s")
    parser.add_argument("--idle-seconds", type=float, default=10.0, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    options = parser.parse_args()
    kept, told = measure(options.model, max(1, options.repeats), options.idle_seconds)
    for name, value in (kept | told).items():
        print(f"{name:24} {value:,}")
    if options.json:
        write_json(options.json, kept)


if __name__ == "__main__":
    run_command(main)
