"""The web side of the model's process: starts it, watches it, and starts it again when it dies.

The two talk in JSON lines over a socket pair of their own, so that nothing a library prints can get between. When the
web process dies, however it dies, the kernel closes its end and the model's process leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
MAX_LINE = 16 * 2**20  # bytes; a preview image is far below
MAX_BACK_OFF = 60.0  # seconds
READY, LOADING, FAILED = "ready", "loading", "failed"

Handler = Callable[[dict[str, Any]], Awaitable[None]]


class Supervisor:
    """One model process after another."""

    def __init__(self, model: Path, outputs: Path, loader: str, *, on_message: Handler, on_change: Handler) -> None:
        """Args:
        on_message: called with each message of the process about a job.
        on_change: called with {"death": reason or None} when the process becomes ready, fails to load or dies.
        """
        self._arguments = [str(model.resolve()), str(outputs.resolve()), loader]
        self._on_message, self._on_change = on_message, on_change
        self._writer: asyncio.StreamWriter | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.status = LOADING
        self.was_ready = False  # the present process
        self.message: str | None = None  # why it failed
        self.info: dict[str, Any] = {}  # {"fingerprint", "sample_rate", "least_seconds"} once it was ready

    async def run(self) -> None:
        """Keeps a process alive until cancelled; waits longer and longer after deaths before it was ready."""
        failures = 0
        try:
            while True:
                was_ready = await self._run_once()
                failures = 0 if was_ready else failures + 1
                if failures:
                    await asyncio.sleep(min(2.0**failures, MAX_BACK_OFF))
        finally:
            self.kill()

    def send(self, message: dict[str, Any]) -> None:
        """Tells the process something; does nothing if there is none, whose death is reported elsewhere."""
        if self._writer and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    def kill(self) -> None:
        """Ends the process and what it started."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        """Of the model's process, or None while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def _run_once(self) -> bool:
        """Starts a process and follows it to its end; returns whether it ever was ready."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "webui.worker", str(theirs.fileno()), *self._arguments]
            # A session of its own: Ctrl-C in the terminal is for the web process, which then closes the socket.
            self._process = await asyncio.create_subprocess_exec(
                *command,
                pass_fds=[theirs.fileno()],
                cwd=REPOSITORY,
                start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL,
            )
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE)
        if self.status != FAILED:
            self.status = LOADING
        self.was_ready = False
        try:
            await self._follow(reader, self._process)
        finally:
            self._writer.close()
            self._writer = None
            self.kill()
            code = await self._process.wait()
        await self._ended(code)
        return self.was_ready

    async def _follow(self, reader: asyncio.StreamReader, process: asyncio.subprocess.Process) -> None:
        """Handles messages until the process ends, seen by its exit or by the end of its socket."""
        reading = asyncio.create_task(self._read(reader))
        waiting = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
            # What it said last is still in the socket.
            await asyncio.wait({reading}, timeout=0.5)
            if not waiting.done():
                await asyncio.wait({waiting}, timeout=0.5)
        finally:
            reading.cancel()
            waiting.cancel()
            ended, _ = await asyncio.gather(reading, waiting, return_exceptions=True)
            if isinstance(ended, Exception):
                print(f"the model's process was stopped: {type(ended).__name__}: {ended}", file=sys.stderr, flush=True)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            if message["type"] == "ready":
                self.info = {name: message[name] for name in ("fingerprint", "sample_rate", "least_seconds")}
                self.status, self.message, self.was_ready = READY, None, True
                await self._on_change({"death": None})
            elif message["type"] == "unusable":
                self.status, self.message = FAILED, message["error"]
            else:
                await self._on_message(message)

    async def _ended(self, code: int) -> None:
        ending = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        hint = "; the machine may have run out of memory" if code == -signal.SIGKILL else "; see the terminal"
        reason = f"the model's process {ending}{hint}"
        if not self.was_ready:
            told_why = self.status == FAILED and self.message is not None and code == 2
            self.status, self.message = FAILED, self.message if told_why else reason
        else:
            self.status = LOADING
        await self._on_change({"death": reason})
