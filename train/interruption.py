"""Requests to stop: signals, a dead parent, and the file `save_now`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

SAVE_NOW = "save_now"


class Interruption:
    """Notices requests to stop or to save; the loop asks after each step.

    A second signal ends the process at once: checkpoints are put in place by a rename, so nothing is damaged.

    Args:
        launcher: what `launcher_id` returned when the process started.
    """

    def __init__(self, run_path: Path, launcher: int | None) -> None:
        self.exit_code: int | None = None
        self._save_now = run_path / SAVE_NOW
        self._launcher = launcher
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.exit_code is not None:
            os._exit(128 + number)
        self.exit_code = 128 + number
        print(f"\n{signal.Signals(number).name}: saving after this step; once more to leave at once", file=sys.stderr)

    def requested(self) -> int | None:
        """The exit code to stop with, or None to go on."""
        if self.exit_code is None and self._launcher not in (None, os.getppid()):
            print("the launching process has ended: saving and stopping", file=sys.stderr)
            self.exit_code = 128 + signal.SIGTERM
        return self.exit_code

    def save_requested(self) -> bool:
        """Whether the file `save_now` lies in the run folder; it is taken away."""
        if not self._save_now.exists():
            return False
        self._save_now.unlink(missing_ok=True)
        return True


def launcher_id() -> int | None:
    """The process id of `accelerate launch`, if that started this process.

    It does not pass on signals: when it is killed, its child is adopted by another process and trains on. A shell that
    is closed while training goes on with nohup is no reason to stop, so other parents do not count.
    """
    parent = os.getppid()
    try:
        return parent if b"accelerate" in Path(f"/proc/{parent}/cmdline").read_bytes() else None
    except OSError:  # gone already, or no such file system
        return None
