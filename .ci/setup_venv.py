"""Makes a virtual environment, or completes it; standard library only.

Usage: python3.11 .ci/setup_venv.py [--whole] FOLDER REQUIREMENTS [MORE_REQUIREMENTS]

FOLDER/.ready tells that REQUIREMENTS are installed, FOLDER/.ready-more that MORE_REQUIREMENTS are, too. Where there is
no NVIDIA GPU, torch comes without most of what it has for one: 0.2 GB from PyTorch's own index where that can be
reached; else, from PyPI, with the libraries that it must find to be imported, but without those for compiling and
solving on a GPU. `--whole` installs everything.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path
from typing import IO

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# torch's own requirements on Linux, and accelerate's, in groups that are installed at the same time: none needs a
# package of another group before it runs. Left out: see LEFT_OUT.
CUDA_TOOLKIT = ["cuda-toolkit[cublas,cudart,cufft,cufile,cupti,curand,cusparse,nvjitlink]==13.0.2"]
CUDA_OTHERS = [
    "nvidia-cudnn-cu13==9.19.0.56",
    "nvidia-cusparselt-cu13==0.8.0",
    "nvidia-nccl-cu13==2.28.9",
    "nvidia-nvshmem-cu13==3.4.5",
]
PLAIN = ["filelock", "typing-extensions", "setuptools<82", "sympy>=1.13.3", "networkx", "jinja2", "fsspec"]
PLAIN += ["packaging", "psutil", "pyyaml", "huggingface_hub"]
# What torch loads on a GPU only: its compiler, the run-time compiler, the solver, annotations, and the driver's names.
LEFT_OUT = ("triton", "nvidia-cuda-nvrtc", "nvidia-cusolver", "nvidia-nvtx", "cuda-bindings", "cuda-pathfinder")
# Installed without asking for what they require, as they require torch, and torch all of it.
ON_TORCH = ("torch", "torchaudio", "accelerate")
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
WHOLE_GB, WITHOUT_GPU_GB, MORE_GB = 11, 7, 1  # of disk, with what is downloaded; the first is a guess
WITHOUT_GPU = "# without GPU\n"  # the last line of FOLDER/.ready then; before it, the text of REQUIREMENTS


def has_gpu() -> bool:
    """Whether there is an NVIDIA driver, also that of Windows below Linux."""
    paths = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg")
    return any(Path(path).exists() for path in paths) or shutil.which("nvidia-smi") is not None


def main() -> int:
    """Installs what is missing and marks it as ready; a half-made environment is made again."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever gave another PYTHON shall be told
        print("error: Python 3.11 or newer is needed; give it as PYTHON=... to make", file=sys.stderr)
        return 2
    arguments = [argument for argument in sys.argv[1:] if argument != "--whole"]
    folder, requirements, *more = map(Path, arguments)
    whole = "--whole" in sys.argv or has_gpu() or (sys.platform, platform.machine()) != ("linux", "x86_64")
    with open(f".lock-{folder.name.strip('.')}", "w") as lock:
        hold(lock)  # until this process ends, however it ends, and what it has started
        environment = Environment(folder, lock.fileno())
        code = environment.make(requirements, whole)
        return code or next((code for path in more if (code := environment.complete(path))), 0)


def hold(lock: IO[str]) -> None:
    """Waits for other runs of this program, where the system and the file system can lock; else says so."""
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
    except (ImportError, OSError):  # Windows; Lustre, some NFS and FUSE mounts, volumes of containers
        print("no locks here: let no other `make` run in this folder meanwhile", file=sys.stderr)


class Environment:
    """A virtual environment.

    Args:
        lock: a descriptor that installers keep open: should this process be killed, they hold the lock to their end.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder, self.lock = folder, lock
        self.ready, self.more, self.half = (folder / name for name in (".ready", ".ready-more", ".half-made"))

    def make(self, requirements: Path, whole: bool) -> int:
        """Makes the environment anew unless it is as wanted; one with everything serves where less would do."""
        text = requirements.read_text()
        there = self.ready.read_text() if self.ready.exists() and not self.half.exists() else ""
        if there.startswith(text) and not (whole and there.endswith(WITHOUT_GPU)):
            self._settle()
            self.ready.touch()
            return 0
        started = time.monotonic()
        print(f"making {self.folder}{'' if whole else ', without GPU (with: make setup GPU=1)'}", flush=True)
        self.ready.unlink(missing_ok=True)
        venv.create(self.folder, with_pip=True, clear=True)
        code = self._whole(requirements) if whole else self._without_gpu(requirements)
        if code:
            self._tell_failure(WHOLE_GB if whole else WITHOUT_GPU_GB)
            return code
        write(self.ready, text if whole else text + WITHOUT_GPU)
        print(f"made {self.folder} in {time.monotonic() - started:.0f} s", flush=True)
        return 0

    def _settle(self) -> None:
        """Gives the scripts of an environment that was moved or copied its new place, which they name."""
        scripts, now = self.folder / SCRIPTS, self.folder.absolute()
        activate = scripts / "activate"
        if not activate.exists():
            return
        found = re.search(r"^\s*VIRTUAL_ENV=[\"']?(.+?)[\"']?$", activate.read_text("utf-8"), re.MULTILINE)
        made_at = Path(found[1]) if found else now
        if made_at.exists() and made_at.samefile(now):
            return
        print(f"{self.folder} was made as {made_at}: its scripts get their new place", flush=True)
        for path in [path for path in scripts.iterdir() if path.is_file() and not path.is_symlink()]:
            data = path.read_bytes()
            if b"\0" not in data and bytes(made_at) in data:
                path.write_bytes(data.replace(bytes(made_at), bytes(now)))

    def complete(self, requirements: Path) -> int:
        """Adds the packages of another file."""
        text = requirements.read_text()
        if self.more.exists() and self.more.read_text() == text:
            self.more.touch()
            return 0
        write(self.half, "")  # killed from here on, the environment is made again
        code = self._pip(["-r", str(requirements)]).wait()
        if code:
            self._tell_failure(MORE_GB)
            return code
        write(self.more, text)
        self.half.unlink()
        return 0

    def _tell_failure(self, needed_gb: int) -> None:
        """Says in one line that installing failed and, where a disk has less room than the packages take, which disk.

        How much is free tells little of how full it was: a pip that fails removes what it has downloaded.
        """
        print("error: the packages could not be installed; see pip's message above", end="", file=sys.stderr)
        for path in (self.folder, Path(tempfile.gettempdir())):
            free_gb = shutil.disk_usage(path).free / 1e9
            if free_gb < needed_gb:
                room = f"{free_gb:.1f} GB are free at {path}, and they take up to {needed_gb} GB"
                print(f" ({room}: make room, and give the command again)", end="", file=sys.stderr)
                break
        print(file=sys.stderr)

    def _whole(self, requirements: Path) -> int:
        print("a few GB, about two minutes", flush=True)
        return self._pip(["-r", str(requirements)]).wait()

    def _without_gpu(self, requirements: Path) -> int:
        lines = [line for line in requirements.read_text().splitlines() if line and not line.startswith("#")]
        on_torch = [line for line in lines if name_of(line) in ON_TORCH]
        others = [*(line for line in lines if line not in on_torch), *PLAIN]
        torch = [line for line in on_torch if name_of(line).startswith("torch")]
        quick = ["--index-url", CPU_INDEX, "--retries", "1", "--timeout", "15"]
        if reachable(CPU_INDEX) and self._pip(["--no-deps", *quick, *torch]).wait() == 0:
            print("torch is from PyTorch's index; the rest is from PyPI", flush=True)
            groups = [["--no-deps", *(line for line in on_torch if line not in torch)], others]
        else:
            print("torch is from PyPI: about 2.5 GB with what it must find there", flush=True)
            groups = [["--no-deps", *on_torch], CUDA_TOOLKIT, ["--no-deps", *CUDA_OTHERS], others]
        if all([process.wait() == 0 for process in [self._pip(["--quiet", *group]) for group in groups]]):
            modules = ", ".join(sorted({name_of(line) for line in (*on_torch, "fastapi", "uvicorn", "av")}))
            if subprocess.run([self.folder / SCRIPTS / "python", "-c", f"import {modules}"]).returncode == 0:
                return 0
        print("that does not work here; installing everything", flush=True)
        return self._whole(requirements)

    def _pip(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        # Byte code is made when a module is first imported, which most never are.
        options = ["--disable-pip-version-check", "--no-compile", "--no-warn-conflicts"]
        command = [self.folder / SCRIPTS / "python", "-m", "pip", "install", *options, *arguments]
        # Windows passes no descriptors on.
        return subprocess.Popen(command, **({"pass_fds": [self.lock]} if os.name == "posix" else {}))


def write(path: Path, text: str) -> None:
    """Writes a file as a whole or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def name_of(requirement: str) -> str:
    """The package's name in a line such as `torch==2.11.0`."""
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0]


def reachable(index: str) -> bool:
    """Whether a package index answers soon."""
    try:
        with urllib.request.urlopen(f"{index}/torch/", timeout=5):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
