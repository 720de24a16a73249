"""What of the machine's processors is ours, and how threads wait for one another. Imports no torch.

torch spreads an operation over OpenMP threads, and a thread that is done with its part waits for the others by asking
again and again, for milliseconds, many times a second. Where something else runs on the same cores, it is the thread
that is waited for that is kept from working: of two cores, one competing process per core costs a factor of ten and
more. A thread that sleeps at once is no way out either: it has to be woken, which made training steps half as long
again on a quiet virtual machine. So threads ask a thousand times, and then sleep (tests/benchmarks/busy.py).
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from dualdiffusion.machine.system import allowed_processors

# How a waiting thread waits, as OpenMP, GNU's and Intel's library are told; each is read once, when it is loaded.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
THREADS = "OMP_NUM_THREADS"
SPIN_COUNT = 1000
"""How often a waiting thread of GNU's OpenMP asks before it sleeps; its own default is 300,000. Intel's is told whole
milliseconds instead, so there threads sleep at once."""


def prepare_cpu() -> None:
    """Gives OpenMP one thread for each of our cores, and lets waiting threads sleep soon. Call before torch is loaded.

    These are settings of OpenMP's, which has no other place for them than the environment. What is set there already
    stays: to whoever has said how threads wait, or how many there are, we say nothing.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ.update(GOMP_SPINCOUNT=str(SPIN_COUNT), KMP_BLOCKTIME="0")
    os.environ.setdefault(THREADS, str(usable_cores()))


def usable_cpus(system: Path = Path("/")) -> int:
    """Logical processors for this process, at least 1: by its affinity and the quotas of its control groups."""
    return min([len(allowed_processors()), *_quotas(system)])


def usable_cores(system: Path = Path("/")) -> int:
    """Physical cores for this process, at least 1: arithmetic gains nothing from a second thread on one core."""
    cores = set()
    for cpu in allowed_processors():
        siblings = system / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        try:
            cores.add(siblings.read_text())
        except OSError:  # not told by this system: a core of its own
            cores.add(str(cpu))
    return min([len(cores), *_quotas(system)])


def control_groups(system: Path, controller: str = "") -> list[Path]:
    """The process's control group and all above it; in a container, what it is shown as the root.

    Args:
        system: root of the file system.
        controller: such as "cpu", for groups of version 1; empty for those of version 2.
    """
    root, inner = system / "sys/fs/cgroup" / controller, Path()
    with contextlib.suppress(OSError):
        lines = [line.split(":", 2) for line in (system / "proc/self/cgroup").read_text().splitlines()]
        path = next((path for _, names, path in lines if controller in names.split(",")), "/")
        # A group outside of what a container is shown stands as /../..: only its root can be read.
        inner = Path() if ".." in Path(path).parts else Path(path.lstrip("/"))
    return [root / part for part in (inner, *inner.parents)]


def _quotas(system: Path) -> list[int]:
    """Processors' worth of time that control groups allow, rounded up; none where there is no limit."""
    told = [_read(group / "cpu.max") for group in control_groups(system)]
    for group in control_groups(system, "cpu"):
        told.append([*_read(group / "cpu.cfs_quota_us"), *_read(group / "cpu.cfs_period_us")])
    limits = [words for words in told if len(words) == 2 and all(word.isdigit() for word in words)]  # not max, nor -1
    return [max(1, math.ceil(int(quota) / int(period))) for quota, period in limits if int(period)]


def _read(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
