"""The web side of the model's process: starts it, watches it, and starts it again when it dies or falls silent.

The two talk in JSON lines over its standard input and output, which it keeps to itself, so that nothing a library
prints can get between. When the web process dies, however it dies, the kernel closes its end and the model's process
leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from dualdiffusion.errors import one_line
from dualdiffusion.machine.system import end_group, group_of_its_own, was_killed
from webui.settings import REPOSITORY

MAX_LINE = 16 * 2**20  # bytes; a preview image is far below
MAX_BACK_OFF = 60.0  # seconds
READY, LOADING, FAILED, SILENT, RESTING = "ready", "loading", "failed", "silent", "resting"

# The process says every second or so that it is there, also while it computes. Counted in ticks of this process, not
# by a clock: when the whole machine slept or was busy, both have missed the same ones.
TICK = 1.0  # seconds
QUIET_TICKS = 5  # until pages are told
DEAD_TICKS = 60  # until the process is ended and started anew
LOADING_TICKS = 600  # the same while it loads, when libraries can stop all of its threads

Handler = Callable[[dict[str, Any]], Awaitable[None]]


class Supervisor:
    """One model process after another."""

    def __init__(self, model: Path, outputs: Path, loader: str, *, on_message: Handler, on_change: Handler) -> None:
        """Args:
        on_message: called with each message of the process about a job.
        on_change: called with {"death": reason or None} when the process becomes ready, fails to load or dies.
        """
        self.model = model
        self._arguments = [str(outputs.resolve()), loader]
        self._on_message, self._on_change = on_message, on_change
        self._writer: asyncio.StreamWriter | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.status = LOADING
        self.was_ready = False  # the present process
        self.message: str | None = None  # why it failed
        self.info: dict[str, Any] = {}  # {"fingerprint", "sample_rate", "least_seconds"} once it was ready
        self._loads = 0  # how often another model was asked for
        self._silence = 0  # ticks since the process has said something
        self._hurry = asyncio.Event()
        self._awake = asyncio.Event()
        self._awake.set()
        self._is_leaving = False  # the present process was let go

    async def run(self) -> None:
        """Keeps a process alive until cancelled; waits longer and longer after deaths before it was ready."""
        failures = 0
        try:
            while True:
                await self._awake.wait()
                self._hurry.clear()
                loads = self._loads
                try:
                    was_ready = await self._run_once()
                except Exception as error:  # such as no memory for a process: nothing may end this watch
                    was_ready = False
                    await self._failed(one_line(error))
                failures = 0 if was_ready or loads != self._loads else failures + 1
                if failures:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._hurry.wait(), min(2.0**failures, MAX_BACK_OFF))
                        failures = 0
        finally:
            self.kill()

    async def _failed(self, reason: str) -> None:
        """Tells that no process could be started or followed."""
        told = f"the model's process cannot be run: {reason}"
        # One that was let go meanwhile rests, however it ended.
        self.status, self.message = (FAILED, told) if self._awake.is_set() else (RESTING, None)
        try:
            await self._on_change({"death": told})
        except Exception as error:  # whoever is told may be what has failed
            print(f"{told}; {one_line(error)}", file=sys.stderr, flush=True)

    def load(self, model: Path) -> None:
        """Ends the process, and starts one with another model; no job may be running."""
        self.model = model
        self._loads += 1
        self.status, self.message, self.info = LOADING if self._awake.is_set() else RESTING, None, {}
        self._hurry.set()
        self.kill()

    def hold(self) -> None:
        """From now on no job is taken, and no process started: another program has the device. See `wake`."""
        self._awake.clear()
        self.status, self.message = RESTING, None

    def wake(self, loader: str) -> None:
        """Undoes `hold`; a process that runs with another loader is ended and started anew."""
        differs, self._arguments[-1] = loader != self._arguments[-1], loader
        if differs:
            self.let_go()
        if not self._awake.is_set():
            is_there = self.was_ready and self.pid is not None and not self._is_leaving
            self.status = READY if is_there else LOADING
            self._awake.set()

    def let_go(self) -> None:
        """Ends the process, whose device is wanted by another program: no death to tell of."""
        self._loads += 1
        self._is_leaving = True
        self.kill()

    def send(self, message: dict[str, Any]) -> None:
        """Tells the process something; does nothing if there is none, whose death is reported elsewhere."""
        if self._writer and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    def kill(self) -> None:
        """Ends the process and what it started."""
        if self._process and self._process.returncode is None:
            end_group(self._process.pid)

    @property
    def pid(self) -> int | None:
        """Of the model's process, or None while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def _run_once(self) -> bool:
        """Starts a process and follows it to its end; returns whether it ever was ready."""
        loads = self._loads
        command = [sys.executable, "-m", "webui.models.worker", str(self.model.resolve()), *self._arguments]
        # Ctrl-C in the terminal is for the web process, which then closes the pipes.
        self._process = process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=REPOSITORY,
            limit=MAX_LINE,
            **group_of_its_own(),
        )
        assert process.stdin is not None and process.stdout is not None  # as asked for
        self._writer = process.stdin
        if self.status != FAILED:
            self.status = LOADING
        self.was_ready, self._silence, self._is_leaving = False, 0, False
        if loads != self._loads:
            self.kill()  # another model was asked for while the process started
        try:
            await self._follow(process.stdout, process, loads)
        finally:
            self._writer.close()
            self._writer = None
            self.kill()
            code = await process.wait()
        if loads == self._loads:
            await self._ended(code)
        return self.was_ready

    async def _follow(self, reader: asyncio.StreamReader, process: asyncio.subprocess.Process, loads: int) -> None:
        """Handles messages until the process ends, seen by its exit or by the end of its output."""
        reading = asyncio.create_task(self._read(reader, loads))
        waiting = asyncio.create_task(process.wait())
        listening = asyncio.create_task(self._listen())
        try:
            await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
            # What it said last is still in the pipe.
            await asyncio.wait({reading}, timeout=0.5)
            if not waiting.done():
                await asyncio.wait({waiting}, timeout=0.5)
        finally:
            for task in (reading, waiting, listening):
                task.cancel()
            ended, *_ = await asyncio.gather(reading, waiting, listening, return_exceptions=True)
            if isinstance(ended, Exception):
                print(f"the model's process was stopped: {type(ended).__name__}: {ended}", file=sys.stderr, flush=True)

    async def _listen(self) -> None:
        """Tells pages when the process says nothing any more, and ends one that stays silent."""
        while True:
            await asyncio.sleep(TICK)
            self._silence += 1
            if self.status == READY and self._silence >= QUIET_TICKS:
                self.status, self.message = SILENT, "the model's process does not answer"
                await self._on_change({"death": None})
            if self._silence >= (DEAD_TICKS if self.was_ready else LOADING_TICKS):
                self.kill()

    async def _hear(self) -> None:
        self._silence = 0
        if self.status == SILENT:
            self.status, self.message = READY, None
            await self._on_change({"death": None})

    async def _read(self, reader: asyncio.StreamReader, loads: int) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            if loads != self._loads:
                return  # of a model that is no longer asked for
            await self._hear()
            if message["type"] == "alive":
                continue
            if message["type"] == "ready":
                self.info = {name: message[name] for name in ("fingerprint", "sample_rate", "least_seconds")}
                self.was_ready = True
                self.status, self.message = READY if self._awake.is_set() else RESTING, None
                await self._on_change({"death": None})
            elif message["type"] == "unusable":
                self.status, self.message = FAILED, message["error"]
            else:
                await self._on_message(message)

    async def _ended(self, code: int) -> None:
        if self._silence >= DEAD_TICKS:
            ending, hint = "did not answer any more, and was ended", ""
        else:
            ending = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            hint = "; the machine may have run out of memory" if was_killed(code) else "; see the terminal"
        reason = f"the model's process {ending}{hint}"
        if not self.was_ready:
            told_why = self.status == FAILED and self.message is not None and code == 2
            self.status, self.message = FAILED, self.message if told_why else reason
        else:
            self.status = LOADING if self._awake.is_set() else RESTING
        await self._on_change({"death": reason})
