"""What a folder of music holds, before anything is written: the dataset command's dry run, looked at by the page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from webui.http.refusal import RefusedError
from webui.learn.commands import answer_of
from webui.learn.roots import Place

MOST = 16  # results that are kept


class Surveys:
    """One dry run at a time; a new one ends the one before. The last results are kept."""

    def __init__(self) -> None:
        self._results: dict[Place, dict[str, Any]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, place: Place, folder: Path, config: str) -> dict[str, Any]:
        """Begins to look into a folder; returns what `state` does."""
        running = self._results.get(place, {}).get("status") == "running"
        if not running or self._task is None or self._task.done():
            self.stop()
            self._results = {p: r for p, r in self._results.items() if r["status"] != "running" and p != place}
            while len(self._results) >= MOST:
                del self._results[next(iter(self._results))]
            self._results[place] = {"status": "running", "error": None, "result": None}
            self._task = asyncio.create_task(self._look(place, folder, config))
        return self.state(place)

    def state(self, place: Place) -> dict[str, Any]:
        """{"status": "running", "done" or "failed", "error", "result": see dataset_processing/report/outlook.py}.

        Raises:
            RefusedError: 404, nobody has asked for this folder.
        """
        if place not in self._results:
            raise RefusedError(404, "nobody has asked what is in this folder")
        return self._results[place]

    def stop(self) -> None:
        """Ends the one at work."""
        if self._task is not None:
            self._task.cancel()

    async def _look(self, place: Place, folder: Path, config: str) -> None:
        # The dataset is named, not made: a dry run writes nothing.
        nowhere = f"dataset={folder.parent / f'.{folder.name} would become a dataset'}"
        words = ["-m", "dataset_processing", "run", config, "--dry-run", "--json"]
        words += ["--set", f"source={folder}", nowhere]
        status, error, result = "done", None, None
        try:
            result = await answer_of(words)
        except RefusedError as refusal:
            status, error = "failed", refusal.error
        # Not reached where another survey has ended this one, which leaves what that has begun as it is.
        self._results[place] = {"status": status, "error": error, "result": result}
