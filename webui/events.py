"""Live events: whatever happens is told to every open page through its socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from webui.http.refusal import RefusedError

BACKLOG = 500
MAX_LISTENERS = 64


class Events:
    """A fan-out without history: pages read the state when they connect, and then follow."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[dict[str, Any] | None]] = set()

    def publish(self, event: dict[str, Any]) -> None:
        """Tells every listener; one that has not kept up is sent away (its page connects again and reads anew)."""
        for queue in list(self._listeners):
            if queue.qsize() >= BACKLOG:
                self._listeners.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    @contextlib.contextmanager
    def listen(self) -> Iterator[asyncio.Queue[dict[str, Any] | None]]:
        """Yields a queue of events; None in it means: go, and come back.

        Raises:
            RefusedError: too many pages are open.
        """
        if len(self._listeners) >= MAX_LISTENERS:
            raise RefusedError(429, "too many pages are open")
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    def close(self) -> None:
        """Sends every listener away."""
        for queue in self._listeners:
            queue.put_nowait(None)
