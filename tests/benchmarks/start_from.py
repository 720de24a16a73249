"""Is a trained model a good start for other music? Training from it (`init`) against training from nothing.

    python -m tests.benchmarks.start_from --model MODEL --music FOLDER [--samples N] [--module unet] [--json FILE]

Makes a dataset of the music (latents with MODEL's VAE), and trains the UNet, or the VAE, twice for each seed with the
real command, one process after the other: the same network, format, data, noise, schedule and validation; the weights
at the start alone differ. Prints validation loss (the best of raw and averaged weights) against samples seen, and the
share of the samples after which the run from MODEL has the loss that the other one ends with; draws both. It goes on
where it was stopped.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from dualdiffusion.command_line import CommandParser, add_set_option, run_command
from dualdiffusion.config import apply_overrides, read_config
from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path, write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import module_component
from dualdiffusion.model.shipped import find_model
from dualdiffusion.pictures.chart import Line, line_chart
from train.commands.sweep import validation_losses
from train.startup.initial_weights import Source
from train.startup.setup import copy_modules

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("unet", "vae")
RUNS = ("from nothing", "from the model")

Curve = dict[int, float]
"""Validation loss by samples seen."""


def make_dataset(model: ModelFolder, options: Any) -> Path:
    """The music as the model takes it: rate, channels, latents; one track of each game is held out."""
    path, format = options.work / "dataset", module_component(model, "format").config
    steps = [
        {"type": "scan.Scan"},
        {"type": "convert.Convert", "sample_rate": format.sample_rate, "channels": format.num_channels},
        {"type": "filter.Filter", "min_seconds": options.min_seconds},
        {"type": "split.Split", "validation_tracks": 1},
        {"type": "encode.Encode", "model": str(model.path), "offsets": 2},
        {"type": "describe.Describe"},  # the shipped model is told the beat
    ]
    base = read_config(ROOT / "config/dataset/encode.json")
    config = {**base, "source": str(options.music), "dataset": str(path), "steps": steps}
    write_json(options.work / "dataset.json", config)
    call("-m", "dataset_processing", "run", options.work / "dataset.json", "--wait")
    return path


def run_config(run: str, seed: int, model: ModelFolder, dataset: Path, options: Any) -> dict[str, Any]:
    """The module config of one training; the two runs of a seed differ in `model` and `init` alone."""
    folder = options.work / f"{options.module}-{run.replace(' ', '_')}-{options.samples}-seed{seed}"
    source = Source(model, None, None)
    if options.module == "vae":
        parts = {name: source.part(name, None, name).to_json() for name in ("format", "vae")}
    else:
        parts = {"denoiser": source.part("unet", None, "denoiser").config.to_json(), "autoencoder": str(model.path)}
        parts["demo_games"] = 0
    data = apply_overrides(read_config(options.config), options.overrides)
    validation = {**data.get("validation", {}), "samples": options.validation_samples}
    return {
        **data,
        "description": "",
        "model": str(folder),
        "dataset": str(dataset),
        "init": str(model.path) if run == RUNS[1] else None,
        "module_trainer": {**data["module_trainer"], **parts},
        "seed": seed,
        "total_samples": options.samples,
        "validation": {**validation, "every_samples": max(options.samples // options.points, 1)},
        "demo_every_samples": None,
    }


def train(run: str, seed: int, model: ModelFolder, dataset: Path, options: Any) -> Curve:
    """Trains once, or reads what an earlier call has trained."""
    config = run_config(run, seed, model, dataset, options)
    folder = ModelFolder(Path(config["model"]))
    if options.module == "vae" and "format" not in folder.module_names():
        copy_modules(model, folder, ["format"])  # of the same constants, or losses would not compare
    path = options.work / f"{folder.path.name}.json"
    write_json(path, config)
    call("train.py", path, "--wait")
    return validation_losses(folder.run_path(options.module) / "metrics.csv")


def call(*words: object) -> None:
    """Runs a command of the project.

    Raises:
        UserError: it failed; its own message is above.
    """
    command = [sys.executable, *map(str, words)]
    if subprocess.run(command, cwd=ROOT).returncode:
        raise UserError(f"{' '.join(map(str, words[:3]))}: failed")


def samples_to(curve: Curve, loss: float) -> float | None:
    """Samples after which a curve first reaches a loss, on a straight line between its points; None: it never does.

    Before its first point nothing is known of it: one that is below the loss there counts as reaching it there.
    """
    points = sorted(curve.items())
    if points[0][1] <= loss:
        return float(points[0][0])
    for (x, a), (next_x, b) in itertools.pairwise(points):
        if b <= loss:
            return x + (next_x - x) * (a - loss) / (a - b)
    return None


def compare(curves: dict[str, Curve]) -> dict[str, Any]:
    """The figures of one seed."""
    scratch, started = (curves[run] for run in RUNS)
    final = scratch[max(scratch)]
    reached = samples_to(started, final)
    return {
        "final_from_nothing": final,
        "final_from_the_model": started[max(started)],
        "samples_ratio": None if reached is None else reached / max(scratch),
        "at_first_point": started[min(started)] <= final,
    }


def draw(results: Sequence[dict[str, Curve]], path: Path, module: str) -> None:
    """A line for each training."""
    lines = [
        Line(f"{run}, seed {seed}", sorted(curves[run]), [curves[run][x] for x in sorted(curves[run])], color, seed > 0)
        for seed, curves in enumerate(results)
        for color, run in enumerate(RUNS)
    ]
    title = f"The {module} on other music, from a trained model and from nothing"
    with atomic_path(path) as temporary:
        line_chart(lines, title=title, x_label="samples seen", y_label="validation loss", log_y=True).save(temporary)


def show(results: Sequence[dict[str, Curve]], figures: Sequence[dict[str, Any]], console: Console) -> None:
    """The losses, and what of the samples was needed."""
    points = sorted(set.intersection(*(set(curve) for curves in results for curve in curves.values())))
    table = Table("run", *(f"{samples:,}" for samples in points))
    for seed, curves in enumerate(results):
        for run in RUNS:
            table.add_row(f"{run}, seed {seed}", *(f"{curves[run][samples]:.4f}" for samples in points))
    console.print(table)
    for seed, of in enumerate(figures):
        ratio = "never" if of["samples_ratio"] is None else f"after {of['samples_ratio']:.2f} of the samples"
        ratio += " or fewer" if of["at_first_point"] else ""
        console.print(f"seed {seed}: the run from the model has the last loss of that from nothing {ratio}")


def main() -> int:
    """Trains what is missing, prints the table, draws the picture."""
    parser = CommandParser(prog="python -m tests.benchmarks.start_from", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="model to start from: a folder, or a shipped name")
    parser.add_argument("--music", type=Path, required=True, help="folder of other music, a folder for each game")
    parser.add_argument("--module", choices=MODULES, default="unet", help="what is trained (default unet)")
    parser.add_argument(
        "--config", type=Path, help="module config of all else (default config/train/<module>_tiny.json)"
    )
    parser.add_argument("--samples", type=int, default=9600, help="length of each training (default 9600)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each kind (default 1)")
    parser.add_argument("--points", type=int, default=12, help="validations of each (default 12)")
    parser.add_argument("--min-seconds", type=float, default=5.0, help="shorter tracks are left out (default 5)")
    parser.add_argument("--validation-samples", type=int, default=192)
    parser.add_argument("--work", type=Path, default=Path("models/start_from"), help="folder of dataset and trainings")
    parser.add_argument("--picture", type=Path, help="PNG (default: <module>.png in the folder)")
    parser.add_argument("--json", type=Path)
    add_set_option(parser)
    options = parser.parse_args()
    if min(options.samples, options.seeds, options.points, options.validation_samples) < 1:
        raise UserError("--samples, --seeds, --points, --validation-samples: must be 1 or more")
    model = ModelFolder(find_model(options.model).path.resolve())
    model.module_entry(options.module)
    options.config = (options.config or ROOT / f"config/train/{options.module}_tiny.json").resolve()
    options.work, options.music = options.work.resolve(), options.music.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    dataset = make_dataset(model, options)
    results = [
        {run: train(run, seed, model, dataset, options) for run in RUNS[:: -1 if seed % 2 else 1]}
        for seed in range(options.seeds)
    ]
    figures = [compare(curves) for curves in results]
    picture = options.picture or options.work / f"{options.module}.png"
    draw(results, picture, options.module)
    console = Console()
    show(results, figures, console if console.is_terminal else Console(width=200))
    print(f"picture: {picture}")
    if options.json:
        ratios = [of["samples_ratio"] for of in figures]
        ratio = None if None in ratios else median(ratios)
        write_json(
            options.json, {"samples": options.samples, "samples_ratio": ratio, "seeds": figures, "curves": results}
        )
    return 0


if __name__ == "__main__":
    run_command(main)
