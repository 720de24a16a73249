"""Requests to stop: signals, a dead parent, and the file `save_now`."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from dualdiffusion.machine import system
from dualdiffusion.machine.output import tell_at_once
from dualdiffusion.machine.system import HANGUP, is_parent, process_text

SAVE_NOW = "save_now"
LAUNCHERS = (b"accelerate", b"torchrun", b"torch.distributed")
# Seconds within which a launcher of several processes repeats a signal that they have already had from the terminal.
ECHO_SECONDS = 1.0


class Interruption:
    """Notices requests to stop or to save; the loop asks after each step.

    A second signal ends the process at once: checkpoints are put in place by a rename, so nothing is damaged. A closed
    terminal, which is told by SIGHUP, is a request to stop too, except under nohup.

    Args:
        launcher: what `launcher_id` returned when the process started.
        processes: of the run. Where there are several, Ctrl-C comes from the terminal and again from the launcher.
        quiet: print nothing, as another process does.
    """

    def __init__(self, run_path: Path, launcher: int | None, *, processes: int = 1, quiet: bool = False) -> None:
        self.exit_code: int | None = None
        self._save_now = run_path / SAVE_NOW
        self._launcher, self._quiet = launcher, quiet
        self._echo_seconds = ECHO_SECONDS if processes > 1 else 0.0
        self._since = 0.0
        for number in (signal.SIGTERM, signal.SIGINT, HANGUP):
            # Started by nohup, or in the background of a script that shields it, a run hears of no hangup.
            if number is not None and (number != HANGUP or signal.getsignal(number) != signal.SIG_IGN):
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.exit_code is None:
            self.exit_code, self._since = 128 + number, time.monotonic()
            self._say(f"\n{signal.Signals(number).name}: saving after this step; once more to leave at once")
        elif number != HANGUP and time.monotonic() - self._since >= self._echo_seconds:
            os._exit(128 + number)  # a hangup comes from the system and again from the shell

    def requested(self) -> int | None:
        """The exit code to stop with, or None to go on."""
        if self.exit_code is None and self._launcher is not None and not is_parent(self._launcher):
            self._say("the launching process has ended: saving and stopping")
            self.exit_code = 128 + signal.SIGTERM
        return self.exit_code

    def save_requested(self) -> bool:
        """Whether the file `save_now` lies in the run folder; it is taken away."""
        if not self._save_now.exists():
            return False
        self._save_now.unlink(missing_ok=True)
        return True

    def _say(self, text: str) -> None:
        if not self._quiet:
            tell_at_once(text)  # not print: a signal may come while the main program is inside it


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Inside the block signals that ask to stop wait; processes started in it never get any.

    Ctrl-C, and whoever ends a job, signal all processes of a run. Processes that read data must outlive that, as the
    step in progress needs them; they end with the training process.
    """
    with system.signals_held(signal.SIGINT, *system.STOP_SIGNALS):
        yield


def launcher_id() -> int | None:
    """The process id of `accelerate launch` or `torchrun`, if that started this process.

    It does not always pass on signals: when it is killed, its child is adopted by another process and trains on. A
    shell that is closed while training goes on with nohup is no reason to stop, so other parents do not count.
    """
    command = _launcher_command()
    return os.getppid() if command else None


def processes_asked() -> int:
    """How many processes the launcher that started this one was asked for; 1 where it was not told."""
    return launcher_option("--num_processes") or 1


def threads_asked() -> int | None:
    """How many threads the user asked for, by OMP_NUM_THREADS or an option of `accelerate launch`; None: nobody did.

    Launchers set OMP_NUM_THREADS to 1 for the processes that they start where they were not told, and commands of ours
    set it too; so what counts is what the launcher, or else this process, was itself started with.
    """
    process = launcher_id() or "self"
    said = launcher_variable("OMP_NUM_THREADS", process) or ""
    return launcher_option("--num_cpu_threads_per_process") or (int(said) if said.isdigit() else None)


def precision_asked() -> str | None:
    """The precision that `accelerate launch` was asked for, by an option or its saved settings; None: it was not."""
    asked = launcher_variable("ACCELERATE_MIXED_PRECISION")
    return None if asked == "no" else asked


def launcher_variable(name: str, process: int | str = "self") -> str | None:
    """A word that a process ("self": this one) was started with under a name; None where it was not."""
    found = re.search(rb"(?:^|\0)" + name.encode() + rb"=(\w+)(?:\0|$)", read_process(process, "environ"))
    return found[1].decode() if found else None


def launcher_option(name: str) -> int | None:
    """The number that the launcher which started this process was given with an option; None where it was not."""
    for word, following in itertools.pairwise([*_launcher_command(), ""]):
        option, _, value = word.partition("=")
        if option == name and (value or following).isdigit():
            return int(value or following)
    return None


def _launcher_command() -> list[str]:
    """The words of the command that started this process, if it was a launcher; else nothing."""
    command = read_process(os.getppid(), "cmdline")
    return command.decode(errors="replace").split("\0") if any(name in command for name in LAUNCHERS) else []


def read_process(process: int | str, file: str) -> bytes:
    """What the system tells of a process ("self": this one), see `process_text`; nothing where it is gone already."""
    return process_text(None if process == "self" else int(process), file)
