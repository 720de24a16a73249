"""Short-lived processes for audio that is not trusted: `python -m webui.exchange.helper <task>`, a JSON job a line.

Decoders and encoders are large programs in C. What a crafted file makes of them ends with a process that has nothing to
lose: neither the web process nor the loaded model. Each job is answered by one line {"done": ...} or {"refused": why}.
Imports no torch.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from dualdiffusion.errors import UserError, one_line
from dualdiffusion.machine.system import end_group, group_of_its_own, limit_memory
from webui.http.refusal import RefusedError
from webui.settings import REPOSITORY

TASKS = {"incoming": "webui.exchange.incoming", "outgoing": "webui.exchange.outgoing"}
"""Modules with a function `work(job) -> result`, by the task's name."""
MEMORY = 4 * 2**30  # bytes of address space
MAX_ANSWER = 2**20
AT_ONCE = 2  # processes of one task


class Helper:
    """A running process of one task."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, job: dict[str, Any], seconds: float) -> Any:
        """The result of one job.

        Raises:
            RefusedError: 422, the job was refused, took longer than `seconds`, or ended the process.
        """
        assert self._process.stdin is not None and self._process.stdout is not None  # as asked for
        try:
            async with asyncio.timeout(seconds):
                self._process.stdin.write(json.dumps(job).encode() + b"\n")
                await self._process.stdin.drain()
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise RefusedError(
                422, f"this takes longer than {seconds:g} s; the file is too large, or damaged"
            ) from None
        except (OSError, ValueError):
            line = b""
        if not line:
            raise RefusedError(422, "the file could not be worked on: it is damaged, or needs too much memory")
        answer = json.loads(line)
        if "refused" in answer:
            raise RefusedError(422, answer["refused"])
        return answer["done"]


class Helpers:
    """The processes of one task; more than `AT_ONCE` wait for one another."""

    def __init__(self, task: str) -> None:
        self._task, self._places = task, asyncio.Semaphore(AT_ONCE)

    @contextlib.asynccontextmanager
    async def start(self) -> AsyncIterator[Helper]:
        """A process, which ends with the block."""
        async with self._places:
            try:
                process = await asyncio.create_subprocess_exec(
                    *[sys.executable, "-m", "webui.exchange.helper", self._task],
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    cwd=REPOSITORY,
                    limit=MAX_ANSWER,
                    **group_of_its_own(),
                )
            except OSError as error:  # such as no memory for a process
                raise RefusedError(503, f"no process for it can be started now: {one_line(error)}") from None
            try:
                yield Helper(process)
            finally:
                if process.returncode is None:
                    end_group(process.pid)
                await process.wait()


def main(arguments: list[str]) -> int:
    """Works on jobs from standard input until it ends."""
    # What libraries print belongs in the terminal, not among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    limit_memory(MEMORY)
    work = importlib.import_module(TASKS[arguments[0]]).work
    for line in sys.stdin:
        try:
            answer = {"done": work(json.loads(line))}
        except UserError as error:
            answer = {"refused": one_line(error)}
        except OSError as error:
            answer = {"refused": f"cannot be written or read: {error.strerror or error}"}
        except MemoryError:
            answer = {"refused": "this file needs too much memory"}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
