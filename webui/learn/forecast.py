"""What this machine can do of each preset: predicted once, by a command, while the page waits."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from webui.http.refusal import RefusedError
from webui.learn.commands import answer_of
from webui.learn.presets import Preset, judged


class Forecast:
    """Runs `python -m train preflight` over all presets, when somebody first asks.

    Args:
        presets: by name, the highest rank first.
        nowhere: a folder that does not exist, for a model and a dataset that are yet to be made.
    """

    def __init__(self, presets: dict[str, Preset], nowhere: Path) -> None:
        self._presets = presets
        configs = [config for preset in presets.values() for config in (preset.vae, preset.unet)]
        self._words = ["-m", "train", "preflight", *configs, "--set", f"model={nowhere}", f"dataset={nowhere}"]
        self._task: asyncio.Task[dict[str, Any]] | None = None

    def state(self) -> dict[str, Any]:
        """{"status": "running"}, or {"status": "done", "device", "name", "room", "presets"}.

        Raises:
            RefusedError: 422, the command has failed; the next one who asks begins it anew.
        """
        task = self._begun()
        if not task.done():
            return {"status": "running"}
        try:
            found = task.result()
        except (Exception, asyncio.CancelledError):
            self._forget(task)
            raise
        device = {key: found[key] for key in ("device", "name", "room")}
        return {"status": "done", **device, "presets": judged(self._presets, found)}

    async def device(self) -> str:
        """ "cuda", "mps" or "cpu".

        Raises:
            RefusedError: as `state`.
        """
        task = self._begun()
        try:
            return str((await asyncio.shield(task))["device"])
        except Exception:
            self._forget(task)
            raise

    async def stop(self) -> None:
        """Ends the command."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, RefusedError):
                await self._task

    def _forget(self, task: asyncio.Task[dict[str, Any]]) -> None:
        """Whatever has failed, the next one who asks begins anew."""
        if self._task is task:
            self._task = None

    def _begun(self) -> asyncio.Task[dict[str, Any]]:
        if self._task is None:
            self._task = asyncio.create_task(answer_of(self._words))
        return self._task
