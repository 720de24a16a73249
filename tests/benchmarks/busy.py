"""What does another program on the same cores cost? Threads that ask for a moment, sleep at once, or ask for long.

    python -m tests.benchmarks.busy [--model MODEL] [--pairs 5] [--json FILE]

Waiting threads of OpenMP ask again and again whether the others are done, for about 3 ms (GNU), before they sleep;
`dualdiffusion.machine.threads` lets them ask a thousand times. Sampling (a clip of a tiny model with random
weights, or of MODEL) and training (steps of the tiny UNet, batch 16 of latents 4 x 32 x 64) are measured with each way
of waiting (ours; passive: they sleep at once; usual: as libraries do), on the machine as it is and beside a competing
load of one busy process for each core. Each measurement has a process of its own, and the ways take turns, so that what
else goes on meets all alike. Medians count; ratios are those of another way over ours. Only on a CPU: a GPU's process
has no threads to wait for.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.component import component_from_json
from dualdiffusion.config import read_config
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.labels import Game, Labels
from dualdiffusion.machine.threads import WAITING, usable_cores, usable_cpus
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import save_module
from sampling.generator import Generator
from sampling.request import Request
from tests.benchmarks.training.step import Case, make_step

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("sampling", "training")
LOADS = ("as it is", "competing")
# The usual way is what the libraries do where nothing is set: 300,000 questions (GNU), 200 ms (Intel). As a setting, it
# is one that a user has made, and so it stays.
WAYS = {
    "ours": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"},
    "usual": {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"},
}
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(10**6))"
STEPS_AT_ONCE = 2


def make_model(path: Path) -> ModelFolder:
    """The demo's networks with random weights."""
    folder, games = ModelFolder(path), Labels((Game(0, "Castle", 1),))
    torch.manual_seed(0)
    format = component_from_json("dualdiffusion.formats", read_config(ROOT / "config/formats/mel_16khz.json")).build()
    save_module(folder, "format", format)
    vae = component_from_json("dualdiffusion.models", read_config(ROOT / "config/models/vae_tiny.json")).build()
    save_module(folder, "vae", vae)
    backbone = {**read_config(ROOT / "config/models/unet_tiny.json"), "label_dim": games.dim}
    backbone["in_channels"] = vae.latent_channels
    config = Denoiser.Config(backbone=component_from_json("dualdiffusion.models", backbone))
    save_module(folder, "unet", Denoiser(config))
    games.save(folder.labels_path)
    return folder


def make_work(task: str, options: Any) -> Callable[[], None]:
    """What is measured: one clip, or a few training steps."""
    if task == "training":
        step = make_step("ours", Case("tiny", batch=16, columns=64, device="cpu", compile=False))
        return lambda: [step() for _ in range(STEPS_AT_ONCE)] and None
    generator = Generator.load(ModelFolder(options.model), "cpu")
    games = {generator.labels.names[0]: 1.0}
    request = Request(games=games, seconds=options.clip_seconds, steps=options.steps)
    return lambda: generator.generate(request) and None


def measure_here(task: str, options: Any) -> list[float]:
    """Seconds of each repetition in this process, for `options.seconds` and at least twice."""
    work = make_work(task, options)
    work()  # allocates, and starts the threads
    taken: list[float] = []
    while len(taken) < 2 or sum(taken) < options.seconds:
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return taken


def measure(task: str, way: str, options: Any) -> float:
    """Median seconds of a clip, or of a step, in a process that waits in one of WAYS."""
    command = [sys.executable, "-m", "tests.benchmarks.busy", "--task", task, "--model", str(options.model)]
    command += [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in ("seconds", "clip_seconds", "steps")]
    environment = {name: value for name, value in os.environ.items() if name not in WAITING} | WAYS[way]
    result = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise UserError(f"{task}: a measurement failed; its own message is above")
    found = median(json.loads(result.stdout.splitlines()[-1]))
    return found / STEPS_AT_ONCE if task == "training" else found


@contextlib.contextmanager
def competition(load: str) -> Iterator[None]:
    """Inside the block, one process computes on each processor that we may use; they end with this one."""
    count = usable_cpus() if load == "competing" else 0
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure_all(options: Any, console: Console) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Seconds of every measurement by task, load and way of waiting."""
    found = {task: {load: {way: [] for way in WAYS} for load in LOADS} for task in TASKS}
    for pair in range(options.pairs):
        for task in TASKS:
            for load in LOADS:
                for way in list(WAYS)[:: -1 if pair % 2 else 1]:  # neither is always the first
                    with competition(load):
                        found[task][load][way].append(measure(task, way, options))
                both = ", ".join(f"{way} {seconds[-1]:.3g} s" for way, seconds in found[task][load].items())
                console.print(f"pair {pair + 1} of {options.pairs}: {task}, {load}: {both}")
    return found


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """By task and load: each way's median, the median and the extremes of its ratios over ours, and all figures."""
    result: dict[str, Any] = {}
    for task, loads in found.items():
        for load, ways in loads.items():
            of: dict[str, Any] = {"seconds": ways}
            for way, seconds in ways.items():
                ratios = [taken / ours for taken, ours in zip(seconds, ways["ours"], strict=True)]
                of[way] = {"median": median(seconds), "ratio": median(ratios), "range": [min(ratios), max(ratios)]}
            result.setdefault(task, {})[load] = of
    return result


def show(figures: dict[str, Any], console: Console) -> None:
    """A row for each task and load."""
    others = [way for way in WAYS if way != "ours"]
    table = Table("seconds of", "machine", "ours", *others)
    units = {"sampling": "a clip", "training": "a step"}
    for task, loads in figures.items():
        for load, of in loads.items():
            cells = []
            for way in others:
                low, high = of[way]["range"]
                cells.append(f"{of[way]['median']:.3f} ({of[way]['ratio']:.2f}, {low:.2f} to {high:.2f})")
            table.add_row(f"{units[task]} ({task})", load, f"{of['ours']['median']:.3f}", *cells)
    console.print(table)


def main() -> int:
    """Measures, or is one measurement's process."""
    parser = CommandParser(prog="python -m tests.benchmarks.busy", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="model folder (default: a tiny one with random weights)")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each kind (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of repetitions in a measurement (default 4)")
    parser.add_argument("--clip-seconds", type=float, default=8.0, help="length of the clip (default 8)")
    parser.add_argument("--steps", type=int, default=20, help="of the clip (default 20)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--task", choices=TASKS, help="print the seconds of one measurement in this process")
    options = parser.parse_args()
    if options.pairs < 1 or not options.seconds > 0:
        raise UserError("--pairs, --seconds: must be above 0")
    if options.task:
        print(json.dumps(measure_here(options.task, options)))
        return 0
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="dualdiffusion-") as folder:
        options.model = options.model.resolve() if options.model else make_model(Path(folder)).path
        figures = summary(measure_all(options, console))
    show(figures, console)
    if options.json:
        others = {"cores": usable_cores(), "cpus": usable_cpus(), "load_average": os.getloadavg()[0]}
        write_json(options.json, {**others, "clip_seconds": options.clip_seconds, "steps": options.steps, **figures})
    return 0


if __name__ == "__main__":
    run_command(main)
