"""The runner in a fork, with shell commands for stages: they stand in `commands.json` of the generator's folder."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

from dualdiffusion.command_line import run_command
from dualdiffusion.files import folder_lock
from webui.learn.generator import Generator, StageName
from webui.learn.runner import Runner


class FakeGenerator(Generator):
    """Another command for each stage."""

    def command(self, stage: StageName, micro_batches: dict[str, int] | None = None) -> list[str]:
        script = json.loads((self.folder / "commands.json").read_text())[stage]
        return ["/bin/sh", "-c", script.replace("MICRO", str((micro_batches or {}).get(stage)))]


def start(work: Path, name: str, last: str, errors: Path) -> multiprocessing.Process:
    """Begins to run stages in another process; what it says of errors goes into a file."""
    process = multiprocessing.get_context("fork").Process(target=_child, args=(work, name, last, errors))
    process.start()
    return process


def _child(work: Path, name: str, last: str, errors: Path) -> None:
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 (for as long as the process)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    run_command(lambda: _run(work, name, last))


def _run(work: Path, name: str, last: str) -> int:
    generator = FakeGenerator.load(work, name)
    with folder_lock(generator.folder):
        return Runner(generator, last).run()
