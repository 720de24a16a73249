"""What grows with what? `python -m tests.benchmarks.growth [--part NAME] [--json FILE] [--picture FILE]`.

Four things grow up to eight times, in steps of two: up to 20,000 tracks of a dataset, 1,600 games of a model, 10,000
clips in the page's history, and clips of ten minutes. Of each, what people wait for is timed (the median of five), and
the memory that it takes, in a process of its own for each size.

A cost against its size is fitted by a power of the size, whose exponent says how it grows: 0 does not grow, 1 grows
like the size itself, at 2 a size ten times as large costs a hundred times as much. The smallest size is left out of the
fit: most of its cost is what does not grow. Goals: no exponent above 1.1, that of the first page of the history's list
at most 0.15. What stays below 10 ms or 4 MiB at every size is noise, and its exponent is told as 0.

The JSON: {"exponents": {"tracks.load_seconds": ..., ...}, "costs": {"tracks.load_seconds": {size: cost}, ...}}.
"""

from __future__ import annotations

import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from dualdiffusion import audio
from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.config import nearest
from dualdiffusion.data.dataset_folder import DatasetFolder, latents_file_name
from dualdiffusion.data.latent_crops import LatentCrops, LatentsHeader, write_latents
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json, write_jsonl
from dualdiffusion.labels import Game, Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import save_module
from dualdiffusion.pictures.chart import Line, line_chart
from sampling.generator import Generator
from sampling.request import Request
from tests import tiny
from tests.benchmarks.of_tests import TestClient
from tests.webui.many import fill
from tests.webui.serve import make_model
from webui.history.jobs import JobStore
from webui.server import create_app
from webui.settings import Settings

HALVINGS = 3
REPEATS = 5
GOAL, GOAL_OF_LIST = 1.1, 0.15
NOISE = {"seconds": 0.01, "mib": 4.0}
ROOT = Path(__file__).resolve().parents[2]
COLUMNS = 16
WINDOW = 128
"""Latent columns of 64 ms: without windows, attention would grow with the square of a clip's length."""

Costs = Mapping[str, Callable[[], object]]
"""What is timed, by name."""


class Part(Protocol):
    """Something that grows."""

    largest: int
    unit: str

    def prepare(self, size: int, folder: Path) -> None:
        """Writes what there is to be read."""

    def costs(self, size: int, folder: Path) -> Costs:
        """What people wait for, where there is so much of it."""


class Tracks:
    """A dataset's tracks, with their latents: the start of a training."""

    largest, unit = 20_000, "tracks"

    def prepare(self, size: int, folder: Path) -> None:
        """Every track has the same latents, by links to one file."""
        first, games = folder / "first.safetensors", min(size, 1600)
        write_latents(first, torch.zeros(1, 4, 4, 2 * COLUMNS), LatentsHeader("vae", "", "", ({},), (2 * COLUMNS,)))
        records = []
        for number in range(size):
            game_id = number % games
            name = f"audio/Game {game_id}/{number}.flac"
            facts = {"game": f"Game {game_id}", "game_id": game_id, "seconds": 180.0}
            records.append({"file_name": name, **facts, "sample_rate": 32000, "channels": 2})
            path = folder / latents_file_name(name, "vae")
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(first, path)
        write_jsonl(folder / "train.jsonl", records)
        labels = Labels(tuple(Game(index, f"Game {index}", size // games) for index in range(games)))
        write_json(folder / "dataset_info.json", labels.to_json())

    def costs(self, size: int, folder: Path) -> Costs:
        """From the folder to the first crop."""

        def load() -> None:
            dataset = DatasetFolder(folder)
            dataset.labels()
            LatentCrops(dataset, dataset.tracks("train"), COLUMNS, vae_fingerprint="vae", seed=0)[size]

        return {"load_seconds": load}


class Games:
    """The games that a model knows: loading it, showing it, finding a name that was mistyped, and sampling."""

    largest, unit = 1_600, "games"

    def prepare(self, size: int, folder: Path) -> None:
        """A model of the smallest kind."""
        model = tiny.make_model(folder / "model")
        names = [f"The Long Name of a Game, Part {index}" for index in range(size)]
        Labels(tuple(Game(index, name, 12) for index, name in enumerate(names))).save(model.labels_path)
        save_module(model, "unet", tiny.make_denoiser(label_dim=size))

    def costs(self, size: int, folder: Path) -> Costs:
        """The page's answer is what it shows first."""
        model = ModelFolder(folder / "model")
        generator = Generator.load(model)
        names = generator.labels.names
        request = Request(games=dict.fromkeys(names[:3], 1.0), seconds=1.0, steps=2, sampler="euler")
        page = _page(model.path, folder)
        return {
            "load_seconds": lambda: Generator.load(model),
            "page_seconds": lambda: page.get("/api/options").raise_for_status(),
            "search_seconds": lambda: nearest("The Long Nme of a Game, Part 77", names),
            "sample_seconds": lambda: generator.generate(request),
        }


class History:
    """Clips in the page's history: opening it, its first page, and a search in it."""

    largest, unit = 10_000, "clips in the history"

    def prepare(self, size: int, folder: Path) -> None:
        """Their audio is one file."""
        make_model(folder / "model")
        fill(folder / "outputs", size)

    def costs(self, size: int, folder: Path) -> Costs:
        """Through the server's own answers, without a network."""
        page = _page(folder / "model", folder)
        return {
            "open_seconds": lambda: JobStore(folder / "outputs" / "history.sqlite3").close(),
            "list_seconds": lambda: page.get("/api/jobs").raise_for_status(),
            "search_seconds": lambda: page.get(f"/api/jobs?search=moss%20{size - 1}").raise_for_status(),
        }


class Clips:
    """A clip's seconds: making it with a tiny network, and reading it again."""

    largest, unit = 600, "seconds of a clip"

    def prepare(self, size: int, folder: Path) -> None:
        """A model of the smallest kind, with random weights, that was trained on crops of 8 s."""
        model = tiny.make_model(folder / "model")
        model.register("unet", model.module_entry("unet")["type"], window_columns=WINDOW)

    def costs(self, size: int, folder: Path) -> Costs:
        """Sampling in windows, phase recovery, writing; then reading."""
        generator = Generator.load(ModelFolder(folder / "model"))
        request = Request(games={tiny.GAMES[0]: 1.0}, seconds=float(size), steps=2, sampler="euler")
        path = folder / "clip.flac"

        def make() -> None:
            audio.write_flac(path, generator.generate(request).audio, tiny.SAMPLE_RATE)

        return {"make_seconds": make, "read_seconds": lambda: audio.read(path)}


PARTS: dict[str, Part] = {"tracks": Tracks(), "games": Games(), "history": History(), "clip": Clips()}


def _page(model: Path, folder: Path) -> TestClient:
    """The server's answers; no process of the model is started."""
    return TestClient(create_app(Settings(model, folder / "outputs")), base_url="http://127.0.0.1:7860")


def sizes(largest: int) -> list[int]:
    """Smallest first, each twice the one before."""
    return [largest // 2**halving for halving in range(HALVINGS, -1, -1)]


def measure_here(part: Part, size: int, folder: Path) -> dict[str, float]:
    """Seconds of each cost, and the MiB by which this process grew."""
    before = _peak_mib()
    measured = {}
    for name, run in part.costs(size, folder).items():
        run()  # what is only done once does not count
        measured[name] = statistics.median(_seconds(run) for _ in range(REPEATS))
    return {**measured, "memory_mib": _peak_mib() - before}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def measure(name: str) -> dict[str, dict[int, float]]:
    """Every cost of a part by size, each size in a process of its own.

    Raises:
        UserError: a process failed; its own message is above.
    """
    costs: dict[str, dict[int, float]] = {}
    for size in sizes(PARTS[name].largest):
        with tempfile.TemporaryDirectory(prefix="dualdiffusion-") as folder:
            PARTS[name].prepare(size, Path(folder))
            result = Path(folder) / "costs.json"
            words = ["--part", name, "--measure", str(size), "--folder", folder, "--json", str(result)]
            if subprocess.run([sys.executable, "-m", "tests.benchmarks.growth", *words], cwd=ROOT).returncode:
                raise UserError(f"{name}: {size} {PARTS[name].unit} could not be measured; see the lines above")
            for cost, value in read_json(result).items():
                costs.setdefault(f"{name}.{cost}", {})[size] = value
    return costs


def exponent(costs: Mapping[int, float], noise: float) -> float:
    """Slope of the logarithm of the cost over that of the size, by least squares, without the smallest size.

    >>> exponent({1: 5.0, 2: 12.0, 4: 48.0, 8: 192.0}, 0.1)
    2.0
    """
    points = [(math.log(size), math.log(max(cost, noise))) for size, cost in sorted(costs.items())][1:]
    middle_x, middle_y = (statistics.mean(point[axis] for point in points) for axis in (0, 1))
    above = sum((x - middle_x) * (y - middle_y) for x, y in points)
    return round(above / sum((x - middle_x) ** 2 for x, _ in points), 3)


def goal_of(cost: str) -> float:
    """The largest exponent that is good enough."""
    return GOAL_OF_LIST if cost == "history.list_seconds" else GOAL


def draw(costs: Mapping[str, Mapping[int, float]], path: Path) -> None:
    """Each part's costs against its size, relative to the smallest one, a chart below the other."""
    charts = []
    for name in dict.fromkeys(cost.partition(".")[0] for cost in costs):
        own = {cost: values for cost, values in costs.items() if cost.startswith(f"{name}.")}
        lines = []
        for number, (cost, values) in enumerate(own.items()):
            least = NOISE[cost.rpartition("_")[2]]
            first = max(values[min(values)], least)
            relative = [max(value, least) / first for value in values.values()]
            lines.append(Line(cost.partition(".")[2], list(values), relative, number))
        grid = sizes(PARTS[name].largest)
        lines.append(Line("like the size", grid, [size / grid[0] for size in grid], len(lines), dashed=True))
        title = f"{name}: cost against that of the smallest size"
        charts.append(line_chart(lines, title=title, x_label=PARTS[name].unit, y_label="times", size=(900, 360)))
    whole = Image.new("RGB", (charts[0].width, sum(chart.height for chart in charts)))
    for number, chart in enumerate(charts):
        whole.paste(chart, (0, number * chart.height))
    whole.save(path)


def show(costs: Mapping[str, Mapping[int, float]], exponents: Mapping[str, float]) -> None:
    """A table of every cost at every size, and its exponent beside its goal."""
    table = Table("cost", *(f"1/{2**halving}" if halving else "largest" for halving in range(HALVINGS, -1, -1)))
    table.add_column("exponent")
    for cost, values in costs.items():
        missed = "" if exponents[cost] <= goal_of(cost) else f" (goal: {goal_of(cost)})"
        table.add_row(cost, *(f"{value:.3g}" for value in values.values()), f"{exponents[cost]:.2f}{missed}")
    Console(width=120).print(table)


def main() -> int:
    """Measures, prints, and writes what was asked for."""
    parser = CommandParser(prog="python -m tests.benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw each cost against its size")
    parser.add_argument("--measure", type=int, metavar="SIZE", help="only this size, in this process")
    parser.add_argument("--folder", type=Path, help="with --measure: what was prepared for it")
    options = parser.parse_args()
    names = options.part or list(PARTS)
    if options.measure:
        if options.folder is None or options.json is None or len(names) != 1:
            raise UserError("--measure: needs one --part, --folder and --json")
        write_json(options.json, measure_here(PARTS[names[0]], options.measure, options.folder))
        return 0
    costs = {cost: values for name in names for cost, values in measure(name).items()}
    exponents = {cost: exponent(values, NOISE[cost.rpartition("_")[2]]) for cost, values in costs.items()}
    show(costs, exponents)
    if options.picture:
        draw(costs, options.picture)
    if options.json:
        write_json(options.json, {"exponents": exponents, "costs": costs})
    return 0


if __name__ == "__main__":
    run_command(main)
