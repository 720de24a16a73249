"""`python -m tests.webui.learn.fake_run WORK NAME LAST`: the runner, with shell commands for stages.

They stand in `commands.json` of the generator's folder, by stage.
"""

from __future__ import annotations

import json
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


def main() -> int:
    """Runs the stages."""
    work, name, last = sys.argv[1:]
    generator = FakeGenerator.load(Path(work), name)
    with folder_lock(generator.folder):
        return Runner(generator, last).run()


if __name__ == "__main__":
    run_command(main)
