"""What a process that helps another one does first. Imports no torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading

from dualdiffusion.machine.notices import be_quiet
from dualdiffusion.machine.output import guard_output


def help_quietly() -> None:
    """Leaves Ctrl-C, standard input and telling what the machine lacks to the main process.

    What such a process prints cannot hold it up either.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin = open(os.devnull)  # noqa: SIM115 (for the life of the process)
    guard_output()
    be_quiet()


def end_with_parent() -> None:
    """Ends this process as soon as the main one does, however that ends: a pool itself would not notice."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def start_helping() -> None:
    """Both, for the processes of a pool."""
    help_quietly()
    end_with_parent()
