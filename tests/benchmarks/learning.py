"""What do the parts of training bring? `python -m tests.benchmarks.learning --model M --dataset D`.

Trains the tiny UNet with the real command: as it is, and without or with another of its parts; everything else is
equal, the validation's noise and noise levels too. Every run is validated with raw and with averaged weights, which
shows what the EMA brings. Prints validation loss against samples seen, draws it, and goes on where it was stopped.
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dualdiffusion.command_line import CommandParser, positive_int, run_command
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import find_model
from dualdiffusion.pictures.chart import Line, line_chart

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = "config/train/unet_tiny.json"
BASELINE = "as it is"
RAW, EMA = "raw", "ema_0.100"
# What each run changes; the warm-up of the adaptive density is a sixth of the training.
VARIANTS: dict[str, tuple[str, ...]] = {
    BASELINE: (),
    "without stratified noise levels": ("module_trainer.sigma.stratified=false",),
    "with adaptive density": (
        "module_trainer.sigma.distribution=adaptive",
        "module_trainer.sigma.sigma_min=0.01",
        "module_trainer.sigma.sigma_max=100",
    ),
    "without learned log-variance": ("module_trainer.learned_log_variance=false",),
}

Curve = dict[int, float]
"""Validation loss by samples seen."""


def overrides(variant: str, samples: int) -> list[str]:
    """The settings that a run of `samples` samples differs in from the config."""
    adaptive = [f"module_trainer.sigma.warmup_samples={samples // 6}", "module_trainer.sigma.update_samples=640"]
    return [*VARIANTS[variant], *(adaptive if "adaptive" in variant else [])]


def train(variant: str, seed: int, options: Any) -> dict[str, Curve]:
    """Trains once, or reads what an earlier call has trained; returns the curves of raw and averaged weights."""
    return train_with(variant, overrides(variant, options.samples), seed, options)


def model_folder(name: str, seed: int, options: Any) -> ModelFolder:
    """What a training of some name is kept in."""
    return ModelFolder(options.work / f"{name.replace(' ', '_')}-{options.samples}-seed{seed}")


def train_with(name: str, changes: Sequence[str], seed: int, options: Any) -> dict[str, Curve]:
    """The same with any changes of the config; for other benchmarks too.

    Raises:
        UserError: the training failed; its own message is above.
    """
    folder = model_folder(name, seed, options)
    settings = [
        *changes,
        f"model={folder.path}",
        f"dataset={options.dataset}",
        f"module_trainer.autoencoder={options.model}",
        "module_trainer.demo_games=0",
        f"seed={seed}",
        f"total_samples={options.samples}",
        "ema_snapshots.stds=[]",
        f"validation.every_samples={max(options.samples // options.points, 1)}",
        f"validation.samples={options.validation_samples}",
    ]
    command = [sys.executable, str(ROOT / "train.py"), str(options.config), "--set", *settings]
    if subprocess.run(command, cwd=ROOT).returncode:
        raise UserError(f"{folder.path}: the training of {name!r} failed")
    return curves(folder.run_path("unet") / "metrics.csv")


def curves(path: Path) -> dict[str, Curve]:
    """Validation losses of raw and averaged weights in a run's metrics.csv."""
    found: dict[str, Curve] = {RAW: {}, EMA: {}}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, curve in found.items():
                if row["metric"] == f"validation/{name}/loss":
                    curve[int(row["samples"])] = float(row["value"])
    return found


def mean_curve(of_seeds: Sequence[Curve]) -> Curve:
    """The mean over seeds, at the points that all have."""
    shared = set.intersection(*(set(curve) for curve in of_seeds))
    return {samples: statistics.fmean(curve[samples] for curve in of_seeds) for samples in sorted(shared)}


def time_to(loss: float, curve: Curve, seconds_per_sample: float) -> float | None:
    """Seconds of training after which a curve has this loss, between two validations in proportion; None: never."""
    before: tuple[int, float] | None = None
    for samples, there in curve.items():
        if there <= loss:
            share = 1.0 if before is None else (before[1] - loss) / (before[1] - there)
            first = samples if before is None else before[0] + share * (samples - before[0])
            return first * seconds_per_sample
        before = (samples, there)
    return None


def keep_to(work: Path, name: str, asked: dict[str, object]) -> None:
    """Notes in the folder of the trainings, in `name`, what they are of.

    Raises:
        UserError: those that are there are of something else, and would be taken for these.
    """
    asked = {key: str(value) for key, value in asked.items()}
    for key, known in (read_json(work / name) if (work / name).exists() else {}).items():
        if known != asked[key]:
            option = f"--{key.replace('_', '-')}"
            raise UserError(
                f"--work {work}: its trainings are of {option} {known}, not of {asked[key]}; name another folder"
            )
    write_json(work / name, asked)


def summary(results: dict[str, dict[str, list[Curve]]]) -> dict[str, Any]:
    """For each run and kind of weights: the mean curve, and the last loss of each seed."""
    return {
        variant: {
            kind: {"mean": mean_curve(of_seeds), "last": [curve[max(curve)] for curve in of_seeds]}
            for kind, of_seeds in kinds.items()
        }
        for variant, kinds in results.items()
    }


def draw(figures: dict[str, Any], path: Path) -> None:
    """The picture: averaged weights as lines, raw ones dashed."""
    lines = [
        Line(
            f"{variant}, {'EMA' if kind == EMA else 'raw'}",
            list(of["mean"]),
            list(of["mean"].values()),
            number,
            kind == RAW,
        )
        for number, (variant, kinds) in enumerate(figures.items())
        for kind, of in kinds.items()
    ]
    title = "What the parts of training bring: tiny UNet on the built-in corpus"
    line_chart(lines, title=title, x_label="samples seen", y_label="validation loss", log_y=True).save(path)


def show(figures: dict[str, Any], console: Console) -> None:
    """The table: a row for each run and kind of weights."""
    points = list(figures[BASELINE][EMA]["mean"])
    table = Table("run", "weights", *(f"{samples:,}" for samples in points), "last, by seed", "against as it is")
    base = figures[BASELINE][EMA]["last"]
    for variant, kinds in figures.items():
        for kind, of in kinds.items():
            losses = [f"{loss:.4f}" for loss in of["mean"].values()]
            pairs = [loss / other for loss, other in zip(of["last"], base, strict=True)]
            by_seed = ", ".join(f"{loss:.4f}" for loss in of["last"])
            table.add_row(variant, kind, *losses, by_seed, ", ".join(f"{ratio - 1:+.1%}" for ratio in pairs))
    console.print(table)


def add_training_options(parser: CommandParser, *, seeds: int, work: str) -> None:
    """What benchmarks that train are told: of which model and dataset, and how much.

    Args:
        seeds: how many trainings of each kind, where nothing is said.
        work: the folder of the trainings, where nothing is said.
    """
    parser.add_argument("--model", type=Path, required=True, help="model with a trained VAE: folder, or shipped name")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset with the latents of that VAE")
    parser.add_argument("--config", type=Path, default=ROOT / CONFIG, help=f"module config (default {CONFIG})")
    parser.add_argument("--samples", type=positive_int, default=9600, help="length of each training (default 9600)")
    parser.add_argument("--seeds", type=positive_int, default=seeds, help="trainings of each (default %(default)s)")
    parser.add_argument("--points", type=positive_int, default=6, help="validations of each (default 6)")
    parser.add_argument("--validation-samples", type=positive_int, default=192)
    parser.add_argument("--work", type=Path, default=Path(work), help="folder of the trainings (default %(default)s)")


def main() -> int:
    """Trains what is missing, prints the table, draws the picture."""
    parser = CommandParser(prog="python -m tests.benchmarks.learning", description=__doc__.splitlines()[0])
    add_training_options(parser, seeds=2, work="models/learning")
    parser.add_argument("--picture", type=Path, default=None, help="PNG (default: learning.png in the folder)")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="this run, beside the one as it is")
    options = parser.parse_args()
    chosen = [name for name in VARIANTS if not options.only or name in (BASELINE, *options.only)]
    options.model = find_model(options.model).path
    for name in ("model", "dataset", "work", "config"):
        setattr(options, name, getattr(options, name).resolve())
    results: dict[str, dict[str, list[Curve]]] = {variant: {RAW: [], EMA: []} for variant in chosen}
    for seed in range(options.seeds):
        for variant in chosen:
            for kind, curve in train(variant, seed, options).items():
                results[variant][kind].append(curve)
    figures = summary(results)
    picture = options.picture or options.work / "learning.png"
    draw(figures, picture)
    console = Console()
    show(figures, console if console.is_terminal else Console(width=200))
    print(f"picture: {picture}")
    if options.json:
        write_json(options.json, {"samples": options.samples, "seeds": options.seeds, "runs": figures})
    return 0


if __name__ == "__main__":
    run_command(main)
