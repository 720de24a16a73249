"""Which backbone learns best? `python -m tests.benchmarks.backbones --model M --dataset D [--json FILE]`.

Trains the tiny preset of every backbone with the real command: presets of about equal operations per sample, equal
samples, data, seeds and validation, each with its own learning rates. Outsiders, the U-Net of diffusers and an encoder
of x-transformers, are trained under the same denoiser where those packages are installed. Prints the validation loss of
averaged weights, and of clips generated with them class control, beat and notes against the corpus, as `sampling
evaluate` measures them; parameters, operations, seconds and peak memory of training; and draws the validation loss
against time. Beside that: how much more an hourglass costs below its top when the sound is twice as long. It goes on
where it was stopped.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from dualdiffusion.command_line import CommandParser, add_set_option, positive_int, run_command
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import load_config
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import atomic_path, read_json, write_json
from dualdiffusion.model.extras import extra
from dualdiffusion.model.module import describe
from dualdiffusion.model.shipped import find_model
from dualdiffusion.models import diffusers_model, x_transformers
from dualdiffusion.models.hourglass import Hourglass
from dualdiffusion.pictures.chart import Line, line_chart
from sampling.evaluation import command
from sampling.evaluation.music.figures import OF_CORPUS
from tests.benchmarks.learning import (
    EMA,
    ROOT,
    add_training_options,
    keep_to,
    mean_curve,
    model_folder,
    time_to,
    train_with,
)
from tests.benchmarks.memory import measure as measured_bytes
from tests.benchmarks.objectives import OF_A_FOLDER, evaluated
from tests.benchmarks.steps import RealSteps
from train.memory.preflight import make_plan
from train.train_config import TrainConfig

BACKBONES = {
    "UNet": "unet",
    "DiT": "dit",
    "hourglass": "hourglass",
    "diffusers UNet2DModel": "diffusers",
    "x-transformers": "x_transformers",
}
"""Presets are config/train/<name>_tiny.json."""
OUTSIDERS = {
    "diffusers UNet2DModel": ("diffusers", diffusers_model.VERSION, "UNet2DModel"),
    "x-transformers": ("x-transformers", x_transformers.VERSION, "Encoder"),
}
"""Networks of other packages: of which, in what version, and what they are called there."""
PEER = "diffusers UNet2DModel"
"""The outsider whose last loss is looked for in the curves of ours."""
MUSIC = ("beat", "sharpness", "pitch")
"""Of rhythm, of notes, and of pitch classes: see sampling/evaluation/music/record.py."""
MEASURED = ("class_control", *MUSIC)
LENGTHS = (256, 512)
REQUIREMENTS = "tests/benchmarks/requirements.txt"


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package.replace("-", "_")) is not None


def preset(name: str, options: Any) -> Path:
    """The training config of a backbone."""
    return options.presets / f"{BACKBONES[name]}_tiny.json"


def changes(options: Any) -> list[str]:
    """What all trainings differ in from their presets: schedules end with the training."""
    return [f"schedule.reference_samples={options.samples}", f"schedule.warmup_samples={options.samples // 25}"]


def figures_of(result: dict[str, Any]) -> dict[str, Any]:
    """Class control of an evaluation, and beat and notes in relation to the corpus'."""
    kept, told = result["music"]["kept"][OF_CORPUS]["measures"], result["class_control"]
    return {
        "class_control": told["generated"]["accuracy"]["value"],
        **{name: kept[name]["value"] or 0.0 for name in MUSIC},  # None: no clip tells it
    }


def cost(name: str, options: Any) -> dict[str, float]:
    """Parameters and operations of a backbone's network, and what its training takes, or what was found earlier."""
    path = options.work / f"cost-{BACKBONES[name]}.json"
    if path.exists():
        return read_json(path)
    print(f"timing {name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="backbones-") as folder:
        settings = [*changes(options), f"model={folder}", f"dataset={options.dataset}"]
        settings += [f"module_trainer.autoencoder={options.model}", f"seed={options.timing_steps}"]
        config = load_config(TrainConfig, preset(name, options), settings)
        plan, _ = make_plan(config, 1)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            plan.forward()
        steps = RealSteps(config)
        steps.next()  # makes the optimizer's state
        found = {
            "parameters": describe(plan.module)["total"],
            "gflop_per_sample": counter.get_total_flops() / 1e9,
            "seconds_per_sample": _median_seconds(steps, options.timing_steps) / config.batch_size,
        }
        if torch.cuda.is_available():
            found["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        else:
            del steps
            found["peak_gib"] = measured_bytes(config) / 2**30
    write_json(path, found)
    return found


def _median_seconds(steps: RealSteps, count: int) -> float:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        steps.next()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def length_ratio() -> float:
    """Operations of the tiny hourglass below its top on a sound twice as long, in relation to the shorter one's."""
    config = load_config(TrainConfig, ROOT / "config" / "train" / "hourglass_tiny.json").module_trainer.config
    of_preset = config.denoiser.backbone.config.backbone.config
    *below, top = of_preset.attentions
    kinds = (*below, top.model_copy(update={"type": "none"}))
    counts = []
    with torch.device("meta"):
        network = Hourglass(of_preset.model_copy(update={"label_dim": 0, "self_attns": kinds}))
        for columns in LENGTHS:
            counts.append(_operations(network, torch.zeros(1, network.in_channels, 16, columns)))
    return counts[1] / counts[0]


def _operations(network: Hourglass, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x, x.new_zeros(len(x)), conditioning=Conditioning())
    return counter.get_total_flops()


def measure(options: Any) -> list[dict[str, Any]]:
    """The rows: of each backbone the means over the seeds, and what each of them has."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.only}
    for seed in range(options.seeds):
        for name in options.only:
            own = argparse.Namespace(**{**vars(options), "config": preset(name, options)})
            curve = train_with(BACKBONES[name], changes(options), seed, own)[EMA]
            folder = model_folder(BACKBONES[name], seed, options)
            found[name].append({"curve": curve, **evaluated(folder, options, "backbone.json", figures_of)})
    return [row(name, found[name], cost(name, options)) for name in options.only]


def row(name: str, of_seeds: Sequence[dict[str, Any]], costs: dict[str, float]) -> dict[str, Any]:
    """The figures of a backbone."""
    last = [of["curve"][max(of["curve"])] for of in of_seeds]
    return {
        "backbone": name,
        "validation": statistics.fmean(last),
        **costs,
        **{key: statistics.fmean(of[key] for of in of_seeds) for key in MEASURED},
        "by_seed": {"validation": last, **{key: [of[key] for of in of_seeds] for key in MEASURED}},
        "curve": mean_curve([of["curve"] for of in of_seeds]),
    }


def time_to_peer_loss(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Of each backbone of ours: the time in which it has the loss that the peer ends with, over the peer's time."""
    peer = next((of for of in rows if of["backbone"] == PEER), None)
    if peer is None:
        return {}
    whole = max(peer["curve"]) * peer["seconds_per_sample"]
    ours = [of for of in rows if of["backbone"] not in OUTSIDERS]
    times = {of["backbone"]: time_to(peer["validation"], of["curve"], of["seconds_per_sample"]) for of in ours}
    return {name: None if taken is None else taken / whole for name, taken in times.items()}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The picture: validation loss against the time that training takes, the outsider dashed."""
    lines = [
        Line(
            of["backbone"],
            [samples * of["seconds_per_sample"] / 60 for samples in of["curve"]],
            list(of["curve"].values()),
            number,
            of["backbone"] in OUTSIDERS,
        )
        for number, of in enumerate(rows)
    ]
    title = "Tiny backbones of equal operations per sample, averaged weights"
    with atomic_path(path) as temporary:
        chart = line_chart(lines, title=title, x_label="minutes", y_label="validation loss", log_y=True)
        chart.save(temporary, format="PNG")


def show(rows: Sequence[dict[str, Any]], ratio: float, console: Console) -> None:
    """The table."""
    columns = ("parameters", "GFLOP", "validation", "by seed", "s / sample", "GiB", "class control")
    table = Table("backbone", *columns, *MUSIC)
    for of in rows:
        by_seed = ", ".join(f"{loss:.4f}" for loss in of["by_seed"]["validation"])
        size = (f"{of['parameters'] / 1e6:.2f} M", f"{of['gflop_per_sample']:.2f}")
        cost = (f"{of['seconds_per_sample']:.3f}", f"{of['peak_gib']:.2f}")
        heard = (f"{of['class_control']:.1%}", *(f"{of[name]:.2f}" for name in MUSIC))
        table.add_row(of["backbone"], *size, f"{of['validation']:.4f}", by_seed, *cost, *heard)
    console.print(table)
    console.print(f"{', '.join(MUSIC)}: of the corpus'")
    for name, share in time_to_peer_loss(rows).items():
        reached = "never" if share is None else f"after {share:.2f} of its time"
        console.print(f"{name} has the last loss of {PEER}: {reached}")
    console.print(f"hourglass below its top, on twice the length: {ratio:.2f} times the operations")


def make_parser() -> CommandParser:
    """The options."""
    parser = CommandParser(prog="python -m tests.benchmarks.backbones", description=__doc__.splitlines()[0])
    add_training_options(parser, seeds=2, work="models/backbones")
    parser.add_argument("--presets", type=Path, default=ROOT / "config" / "train", help="folder of the *_tiny.json")
    parser.add_argument("--clips", type=positive_int, default=8, help="clips to generate of each game (default 8)")
    parser.add_argument("--seconds", type=float, default=8.0, help="their length (default 8)")
    parser.add_argument("--timing-steps", type=positive_int, default=9, help="updates that are timed (default 9)")
    parser.add_argument("--only", action="append", choices=list(BACKBONES), help="this one; may be given again")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="PNG (default: backbones.png in the folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    add_set_option(parser)
    return parser


def read_options(words: Sequence[object] | None = None) -> Any:
    """The options, of the command line where `words` is None, with whole paths.

    Raises:
        UserError: anything that is wrong with them, model, dataset or presets, before hours of training.
    """
    options = make_parser().parse_args(None if words is None else list(map(str, words)))
    asked = options.only or list(BACKBONES)
    options.only = [name for name in BACKBONES if name in asked]
    for name in [name for name in options.only if name in OUTSIDERS and not _is_installed(OUTSIDERS[name][0])]:
        print(f"{OUTSIDERS[name][0]} is not installed; going on without: pip install -r {REQUIREMENTS}")
        options.only.remove(name)
    if not options.only:
        raise UserError("--only: nothing is left to train")
    if options.clips < 2 or not options.seconds >= command.MIN_SECONDS:
        raise UserError(f"--clips must be 2 or more and --seconds {command.MIN_SECONDS:g} or more")
    options.model = find_model(options.model).path
    for name in ("model", "dataset", "work", "presets"):
        setattr(options, name, getattr(options, name).resolve())
    options.picture = options.picture or options.work / "backbones.png"
    find_model(options.model).module_entry("vae")
    DatasetFolder(options.dataset).labels()
    for name in options.only:
        load_config(TrainConfig, preset(name, options), changes(options))
    for name in OUTSIDERS.keys() & set(options.only):
        try:
            extra(*OUTSIDERS[name])
        except ValueError as error:
            raise UserError(one_line(error)) from None
    options.config = options.presets  # what trainings are of, which `keep_to` notes
    return options


def main() -> int:
    """Trains and measures what is missing, prints the table, draws the picture."""
    options = read_options()
    keep_to(options.work, "objectives.json", {name: getattr(options, name) for name in OF_A_FOLDER})
    rows, ratio = measure(options), length_ratio()
    draw(rows, options.picture)
    console = Console()
    show(rows, ratio, console if console.is_terminal else Console(width=150))
    print(f"picture: {options.picture}")
    if options.json:
        beside = {
            "time_to_peer_loss_ratio": time_to_peer_loss(rows),
            "hourglass_length_ratio": ratio,
            "samples": options.samples,
            "seeds": options.seeds,
        }
        write_json(options.json, {"rows": rows, **beside})
    return 0


if __name__ == "__main__":
    run_command(main)
