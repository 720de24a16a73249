"""A visit to the page in a real browser."""

from __future__ import annotations

from typing import Any

from tests.webui.conftest import Server, until


class Visit:
    """A page, and everything on it that should not happen. It finds nothing stored by the visits before it.

    With `settings` of its own, the browser knows nothing of any other visit.
    """

    def __init__(self, chromium: Any, server: Server, **settings: Any) -> None:
        self.server = server
        self.context = new_context(chromium, **settings) if settings else context_of(chromium, server)
        self.page = self.context.new_page()
        if not settings:
            stored = {"origin": server.url, "storageTypes": "cookies,local_storage,indexeddb,cache_storage"}
            self.context.new_cdp_session(self.page).send("Storage.clearDataForOrigin", stored)
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.open()

    def open(self) -> None:
        self.page.goto(self.server.url)
        self.page.locator(".fader-row").first.wait_for()
        until(lambda: self.page.locator("#model-line").get_attribute("data-status") == "ready", "the model is ready")

    def quick(self, seconds: float = 3, steps: int = 4, seed: int = 5) -> None:
        """Settings that make a clip soon."""
        for name, value in (("number-seconds", seconds), ("number-steps", steps), ("seed", seed)):
            self.page.fill(f"#{name}", str(value))

    def cards(self) -> list[str]:
        return self.page.locator(".card-title").all_inner_texts()

    def wait_for_cards(self, count: int) -> None:
        until(lambda: len(self.cards()) == count, f"{count} cards (there are {self.cards()})")

    def close(self) -> None:
        self.page.close()
        if self.context is not self.server.context:
            self.context.close()


def new_context(chromium: Any, **settings: Any) -> Any:
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, **settings)
    context.set_default_timeout(60_000)  # ms; on a busy machine, a first visit takes half a minute
    return context


def context_of(chromium: Any, server: Server) -> Any:
    """A server's own, where no page uses it now: it has the page's scripts, which a new one would read again."""
    for context in chromium.contexts:
        if context is not server.context and not context.pages:
            context.close()
    if server.context not in chromium.contexts:
        server.context = new_context(chromium)
    return new_context(chromium) if server.context.pages else server.context
