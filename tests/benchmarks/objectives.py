"""Which objective learns best? `python -m tests.benchmarks.objectives --model M --dataset D [--json FILE]`.

Trains the tiny UNet with the real command, once for each seed and objective: predictor, density of noise levels and
weighting as the predictor's own paper has them, and the other predictors with EDM's density and weighting too. The
backbone, data, budget, seeds and validation are equal. Prints the validation loss on D(x; sigma) of averaged weights,
and of clips generated with them the class control and the kernel distance (KAD) from held-out music, which
`sampling evaluate` measures; draws the validation loss against samples seen. Beside that: how far each predictor is
from the closed form on Gaussian data, and from diffusers where that is installed. It goes on where it was stopped.

`--quick` gives a first answer on one core, in about 35 minutes of its time: a smaller network, shorter crops, fewer
samples, and fewer and shorter clips of fewer steps. Whatever is given beside it counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dualdiffusion.command_line import CommandParser, add_set_option, positive_int, run_command
from dualdiffusion.config import load_config, validate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.diffusion.loss import Weighting
from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path, read_json, write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import find_model
from dualdiffusion.pictures.chart import Line, line_chart
from sampling.evaluation import command
from sampling.evaluation.chosen import Settings, choose
from sampling.evaluation.measures import GENERATED, THROUGH_VAE
from sampling.recommended import Asked, read_recommended
from sampling.request import Request
from tests.benchmarks import objectives_peer
from tests.benchmarks.learning import EMA, ROOT, add_training_options, keep_to, mean_curve, model_folder, train_with
from tests.benchmarks.music import EMBEDDING
from tests.gaussian import PREDICTORS, largest_error
from train.train_config import TrainConfig


@dataclass(frozen=True)
class Objective:
    """What a network is trained for.

    Attributes:
        predictor: a class of dualdiffusion/diffusion/predictors.py.
        density: distribution of ln(sigma), its mean and standard deviation.
        learned: whether the loss of each noise level is divided by its learned variance.
    """

    predictor: str
    density: tuple[str, float, float]
    weighting: Weighting
    learned: bool

    def settings(self) -> list[str]:
        """The settings of a training that say so."""
        distribution, mean, std = self.density
        return [
            f'module_trainer.denoiser.predictor={{"type": "predictors.{self.predictor}"}}',
            f"module_trainer.sigma.distribution={distribution}",
            f"module_trainer.sigma.mean={mean}",
            f"module_trainer.sigma.std={std}",
            f"module_trainer.weighting={self.weighting}",
            f"module_trainer.learned_log_variance={str(self.learned).lower()}",
        ]

    def density_text(self) -> str:
        """Such as `log_normal(-0.4, 1.2)`."""
        distribution, mean, std = self.density
        return f"{distribution}({mean:g}, {std:.4g})"


OF_EDM = (("log_normal", -0.4, 1.2), "edm", True)  # Karras et al. 2023
COSINE = ("log_sech", 0.0, 1.5707963)  # the cosine schedule's times, evenly: for data of unit variance
EVEN_TIMES = ("log_logistic", 0.0, 1.8137994)  # those of rectified flow
AS_EDM = ", as EDM"
QUICK = {
    "config": ROOT / "config/experiments/unet_tiny_quick.json",
    "samples": 4000,
    "points": 4,
    "validation_samples": 96,
    "clips": 4,
    "seconds": 4.0,
    "overrides": ["steps=20"],
    "work": Path("models/objectives-quick"),
}
"""What `--quick` says of the options that are not given."""
OF_A_FOLDER = ("model", "dataset", "config", "points", "validation_samples")
"""Options that all trainings of a folder share."""
FEW_RESAMPLES = 20  # of the bootstrap: no interval is shown
# Velocity with EDM's density and weighting is not among them: it is EDM with the other sign.
OBJECTIVES: dict[str, Objective] = {
    "EDM": Objective("EDM", *OF_EDM),
    "Velocity": Objective("Velocity", COSINE, "output", False),  # Salimans and Ho 2022, of which this is "SNR + 1"
    "Noise": Objective("Noise", COSINE, "output", False),  # Nichol and Dhariwal 2021, their simple loss
    "Clean": Objective("Clean", COSINE, "soft_min_snr", False),  # Hang et al. 2023, without the edge of their weight
    "Flow": Objective("Flow", EVEN_TIMES, "output", False),  # Liu et al. 2022
    **{f"{name}{AS_EDM}": Objective(name, *OF_EDM) for name in ("Noise", "Clean", "Flow")},
}


def evaluated(
    folder: ModelFolder, options: Any, name: str, figures: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """What `figures` takes of an evaluation of one training's averaged weights, or took of it at an earlier call.

    Args:
        name: of the file in the model folder that keeps it.
    """
    path = folder.path / name
    words: list[object] = ["--model", folder.path, "--dataset", options.dataset, "--embedding", EMBEDDING]
    words += ["--ema", EMA, "--clips", options.clips, "--seconds", options.seconds, "--resamples", FEW_RESAMPLES]
    words += ["--set", *options.overrides] if options.overrides else []
    asked = [*map(str, words), folder.fingerprint("unet", EMA)]
    if path.exists() and (known := read_json(path))["asked"] == asked:
        return known
    print(f"generating clips with {folder.path.name}", flush=True)
    result, _ = command.measure(command.parse(words), Console(quiet=True))
    found = {"asked": asked, **figures(result)}
    write_json(path, found)
    return found


def figures_of(result: dict[str, Any]) -> dict[str, Any]:
    """Class control and kernel distances of an evaluation."""
    sets, told = result["distances"][EMBEDDING]["sets"], result["class_control"]
    return {
        "class_control": told["generated"]["accuracy"]["value"],
        "chance": told["chance"],
        "kad": sets[GENERATED]["kad"]["value"],
        "kad_through_vae": sets[THROUGH_VAE]["kad"]["value"],
    }


def measure(options: Any) -> dict[str, list[dict[str, Any]]]:
    """Of each objective and seed: the validation curve, and what `figures_of` finds."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.only}
    for seed in range(options.seeds):
        for name in options.only:
            curve = train_with(name, OBJECTIVES[name].settings(), seed, options)[EMA]
            folder = model_folder(name, seed, options)
            found[name].append({"curve": curve, **evaluated(folder, options, "objective.json", figures_of)})
    return found


def row(name: str, of_seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of an objective: means over the seeds, and what each of them has."""
    objective = OBJECTIVES[name]
    last = [of["curve"][max(of["curve"])] for of in of_seeds]
    return {
        "objective": name,
        "predictor": objective.predictor,
        "density": objective.density_text(),
        "weighting": objective.weighting,
        "learned_log_variance": objective.learned,
        "validation": statistics.fmean(last),
        **{key: statistics.fmean(of[key] for of in of_seeds) for key in ("class_control", "kad")},
        "by_seed": {
            "validation": last,
            **{key: [of[key] for of in of_seeds] for key in ("class_control", "kad")},
        },
        "curve": mean_curve([of["curve"] for of in of_seeds]),
    }


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The picture: a line for each objective, dashed where density and weighting are EDM's and the predictor is not."""
    colors = [cls.__name__ for cls in PREDICTORS]
    lines = [
        Line(
            of["objective"],
            list(of["curve"]),
            list(of["curve"].values()),
            colors.index(of["predictor"]),
            of["objective"].endswith(AS_EDM),
        )
        for of in rows
    ]
    title = "Objectives, by the error of the estimate: tiny UNet, averaged weights"
    with atomic_path(path) as temporary:
        chart = line_chart(lines, title=title, x_label="samples seen", y_label="validation loss", log_y=True)
        chart.save(temporary, format="PNG")


def show(rows: Sequence[dict[str, Any]], beside: dict[str, Any], console: Console) -> None:
    """The table, and how far to trust predictors and figures."""
    table = Table("objective", "density", "weighting", "validation", "by seed", "class control", "KAD")
    for of in rows:
        weighting = f"{of['weighting']}{' / variance' if of['learned_log_variance'] else ''}"
        by_seed = ", ".join(f"{loss:.4f}" for loss in of["by_seed"]["validation"])
        figures = (f"{of['validation']:.4f}", by_seed, f"{of['class_control']:.1%}", f"{of['kad']:.3g}")
        table.add_row(of["objective"], of["density"], weighting, *figures)
    console.print(table)
    peer = beside["max_difference_to_diffusers"]
    peer_text = "not installed" if peer is None else f"{peer:.1e}"
    console.print(
        f"class control by chance: {beside['chance']:.1%}; KAD through the VAE: {beside['kad_through_vae']:.3g}"
    )
    console.print(f"largest error of the closed form on Gaussian data: {beside['max_error_closed_form']:.1e}")
    console.print(f"largest difference to diffusers: {peer_text}")


def make_parser() -> CommandParser:
    """The options."""
    parser = CommandParser(prog="python -m tests.benchmarks.objectives", description=__doc__.splitlines()[0])
    add_training_options(parser, seeds=1, work="models/objectives")
    parser.add_argument("--clips", type=positive_int, default=8, help="clips to generate of each game (default 8)")
    parser.add_argument("--seconds", type=float, default=8.0, help="their length (default 8)")
    parser.add_argument("--quick", action="store_true", help="smaller in all, in another folder: a first answer")
    parser.add_argument("--only", action="append", choices=list(OBJECTIVES), help="this one; may be given again")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="PNG (default: objectives.png in the folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    add_set_option(parser)
    return parser


def read_options(words: Sequence[object] | None = None) -> Any:
    """The options, of the command line where `words` is None, with whole paths.

    Raises:
        UserError: anything that is wrong with them, model or dataset, before hours of training.
    """
    parser, words = make_parser(), None if words is None else list(map(str, words))
    options = parser.parse_args(words)
    if options.quick:
        parser.set_defaults(**QUICK)
        options = parser.parse_args(words)
    options.only = [name for name in OBJECTIVES if not options.only or name in options.only]
    options.model = find_model(options.model).path
    for name in ("model", "dataset", "work", "config"):
        setattr(options, name, getattr(options, name).resolve())
    options.picture = options.picture or options.work / "objectives.png"
    check(options)
    return options


def check(options: Any) -> None:
    """See `read_options`."""
    if options.clips < 2 or not options.seconds >= command.MIN_SECONDS:
        raise UserError(f"--clips must be 2 or more and --seconds {command.MIN_SECONDS:g} or more")
    for name in ("json", "picture"):
        path = getattr(options, name)
        if path and path.is_dir():
            raise UserError(f"--{name} {path}: is a folder, not a file")
    if options.picture.suffix.lower() != ".png":
        raise UserError(f"--picture {options.picture}: must end in .png")
    model, dataset = find_model(options.model), DatasetFolder(options.dataset)
    model.module_entry("vae")
    for name in options.only:
        load_config(TrainConfig, options.config, OBJECTIVES[name].settings())
    fields = Asked({}, tuple(options.overrides)).over(read_recommended(model))
    dataset.labels()
    validate(Request, {**fields, "games": {model.labels().names[0]: 1.0}, "seconds": options.seconds}, "--set")
    settings = Settings(options.clips, options.seconds, fields, seed=0, embeddings=(), games=None, draws=0)
    choose(model, dataset, command.sample_rate(model), settings)


def main() -> int:
    """Trains and measures what is missing, prints the table, draws the picture."""
    options = read_options()
    keep_to(options.work, "objectives.json", {name: getattr(options, name) for name in OF_A_FOLDER})
    beside = {
        "max_error_closed_form": max(map(largest_error, PREDICTORS)),
        "max_difference_to_diffusers": objectives_peer.largest_difference(),
    }
    found = measure(options)
    rows = [row(name, found[name]) for name in options.only]
    beside |= {key: found[options.only[0]][0][key] for key in ("chance", "kad_through_vae")}
    draw(rows, options.picture)
    console = Console()
    show(rows, beside, console if console.is_terminal else Console(width=150))
    print(f"picture: {options.picture}")
    if options.json:
        write_json(options.json, {"rows": rows, **beside, "samples": options.samples, "seeds": options.seeds})
    return 0


if __name__ == "__main__":
    run_command(main)
