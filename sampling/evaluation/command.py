"""`python -m sampling evaluate`: options and checks. Imports no torch until everything is checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualdiffusion.command_line import CommandParser, add_set_option
from dualdiffusion.config import validate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import find_model
from sampling.evaluation.embeddings import check_name, embedding_names
from sampling.recommended import Asked, read_recommended
from sampling.request import Request

if TYPE_CHECKING:
    from rich.console import Console

    from sampling.generator import Generator

DESCRIPTION = "Measure generated clips against the music that the model was not trained on."
CHOSEN_HERE = {"games": "--games", "seed": "--seed", "seconds": "--seconds"}
FROM_A_SOURCE = ("source", "inpaint", "extend_before", "extend_after")
MIN_SECONDS = 1.0
WIDTH = 130
MAX_SEED = 2**53 - 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    names = ", ".join(embedding_names())
    parser.add_argument("--model", type=Path, required=True, help="model folder, such as models/demo, or chiptune")
    parser.add_argument("--dataset", type=Path, help="dataset folder (default: the one the UNet was trained on)")
    parser.add_argument("--clips", type=int, default=8, help="clips to generate of each game (default 8)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of all clips (default 8)")
    parser.add_argument("--games", nargs="+", metavar="NAME", help="games to ask for (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the first clip; further ones count up (default 0)")
    parser.add_argument(
        "--embedding", nargs="+", action="extend", metavar="NAME", help=f"what distances are measured in: {names}"
    )
    parser.add_argument("--steps", type=int, help="the requests' steps")
    parser.add_argument("--cfg-scale", type=float, help="the requests' cfg_scale")
    parser.add_argument("--ema", help="the requests' ema")
    parser.add_argument("--resamples", type=int, default=200, help="of the bootstrap, for intervals (default 200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw a clip of each game and stage, as .png")
    parser.add_argument("--clips-dir", type=Path, metavar="FOLDER", help="keep the generated clips, as FLAC")
    parser.add_argument("--device", help="cpu, cuda, ...; default: a GPU where there is one")
    add_set_option(parser)


def parse(words: Sequence[object]) -> argparse.Namespace:
    """The options of `evaluate` as code says them, such as ["--model", path]; for benchmarks."""
    parser = CommandParser(prog="python -m sampling evaluate", description=DESCRIPTION)
    add_options(parser)
    return parser.parse_args(list(map(str, words)))


def run(arguments: argparse.Namespace) -> int:
    """Measures, prints tables and, where asked, writes the figures as JSON."""
    console = make_console()
    result, _ = measure(arguments, console)
    if arguments.json:
        write_json(arguments.json, result)
        console.print(f"written: {arguments.json}", markup=False)
    return 0


def make_console() -> Console:
    """Standard output; where it is a file, wide enough that no line of a table is broken."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def measure(arguments: argparse.Namespace, console: Console) -> tuple[dict[str, Any], Generator]:
    """Measures, prints tables and, where asked, draws the picture; also for benchmarks.

    Returns:
        the figures, see `evaluate`, and the model, which is still loaded.

    Raises:
        UserError: anything that is wrong with options, model or dataset.
    """
    model, dataset, request = check(arguments)
    names = tuple(dict.fromkeys(map(check_name, arguments.embedding or embedding_names())))

    # Slow imports and loading come after everything that can be wrong with the options.
    from sampling.evaluation.chosen import Settings, choose
    from sampling.evaluation.evaluate import evaluate
    from sampling.evaluation.report.picture import Examples, save_picture
    from sampling.evaluation.report.stages import Stages
    from sampling.evaluation.report.tables import show
    from sampling.generator import Generator

    settings = Settings(
        clips=arguments.clips,
        seconds=arguments.seconds,
        request=request,
        seed=arguments.seed,
        embeddings=names,
        games=tuple(dict.fromkeys(arguments.games)) if arguments.games else None,
        draws=arguments.resamples,
    )
    choose(model, dataset, sample_rate(model), settings)  # what is wrong with the dataset is told before loading
    generator = Generator.load(model, arguments.device)
    examples = Examples(generator.sample_rate)
    with Stages(console) as stages:
        result = evaluate(model, dataset, generator, settings, stages, arguments.clips_dir, examples)
    show(result, console)
    if arguments.picture:
        save_picture(examples, arguments.picture)
        console.print(f"drawn: {arguments.picture}", markup=False)
    return result, generator


def check(arguments: argparse.Namespace) -> tuple[ModelFolder, DatasetFolder, dict[str, Any]]:
    """The folders, and the fields of the requests besides games, seed and seconds.

    Raises:
        UserError: an option that is wrong, no such model, or no finished dataset.
    """
    model, request = check_request(arguments)
    return model, _dataset(model, arguments.dataset), request


def check_request(arguments: argparse.Namespace) -> tuple[ModelFolder, dict[str, Any]]:
    """The same without the dataset, which may not be there yet."""
    for name, least in (("clips", 2), ("resamples", 20), ("seconds", MIN_SECONDS), ("seed", 0)):
        if not getattr(arguments, name) >= least:
            raise UserError(f"--{name}: must be {least:g} or more, not {getattr(arguments, name):g}")
    for name in ("json", "picture"):
        path = getattr(arguments, name)
        if path and path.is_dir():
            raise UserError(f"--{name} {path}: is a folder, not a file")
    if arguments.picture and arguments.picture.suffix.lower() != ".png":
        raise UserError(f"--picture {arguments.picture}: must end in .png")
    if arguments.clips_dir and arguments.clips_dir.exists() and not arguments.clips_dir.is_dir():
        raise UserError(f"--clips-dir {arguments.clips_dir}: is a file, not a folder")
    model = find_model(arguments.model)
    labels = model.labels()
    if not labels.names:
        raise UserError(f"{model.path}: knows no games")
    request = {name: getattr(arguments, name) for name in ("steps", "cfg_scale", "ema")}
    asked = Asked({name: value for name, value in request.items() if value is not None}, tuple(arguments.overrides))
    request = asked.over(read_recommended(model))
    for name, option in CHOSEN_HERE.items():
        if name in request:
            raise UserError(f"--set {name}: is set by {option}")
    for name in FROM_A_SOURCE:
        if name in request:
            raise UserError(f"--set {name}: only clips that are made from nothing can be measured; leave it out")
    whole = {**request, "games": {labels.names[0]: 1.0}, "seconds": arguments.seconds}
    last = arguments.seed + arguments.clips * len(labels.names)
    if last > MAX_SEED:
        raise UserError(f"--seed: must leave room for {arguments.clips} clips of each game below 2^53")
    request = validate(Request, whole, "--set").to_json()
    model.chosen_ema("unet", request["ema"])
    return model, {k: v for k, v in request.items() if k not in CHOSEN_HERE}


def _dataset(model: ModelFolder, path: Path | None) -> DatasetFolder:
    config = model.run_path("unet") / "config.json"
    if path is None and not config.exists():
        raise UserError(f"{config}: no such file, which would tell the dataset; name it with --dataset")
    dataset = DatasetFolder(path or Path(read_json(config)["dataset"]))
    dataset.labels()
    return dataset


def sample_rate(model: ModelFolder) -> int:
    """Of the audio that a model makes, in Hz."""
    from dualdiffusion.model.module import module_component

    return module_component(model, "format").build().sample_rate
