"""Worker processes that are ready at once."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterable
from functools import partial
from multiprocessing.context import BaseContext

_SYSTEM_THAT_FORKS = "linux"  # libraries of macOS do not survive a fork


def worker_context(*work: object) -> BaseContext:
    """How workers are started: as forks of a server, a process without threads that has imported what they need.

    Each would else import it again, a second of work; in every step, as each step has workers of its own. There is one
    server for a process and its whole life, with what was asked for first.

    Args:
        work: functions, partial functions or objects that workers will be given.
    """
    if sys.platform != _SYSTEM_THAT_FORKS:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*dict.fromkeys(_modules(work))])
    return context


def _modules(work: Iterable[object]) -> Iterable[str]:
    for part in work:
        yield from _modules((part.func, *part.args)) if isinstance(part, partial) else (part.__module__,)
