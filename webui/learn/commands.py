"""Short commands whose answer the page waits for: each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import Any

from dualdiffusion.machine.system import end_group, group_of_its_own
from webui.http.refusal import RefusedError
from webui.learn.runner import last_error, last_json
from webui.settings import REPOSITORY


async def answer_of(words: Sequence[str]) -> Any:
    """The JSON that a Python command prints as its last line; cancelled, the command is ended.

    Args:
        words: what follows `python`, such as ("-m", "train", "preflight", ...).

    Raises:
        RefusedError: 422, with the one line that the command has left; 503 where it cannot be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            **group_of_its_own(),
        )
    except OSError as error:
        raise RefusedError(503, f"no command can be started now: {error.strerror or error}; try again") from None
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            end_group(process.pid)
            with contextlib.suppress(ProcessLookupError):
                await process.wait()
    if process.returncode != 0:
        raise RefusedError(422, last_error(errors.decode(errors="replace"), process.returncode or 1))
    try:
        return last_json(output.decode())
    except ValueError:
        raise RefusedError(500, "the command has answered nothing that can be read; see the terminal") from None
