"""Which way of sampling makes music, and at which price: settings at equal numbers of network evaluations.

    python -m tests.benchmarks.music_sampling --model models/demo [--dataset DATASET] [--json FILE] [--picture FILE]

Each setting is a request without its steps; it is given as many as a budget of evaluations allows. Its clips are
measured by the measures of music of `sampling evaluate`, as shares of what excerpts of the corpus have after the way
through the format (no VAE, no UNet), and by how many of them a classifier, fitted on the corpus, takes for the game
that they were to be. Errors are standard errors over clips. `--set` changes all settings, `--only` names those to try.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dualdiffusion.command_line import CommandParser, add_set_option, positive_int, run_command
from dualdiffusion.config import validate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path, write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.pictures.chart import Line, line_chart
from dualdiffusion.randomness import SeededNoise
from sampling.command.plot_schedule import error_of
from sampling.evaluation.classifier import NearestCentroid
from sampling.evaluation.clips import excerpts, tracks_of
from sampling.evaluation.embeddings.mel_statistics import MelStatistics
from sampling.evaluation.music.pitch import sharpness
from sampling.evaluation.music.rhythm import rhythm
from sampling.generator import Generator
from sampling.recommended import Asked, Recommended
from sampling.request import Request
from sampling.solvers.options import keywords
from sampling.solvers.samplers import SAMPLERS
from sampling.solvers.schedules import ErrorOf

BUDGETS = (50, 100, 200, 400)
EXCERPTS = 12  # of each game, for the reference and the classifier
MOST_STEPS = 1000
FIGURES = ("beat", "notes", "onsets")
SETTINGS: dict[str, dict[str, Any]] = {
    "heun": {"sampler": "heun"},
    "dpmpp_2m": {"sampler": "dpmpp_2m"},
    "euler": {"sampler": "euler"},
    "euler, back 0.8": {"sampler": "euler", "sampler_options": {"reinjection": 0.8}},
}


class Judge:
    """Measures clips, as shares of what the corpus reaches through the format."""

    def __init__(self, generator: Generator, dataset: DatasetFolder, games: list[str], seconds: float) -> None:
        rate = generator.sample_rate
        tracks = [track for split in ("train", "validation") for track in tracks_of(dataset, split, rate)]
        found = excerpts(tracks, seconds, EXCERPTS)
        missing = [game for game in games if game not in found]
        if missing:
            raise UserError(f"{dataset.path}: {missing[0]} has no track of {seconds:g} s; ask for less with --seconds")
        self.names, self.sample_rate = list(found), rate
        self.statistics = MelStatistics(self.sample_rate)
        channels = generator.format.config.num_channels
        clips = {game: [excerpt.read(channels) for excerpt in items] for game, items in found.items()}
        features = [self.statistics(clip) for items in clips.values() for clip in items]
        classes = [self.names.index(game) for game, items in clips.items() for _ in items]
        self.classifier = NearestCentroid(torch.stack(features), torch.tensor(classes), len(self.names))
        self.reference = {
            game: _means([music(through_the_format(generator, clip), self.sample_rate) for clip in clips[game]])
            for game in games
        }

    def __call__(self, clips: list[tuple[Tensor, str]]) -> dict[str, Any]:
        """Shares and their standard errors, and class control, of clips (C, N) with their games."""
        shares = []
        for clip, game in clips:
            figures = music(clip, self.sample_rate)
            shares.append({name: figures[name] / self.reference[game][name] for name in FIGURES})
        answers = self.classifier(torch.stack([self.statistics(clip) for clip, _ in clips])).tolist()
        right = [self.names[answer] == game for answer, (_, game) in zip(answers, clips, strict=True)]
        errors = {
            name: stdev(s[name] for s in shares) / math.sqrt(len(shares)) if len(shares) > 1 else 0.0
            for name in FIGURES
        }
        return {**_means(shares), "errors": errors, "class_control": mean(right), "clips": len(clips)}


def music(clip: Tensor, sample_rate: int) -> dict[str, float]:
    """What is measured of a clip (C, N)."""
    heard = rhythm(clip, sample_rate)
    return {"beat": heard.beat, "notes": sharpness(clip, sample_rate), "onsets": heard.onsets}


def _standard_error(values: list[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _means(figures: list[dict[str, float]]) -> dict[str, float]:
    return {name: mean(each[name] for each in figures) for name in FIGURES}


@torch.inference_mode()
def through_the_format(generator: Generator, clip: Tensor) -> Tensor:
    """(C, N) as a spectrogram and back."""
    format = generator.format
    padded = torch.nn.functional.pad(clip, (0, -clip.shape[1] % format.config.hop_length))
    return format.decode(format.encode(padded[None]))[0, :, : clip.shape[1]]


def evaluations(request: Request, error: ErrorOf) -> int:
    """How often a request's sampler asks the network, counted with one that costs nothing."""
    asked: list[float] = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        asked.append(sigma)
        return x / (1 + sigma**2)

    levels = request.noise_levels(error)
    options = keywords(request.sampler_options)
    SAMPLERS[request.sampler](denoise, torch.ones(1, 1, 1, 1), levels, generator=SeededNoise([0]), **options)
    return len(asked)


def within(data: dict[str, Any], budget: int, error: ErrorOf) -> Request:
    """The request with the most steps that take no more evaluations than the budget.

    Raises:
        UserError: not even one step fits.
    """
    few, many = 0, MOST_STEPS + 1
    while many - few > 1:
        middle = (few + many) // 2
        request = validate(Request, {**data, "steps": middle}, "the setting")
        few, many = (middle, many) if evaluations(request, error) <= budget else (few, middle)
    if few == 0:
        raise UserError(f"--evaluations {budget}: is less than a step of {data['sampler']} takes; give more")
    return validate(Request, {**data, "steps": few}, "the setting")


def measure(generator: Generator, judge: Judge, options: Any, console: Console) -> list[dict[str, Any]]:
    """A row for each setting and budget."""
    error, rows = error_of(generator.unet(None)), []
    settings = {name: SETTINGS[name] for name in options.only or SETTINGS}
    for budget in options.evaluations:
        for name, fields in settings.items():
            base = {"seconds": options.seconds, "cfg_scale": options.cfg_scale, "games": {options.games[0]: 1.0}}
            data = Asked({**base, **fields}, tuple(options.overrides)).over(Recommended())
            request = within(data, budget, error)
            began, clips, passes = time.perf_counter(), [], 0
            for game in options.games:
                for seed in range(options.seeds):
                    one = request.model_copy(update={"games": {game: 1.0}, "seed": seed})
                    result = generator.generate(one)
                    clips.append((result.audio, game))
                    passes = result.passes.passes
            took = (time.perf_counter() - began) / len(clips)
            spent = {"evaluations": evaluations(request, error), "passes": passes, "seconds": took}
            rows.append({"setting": name, "budget": budget, "steps": request.steps, **spent, **judge(clips)})
            console.print(_line(rows[-1]), markup=False)
    return rows


def _line(row: dict[str, Any]) -> str:
    shares = ", ".join(f"{name} {row[name]:.2f} +- {row['errors'][name]:.2f}" for name in FIGURES)
    return f"{row['setting']}, {row['evaluations']} evaluations: {shares}, class control {row['class_control']:.0%}"


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """One table, the settings of a budget side by side."""
    table = Table("evaluations", "setting", "steps", "passes", "s / clip", *FIGURES, "class control")
    for row in rows:
        shares = (f"{row[name]:.3f} +- {row['errors'][name]:.3f}" for name in FIGURES)
        spent = (str(row["steps"]), str(row["passes"]), f"{row['seconds']:.1f}")
        table.add_row(str(row["evaluations"]), row["setting"], *spent, *shares, f"{row['class_control']:.0%}")
    console.print(table)


def picture(rows: list[dict[str, Any]]) -> Image.Image:
    """Each figure against evaluations, one chart below the other, a curve for each setting."""
    names = list(dict.fromkeys(row["setting"] for row in rows))
    charts = []
    for figure in FIGURES:
        lines = []
        for color, name in enumerate(names):
            points = [row for row in rows if row["setting"] == name]
            xs, ys = [row["evaluations"] for row in points], [row[figure] for row in points]
            lines.append(Line(name, xs, ys, color, dashed=color >= 10))
        charts.append(
            line_chart(
                lines,
                title=f"{figure}: share of the corpus through the format",
                x_label="network evaluations",
                y_label=figure,
            )
        )
    whole = Image.new("RGB", (charts[0].width, sum(chart.height for chart in charts)))
    for number, chart in enumerate(charts):
        whole.paste(chart, (0, number * chart.height))
    return whole


def parser() -> CommandParser:
    parser = CommandParser(prog="python -m tests.benchmarks.music_sampling", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, help="default: the dataset the UNet was trained on")
    parser.add_argument("--games", nargs="+", metavar="NAME", help="default: the first four")
    parser.add_argument("--seeds", type=positive_int, default=3, help="clips of each game (default 3)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the clips (default 8)")
    parser.add_argument("--evaluations", type=positive_int, nargs="+", default=BUDGETS, help="budgets to compare at")
    parser.add_argument("--cfg-scale", type=float, default=3.0, help="of all settings (default 3)")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, metavar="SETTING", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--picture", type=Path, help="draw quality against evaluations, as .png")
    add_set_option(parser)
    return parser


def main() -> int:
    """Prints a table and, where asked, writes the figures as JSON and draws them."""
    options, console = parser().parse_args(), Console()
    model = ModelFolder(options.model)
    options.games = options.games or model.labels().names[:4]
    if not options.games:
        raise UserError(f"{model.path}: knows no games")
    config = model.run_path("unet") / "config.json"
    if options.dataset is None and not config.exists():
        raise UserError(f"{config}: no such file; name the dataset with --dataset")
    dataset = DatasetFolder(options.dataset or Path(json.loads(config.read_text())["dataset"]))
    generator = Generator.load(model)
    judge = Judge(generator, dataset, options.games, options.seconds)
    rows = measure(generator, judge, options, console)
    show(rows, console)
    if options.json:
        write_json(options.json, {"rows": rows, "reference": judge.reference, "fingerprint": generator.fingerprint})
    if options.picture:
        with atomic_path(options.picture) as temporary:
            picture(rows).save(temporary, "PNG")
    return 0


if __name__ == "__main__":
    run_command(main)
