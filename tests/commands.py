"""The project's real commands in forks of one process that has imported everything: tenths of a second, not five.

So are the processes that a command starts: those that read data or work on files, and other commands of ours. What
starts with a `python` of its own, such as a launcher, and what looks at how long an import takes, does not belong here.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch

import train.data.loader
from dualdiffusion.machine.helping import end_with_parent

# Imported once; torch._dynamo is what optimizers import when they are first made, in a second or two.
PRELOADED = [
    "torch._dynamo",
    "dataset_processing.run.runner",
    "dataset_processing.steps.convert",
    "dataset_processing.steps.filter",
    "dataset_processing.steps.scan",
    "dataset_processing.synth.corpus",
    "dualdiffusion.formats.mel_spectrogram",
    "dualdiffusion.latent_report.report",
    "dualdiffusion.models.unet_edm2",
    "dualdiffusion.models.vae_edm2",
    "sampling.output.contact_sheet",
    "sampling.generator",
    "sampling.output.clips",
    "train.startup.launch",
    "train.module_trainers.unet",
    "train.module_trainers.vae",
    "train.commands.overfit",
    "train.commands.sweep",
    "tests.webui.fake_model",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
    "uvicorn.lifespan.on",
    "webui.server",
]
ROOT = Path(__file__).resolve().parent.parent

# In the tests' own process and in all forks: only a power cut needs what it does, and each of a training's hundred
# calls waits for the disk. That files are synced is shown by tests that let it fail.
os.fsync = lambda descriptor: None


def run(
    words: Sequence[object],
    *,
    timeout: float,
    prepare: Callable[[], object] | None = None,
    merged: bool = False,
    forks: bool | None = None,
) -> subprocess.CompletedProcess[str]:
    """`python WORDS` in the project's folder, with one thread and nothing on standard input.

    Args:
        words: such as ("train.py", config) or ("-m", "sampling", ...).
        prepare: called in the fork before the command, to install a fault; must be picklable.
        merged: what is printed to standard error goes to standard output.
        forks: whether processes that the command starts are forks, too. By default where nothing is prepared: limits,
            mounts and the like would not be theirs.

    Raises:
        subprocess.TimeoutExpired: it took longer; it has been killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("stdout", "stdout" if merged else "stderr")]
        process = _start(words, streams, prepare, prepare is None if forks is None else forks)
        process.join(timeout)
        hangs = process.is_alive()
        if hangs:
            process.kill()
            process.join()
        output, errors = (path.read_text() if path.exists() else "" for path in streams)
        errors = "" if merged else errors
    arguments = [str(word) for word in words]
    if hangs:
        raise subprocess.TimeoutExpired(arguments, timeout, output, errors)
    return subprocess.CompletedProcess(arguments, process.exitcode, output, errors)


class Running:
    """A command that goes on, with the members of `subprocess.Popen` that tests use.

    Args:
        streams: files that get what it prints to standard output and to standard error.
    """

    def __init__(self, *words: object, streams: tuple[Path, Path] = (Path(os.devnull), Path(os.devnull))) -> None:
        self._process = _start(words, list(streams), None, True)
        assert self._process.pid is not None
        self.pid = self._process.pid

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Waits for its end, and returns its exit code; raises `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code


def _start(
    words: Sequence[object], streams: list[Path], prepare: Callable[[], object] | None, forks: bool
) -> ForkServerProcess:
    start_server()
    server = forkserver._forkserver._forkserver_address if forks else None
    arguments = ([str(word) for word in words], streams, prepare, server)
    process = multiprocessing.get_context("forkserver").Process(target=_child, args=arguments)
    process.start()
    return process


def start_server() -> None:
    """Starts what forks commands, where it does not run yet; datasets' workers, which are forks too, then use it."""
    forkserver.set_forkserver_preload([*PRELOADED, __name__])
    forkserver.ensure_running()


def _child(arguments: list[str], streams: list[Path], prepare: Callable[[], object] | None, server: str | None) -> None:
    gc.freeze()  # what was imported stays: to look for garbage there costs a second each time
    for descriptor, path in enumerate([Path(os.devnull), *streams]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
    os.chdir(ROOT)
    torch.set_num_threads(1)
    if server:
        _fork_others(server)
    if prepare:
        prepare()
    _execute(arguments)


def _execute(arguments: list[str]) -> None:
    multiprocessing.process._parent_process = None  # type: ignore[attr-defined] (none that it would know of)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (for as long as the process)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def _fork_others(server: str) -> None:
    """Lets what this process starts be forks: of the server at an address, of which it is itself one, or of itself."""
    others = forkserver._forkserver
    others._forkserver_address = server
    others.ensure_running = resource_tracker.ensure_running  # type: ignore[method-assign] (the server runs)
    train.data.loader.SpawnProcess = _ForkedReader  # type: ignore[misc, assignment]
    subprocess.Popen = _ForkedPopen  # type: ignore[misc]


class _ForkedReader(ForkServerProcess):
    """A process that reads data; torch ends those of its own making with their parent, which here is the server."""

    def run(self) -> None:
        end_with_parent()
        super().run()


class _ForkedPopen(subprocess.Popen[Any]):
    """`python WORDS` as a fork of this process; any other program as it is."""

    def _execute_child(self, args: Any, *rest: Any) -> None:
        _, before, _, passed, folder, environment, *_ = rest
        pipes, new_session = rest[9:15], rest[20]
        python, *words = map(str, args) if isinstance(args, list | tuple) else [str(args)]
        if python != sys.executable or not _can_be_fork(words) or before or passed:
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        process = multiprocessing.get_context("fork").Process(target=_execute, args=(words,))
        sys.stdout.flush()
        sys.stderr.flush()
        ready, closed_when_ready = os.pipe()
        self.pid = os.fork()  # not Process.start(), as multiprocessing would then wait for it before this object does
        if self.pid == 0:
            code = 1
            try:
                _become((pipes[0], pipes[3], pipes[5]), folder, environment, new_session)
                code = process._bootstrap()  # type: ignore[attr-defined]
            finally:
                os._exit(code)
        self._child_created = True
        os.close(closed_when_ready)
        os.read(ready, 1)
        os.close(ready)
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def _can_be_fork(words: list[str]) -> bool:
    """Whether what `python WORDS` runs is a file or a module, and none that limits its own memory."""
    return words[0][:1] != "-" or (words[0] == "-m" and words[1] != "webui.exchange.helper")


def _become(streams: Sequence[int], folder: Any, environment: Any, new_session: bool) -> None:
    """Makes a fork what a new process would be: its streams, folder and variables, and nothing else that is open."""
    if new_session:
        os.setsid()
    if folder is not None:
        os.chdir(folder)
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    for number, stream in enumerate(streams):
        if stream >= 0:
            os.dup2(stream, number)
    kept = {forkserver._forkserver._forkserver_alive_fd, resource_tracker._resource_tracker._fd}  # type: ignore[attr-defined]
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in kept:  # taken still: objects of the parent may close them any time
            with contextlib.suppress(OSError):
                os.dup2(nothing, descriptor)
