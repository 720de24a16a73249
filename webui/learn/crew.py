"""The processes that make generators: started, found again after a restart, and asked to stop."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.machine.system import group_of_its_own
from webui.http.refusal import RefusedError
from webui.learn.generator import Generator, names
from webui.learn.processes import is_alive, mark_of, send
from webui.learn.runner import DONE, FAILED, PAUSED, RUNNING, STOPPED
from webui.settings import REPOSITORY

PREPARED = "prepared"  # and not trained yet
INTERRUPTED = "interrupted"  # a runner that is gone without having said how it ended
UNKNOWN_DEVICE = "cuda"  # what a training is taken to use that has not said so yet: it gets all that there may be


class Crew:
    """One runner for each generator at work.

    Args:
        work: the folder of all generators.

    Attributes:
        stopping: generators that were asked to stop, and have not yet.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        self._own: dict[str, subprocess.Popen[bytes]] = {}
        self._lasts: dict[str, str] = {}  # the last stages that these were started for
        self._adopted: set[int] = set()  # commands for which a runner was started that had lost theirs
        self.stopping: set[str] = set()

    def start(self, generator: Generator, last: str) -> None:
        """Starts a runner of the stages up to `last`; it outlives this process."""
        name = generator.chosen.name
        words = [sys.executable, "-m", "webui.learn.runner", str(self._work), name, last]
        generator.folder.mkdir(parents=True, exist_ok=True)
        with open(generator.log("runner"), "ab") as log:
            self._own[name] = subprocess.Popen(
                words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **group_of_its_own()
            )
        self._lasts[name] = last
        self.stopping.discard(name)

    def status(self, name: str, state: dict[str, Any]) -> str:
        """new, prepared, running, paused, stopped, failed, done or interrupted.

        Args:
            name: of the generator.
            state: of its run.
        """
        if self._runner_of(name, state) is not None:
            return RUNNING
        if not state:
            return "new"
        if state.get("status") == DONE and state.get("last") == "prepare":
            return PREPARED
        return INTERRUPTED if state.get("status") == RUNNING else str(state.get("status"))

    def is_at_work(self, name: str, state: dict[str, Any]) -> bool:
        """Whether a runner of it runs, or a command that has lost its runner."""
        return self.status(name, state) == RUNNING or is_alive(state.get("command"))

    def ask_to_stop(self, generator: Generator, number: int) -> None:
        """Sends a signal to its runner, at which it has its command save its state and leave.

        Raises:
            RefusedError: 409, nothing of it runs.
        """
        runner = self._runner_of(generator.chosen.name, generator.run_state())
        if runner is None or not send(runner, number):
            raise RefusedError(409, "nothing of this generator runs")
        self.stopping.add(generator.chosen.name)

    def put_aside(self, generator: Generator) -> None:
        """Tells one that is paused or failed as stopped.

        Raises:
            RefusedError: 409, it is neither.
        """
        state = generator.run_state()
        if self.status(generator.chosen.name, state) not in (PAUSED, FAILED, INTERRUPTED):
            raise RefusedError(409, "nothing of this generator runs")
        write_json(generator.run_path, {**state, "status": STOPPED, "error": None})

    def look(self) -> None:
        """Takes the ended processes out of the system's table, and those up that have lost their runner."""
        for runner in list(self._own.values()):
            runner.poll()
        for generator, state in self._all():
            command = state.get("command")
            lost = self.status(generator.chosen.name, state) == INTERRUPTED and is_alive(command)
            # A command that outlived the process which ran it gets another one, to hear how it ends.
            if lost and command["pid"] not in self._adopted:
                self._adopted.add(command["pid"])
                self.start(generator, str(state.get("last")))
        self.stopping &= set(self.running())

    def running(self) -> list[str]:
        """The generators at work."""
        return [g.chosen.name for g, state in self._all() if self.status(g.chosen.name, state) == RUNNING]

    def training_device(self, known: str | None = None) -> str | None:
        """The device of the training at work; None where there is none.

        Args:
            known: what it is, as far as that was found out before the training has said so.
        """
        for generator, state in self._all():
            alive = self.is_at_work(generator.chosen.name, state)
            own = self._own.get(generator.chosen.name)
            starting = own is not None and own.poll() is None  # it may not have written yet what it is to do
            last = self._lasts[generator.chosen.name] if starting else state.get("last")
            if alive and last != "prepare":
                return (state.get("forecast") or {}).get("device") or known or UNKNOWN_DEVICE
        return None

    def _runner_of(self, name: str, state: dict[str, Any]) -> dict[str, Any] | None:
        own = self._own.get(name)
        if own is not None and own.poll() is None:
            return mark_of(own.pid)
        return state["runner"] if is_alive(state.get("runner")) else None

    def _all(self) -> Iterator[tuple[Generator, dict[str, Any]]]:
        return with_states(self._work, names(self._work))


def with_states(work: Path, wanted: Iterable[str]) -> Iterator[tuple[Generator, dict[str, Any]]]:
    """Generators and the states of their runs; damaged ones are left out."""
    for name in wanted:
        try:
            generator = Generator.load(work, name)
        except UserError:
            continue
        yield generator, generator.run_state()
