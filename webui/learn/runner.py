"""Runs the commands that make a generator, one after another: `python -m webui.learn.runner WORK NAME LAST_STAGE`.

A process of its own, which outlives the server: closing the page, or starting the server again, changes nothing. The
commands are those that one would type; each goes on where it was when it is given again. So all that this process has
to remember is which have ended well (`run.json`, written after every change). SIGTERM is passed on to the command at
work, which saves its state; then this process leaves, too. A command that the system has killed is given again, a few
times. A command that outlived a killed runner is waited for, and then given again, to hear how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from dualdiffusion.command_line import run_command
from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import folder_lock, write_json
from dualdiffusion.machine.system import end_group, group_of_its_own, was_killed
from webui.learn.generator import STAGES, Generator, StageName
from webui.learn.presets import gib
from webui.learn.processes import is_alive, mark_of, send
from webui.learn.progress import COMMAND_MARK
from webui.settings import REPOSITORY

RESTARTS = 2  # of a command that was killed
POLL = 0.2  # seconds
PATIENCE = 900.0  # seconds that a command which was asked to stop may take to save its state
LAST_BYTES = 20_000  # of a log, in which its error is looked for

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
PAUSED, STOPPED = "paused", "stopped"  # by SIGTERM, and by SIGINT: for now, and for good


def stages_until(last: str) -> tuple[StageName, ...]:
    """The stages up to one of them: "prepare" alone, or those of the training after it."""
    return ("prepare",) if last == "prepare" else STAGES[1 : STAGES.index(last) + 1]  # type: ignore[arg-type]


def last_error(text: str, code: int) -> str:
    """The one line that a command has left: its `error: ...`, or else its last one.

    Args:
        text: the end of what it printed.
        code: its exit code, negative for a signal.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if told:
        return told[-1]
    if code < 0:
        hint = "; the machine may have run out of memory" if was_killed(code) else ""
        return f"was ended by signal {-code}{hint}"
    return f"ended with exit code {code}" + (f": {lines[-1]}" if lines else "")


def last_json(text: str) -> Any:
    """The last JSON object that a command has printed on a line of its own.

    Raises:
        ValueError: there is none.
    """
    objects = [line for line in text.splitlines() if line.startswith("{")]
    if not objects:
        raise ValueError("holds no line of JSON")
    return json.loads(objects[-1])


class Runner:
    """Runs stages; all that it knows stands in `state`, as `run.json` has it."""

    def __init__(self, generator: Generator, last: str) -> None:
        self.generator, self.stages = generator, stages_until(last)
        old = generator.run_state()
        stages = {name: dict(old.get("stages", {}).get(name) or {"status": WAITING}) for name in STAGES}
        if last == "prepare":  # done again: what follows from it may change
            stages = {name: {"status": WAITING} for name in STAGES}
        stages["check"] = {"status": WAITING}  # the memory may be another one now
        self.state: dict[str, Any] = {
            "status": RUNNING,
            "runner": mark_of(os.getpid()),
            "command": old.get("command"),
            "last": last,
            "stage": None,
            "error": None,
            "stages": stages,
            "forecast": old.get("forecast"),
        }
        self.stopping = 0  # the signal that asked us to

    def run(self) -> int:
        """Runs what is not done yet; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._write()
        self._wait_for_orphan()
        for stage in self.stages:
            if self.state["stages"][stage]["status"] == DONE:
                continue
            if self.stopping or not self._run_stage(stage):
                break
        else:
            self._end(DONE)
            return 0
        if self.stopping:
            self._end(STOPPED if self.stopping == signal.SIGINT else PAUSED)
        return 1

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stopping = self.stopping or number

    def _run_stage(self, stage: StageName) -> bool:
        """Whether the stage has ended well."""
        self.state["stage"] = stage
        own = self.state["stages"][stage]
        own.update(status=RUNNING, began=own.get("began") or time.time(), since=time.time())
        own.pop("ended", None)
        for attempt in range(RESTARTS + 1):
            code, text = self._run_command(stage)
            if self.stopping or not was_killed(code) or attempt == RESTARTS:
                break
            own["killed"] = own.get("killed", 0) + 1
        error = None if code == 0 else last_error(text, code)
        if code == 0 and stage == "check":
            error = self._take_forecast(text)
        if error is None:
            own.update(status=DONE, ended=time.time())
            self._write()
        elif self.stopping:
            own["status"] = PAUSED
        else:
            own["status"] = FAILED
            self.state["error"] = one_line(error)[:1000]
            self._end(FAILED)
        return error is None

    def _take_forecast(self, text: str) -> str | None:
        """Remembers what the trainings will need; returns why they cannot begin, or None."""
        try:
            forecast = last_json(text)
        except ValueError:
            return "the memory that training needs cannot be predicted; see the log"
        self.state["forecast"] = forecast
        for run in forecast["runs"]:
            if "error" in run:
                return str(run["error"])
            if not run["fits"]:
                need, room = gib(run["need"]), gib(forecast["room"])
                return (
                    f"training the {run['module']} is predicted to need {need}, and {room} are free; close other "
                    "programs and go on, or choose a smaller preset"
                )
        return None

    def _micro_batches(self) -> dict[str, int]:
        runs = (self.state["forecast"] or {}).get("runs", [])
        return {run["module"]: run["micro_batch_size"] for run in runs if run.get("micro_batch_size")}

    def _run_command(self, stage: StageName) -> tuple[int, str]:
        """(Exit code, the end of what was printed) of a stage's command."""
        words = self.generator.command(stage, self._micro_batches())
        path = self.generator.log(stage)
        with open(path, "ab") as log:
            log.write(f"{COMMAND_MARK}{shlex.join(words)}\n".encode(errors="surrogateescape"))
            log.flush()
            start = log.tell()
            code = self._follow(words, log)
        with open(path, "rb") as log:
            log.seek(max(start, path.stat().st_size - LAST_BYTES))
            return code, log.read().decode(errors="replace")

    def _follow(self, words: Sequence[str], log: IO[bytes]) -> int:
        """Runs a command to its end, and asks it to stop when we are asked to."""
        child = subprocess.Popen(
            words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **group_of_its_own()
        )
        self.state["command"] = mark_of(child.pid)
        self._write()
        asked = 0.0
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(POLL)
            if self.stopping and not asked:
                child.terminate()
                asked = time.monotonic()
            elif asked and time.monotonic() - asked > PATIENCE:
                end_group(child.pid)

    def _wait_for_orphan(self) -> None:
        """Waits for a command that outlived the runner that started it."""
        mark, asked = self.state["command"], False
        while is_alive(mark):
            if self.stopping and not asked:
                asked = send(mark, signal.SIGTERM)
            time.sleep(POLL)

    def _end(self, status: str) -> None:
        self.state.update(status=status, runner=None, command=None)
        self._write()

    def _write(self) -> None:
        # On a full disk the work goes on, and the next change is written.
        with contextlib.suppress(OSError):
            write_json(self.generator.run_path, self.state)


def main(words: Sequence[str] | None = None) -> int:
    """Runs the stages.

    Raises:
        UserError: there is no such generator, or another runner is at work on it.
    """
    arguments = list(sys.argv[1:] if words is None else words)
    if len(arguments) != 3 or arguments[2] not in STAGES:
        raise UserError("usage: python -m webui.learn.runner WORK NAME LAST_STAGE")
    work, name, last = arguments
    generator = Generator.load(Path(work), name)
    with folder_lock(generator.folder):
        return Runner(generator, last).run()


if __name__ == "__main__":
    run_command(main)
