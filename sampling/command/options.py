"""The command line of `python -m sampling`: its options, and the requests and output settings that they say."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from dualdiffusion.command_line import CommandParser, add_set_option
from dualdiffusion.config import read_config, split_override, validate
from dualdiffusion.errors import UserError
from dualdiffusion.labels import Labels, normal_form
from dualdiffusion.machine.notices import tell_once
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import find_model
from sampling.command.grid import GAME, SEED, Axis, Cell, check_count, combinations, parse_grid, parse_seeds
from sampling.output.settings import SUBTYPES, OutputSettings
from sampling.recommended import Asked, read_recommended
from sampling.without_effect import without_effect

# Command-line options that set a field of the request.
FIELDS = {"seed": int, "seconds": float, "steps": int, "cfg_scale": float, "sampler": str, "schedule": str, "ema": str}
OUTPUT_FIELDS = ("format", "bits", "loudness", "true_peak")


def build_parser(description: str | None, epilog: str) -> argparse.ArgumentParser:
    """The options of `python -m sampling`."""
    parser = CommandParser(prog="python -m sampling", description=description, epilog=epilog)
    parser.add_argument("--model", type=Path, help="model folder, such as models/demo, or the name of a shipped one")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--request", type=Path, help="JSON file with a request, such as config/sampling/demo.json")
    source.add_argument("--from", type=Path, dest="source", help="make a clip again from the settings stored in it")
    source.add_argument("--each-game", action="store_true", help="one clip of each game that is not there yet")
    parser.add_argument("--game", action="append", default=[], metavar="NAME=WEIGHT", help="may be given several times")
    for name, type in FIELDS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type, default=None, help=f"the request's {name}")
    _add_many(parser)
    _add_output(parser)
    parser.add_argument("--device", help="cpu, cuda, ...; default: a GPU where there is one")
    parser.add_argument("--plot-schedule", type=Path, metavar="FILE", help="only draw the noise levels, as .png")
    add_set_option(parser)
    return parser


def _add_many(parser: argparse.ArgumentParser) -> None:
    many = parser.add_argument_group("many clips", "With --seeds, --grid and --each-game, only what is not there yet.")
    many.add_argument("--count", type=int, default=None, help="clips to make, with seeds counting up (default 1)")
    many.add_argument("--seeds", metavar="RANGES", help="one clip of each seed, such as 1-16 or 3,7,9-12")
    many.add_argument(
        "--grid",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUES",
        help="all combinations of values of any keys of the request: --grid cfg_scale=1,2,4 steps=10,50; also "
        "game=Castle,Cave for one game each",
    )
    many.add_argument(
        "--sheet",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="write a page that shows all clips side by side (default: with --grid)",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("files")
    output.add_argument("--out", type=Path, default=Path("outputs"), help="folder for the clips (default outputs)")
    output.add_argument("--format", help=f"{', '.join(SUBTYPES)} (default flac)")
    output.add_argument("--bits", type=int, help="of a sample: 16 or 24; wav also 32, floating point (default 16)")
    output.add_argument("--loudness", type=float, metavar="LUFS", help="bring clips to this loudness, such as -16")
    output.add_argument(
        "--true-peak",
        type=float,
        metavar="DBTP",
        help="make louder peaks quieter (default -1 with --loudness)",
    )
    output.add_argument("--raw", action="store_true", help="leave the level as it is, peaks up to 0.99 (default)")
    output.add_argument("--latents", action="store_true", help="also write the latents, as .safetensors")
    output.add_argument("--spectrogram", action="store_true", help="also draw the spectrogram, as .png")
    output.add_argument("--settings", action="store_true", help="also write the settings in the tags, as .json")


def check(arguments: argparse.Namespace) -> None:
    """Refuses options that contradict one another.

    Raises:
        UserError: one line that says which, and what to leave out.
    """
    if arguments.count is not None and arguments.count < 1:
        raise UserError(f"--count: must be 1 or more, not {arguments.count}")
    if arguments.each_game and arguments.game:
        raise UserError("--each-game makes a clip of every game; leave out --game")
    seeds = {"--seed": arguments.seed, "--count": arguments.count, "--seeds": arguments.seeds}
    given = [name for name, value in seeds.items() if value is not None]
    if "--seeds" in given and len(given) > 1:
        raise UserError(f"--seeds says all seeds; leave out {given[0]}")
    if arguments.raw and (arguments.loudness is not None or arguments.true_peak is not None):
        raise UserError("--raw leaves the level as it is; leave out --loudness and --true-peak")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise UserError(f"--out {arguments.out}: is a file, not a folder")
    many = arguments.grid or arguments.seeds or arguments.count or arguments.each_game
    if arguments.plot_schedule and many:
        raise UserError("--plot-schedule makes no clips; leave out --grid, --seeds, --count and --each-game")
    names = ("raw", "latents", "spectrogram", "settings", *OUTPUT_FIELDS)
    of_clips = [name for name in names if getattr(arguments, name) not in (None, False)]
    if arguments.plot_schedule and of_clips:
        raise UserError(f"--plot-schedule makes no clips; leave out --{of_clips[0].replace('_', '-')}")
    if arguments.source and _changes_clip(arguments):
        raise UserError("--from repeats a clip as it was; leave out options that change it")


def _changes_clip(arguments: argparse.Namespace) -> bool:
    values = [getattr(arguments, name) for name in (*FIELDS, *OUTPUT_FIELDS, "count", "seeds", "sheet")]
    lists = arguments.game or arguments.grid or arguments.overrides or arguments.raw or arguments.plot_schedule
    return bool(lists) or any(value is not None for value in values)


def output_settings(arguments: argparse.Namespace) -> OutputSettings:
    """How clips are to be written.

    Raises:
        UserError: an unknown format, or a value that does not fit.
    """
    given = {name: getattr(arguments, name) for name in OUTPUT_FIELDS if getattr(arguments, name) is not None}
    return validate(OutputSettings, given, "output options")


def model_and_request(arguments: argparse.Namespace) -> tuple[ModelFolder | None, Asked]:
    """The model folder, where one is named, and the request as far as file and options say it.

    Raises:
        UserError: the file cannot be read, or an option makes no sense.
    """
    data = read_config(arguments.request) if arguments.request else {}
    model = data.pop("model", None)
    if not isinstance(model, str | None):
        raise UserError(f"{arguments.request}: model: must be the path of a model folder, or a shipped model's name")
    data.pop("description", None)
    path = arguments.model or (Path(model) if model else None)
    if arguments.game:
        data["games"] = _mix(arguments.game)
    changed = _overridden(arguments)
    for name in FIELDS:
        if getattr(arguments, name) is not None:
            data[name] = getattr(arguments, name)
            if name in changed:
                tell_once(f"note: --set {name} counts, and not --{name.replace('_', '-')}")
    return find_model(path) if path else None, Asked(data, tuple(arguments.overrides))


def plan_clips(arguments: argparse.Namespace, asked: Asked, folder: ModelFolder) -> tuple[list[Axis], list[Cell]]:
    """What varies, and every clip that is asked for, all valid and known to the model.

    Raises:
        UserError: anything that is wrong with any of them.
    """
    labels = folder.labels()
    axes = [Axis(GAME, tuple(labels.names))] if arguments.each_game else []
    axes += parse_grid(arguments.grid)
    source = str(arguments.request or "request")
    if arguments.seeds is not None:
        axes.append(parse_seeds(arguments.seeds))
    _check_said_once(arguments, axes)
    if arguments.count is not None and arguments.count > 1:
        check_count(arguments.count, "--count")
        # A seed that is no number is told by the request, where it stands.
        first = asked.said().get("seed", 0)
        seeds = range(first, first + arguments.count) if isinstance(first, int) else [first]
        axes.append(Axis(SEED, tuple(seeds)))
    keys = [axis.key for axis in axes]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"--grid {twice}: another option says all of it already; leave out one of the two")
    if not folder.asks_for_games():
        if arguments.each_game:
            raise UserError(f"--each-game: {folder.path} is told no games; leave it out")
        asked = replace(asked, fields={"games": {}, **asked.fields})
    cells = combinations(asked, axes, source, read_recommended(folder))
    _check_length(arguments, cells, keys)
    _check_known(cells, labels, folder)
    return axes, cells


def notes(asked: Asked, cells: list[Cell]) -> list[str]:
    """What is asked of all clips and changes none of them, a line for each."""
    said = asked.said()
    each = [without_effect(cell.request, said) for cell in cells]
    return [line for line in each[0] if all(line in lines for lines in each)] if each else []


def _check_said_once(arguments: argparse.Namespace, axes: list[Axis]) -> None:
    """Refuses a key of which one option says the value, and another all values, which would win unseen."""
    single = {name: f"--{name.replace('_', '-')}" for name in FIELDS if getattr(arguments, name) is not None}
    single |= {"games": "--game"} if arguments.game else {}
    keys = _overridden(arguments)
    single |= {key: f"--set {key}" for key in keys}
    for number, axis in enumerate(axes):
        whole = "games" if axis.key == GAME else axis.key
        if arguments.each_game and number == 0:
            many = "--each-game"
        else:
            many = "--seeds" if arguments.seeds is not None and number == len(axes) - 1 else f"--grid {axis.key}"
        for key, option in single.items():
            if f"{key}.".startswith(f"{whole}."):
                raise UserError(f"{many}: says all values, so {option} would not count; leave out one of the two")


def _overridden(arguments: argparse.Namespace) -> list[str]:
    """The dotted keys that `--set` changes."""
    return [".".join(split_override(text)[0]) for text in arguments.overrides]


def _check_length(arguments: argparse.Namespace, cells: list[Cell], varied: list[str]) -> None:
    """Refuses a length where there is a source, which has its own: it would be dropped unseen."""
    said = arguments.seconds is not None or "seconds" in (*_overridden(arguments), *varied)
    if said and any(cell.request.source for cell in cells):
        raise UserError(
            "--seconds: a clip is as long as its source; take a part of it with --set source.seconds=..., or make more "
            "of it with extend_after"
        )


def _check_known(cells: list[Cell], labels: Labels, folder: ModelFolder) -> None:
    for cell in cells:
        cell.request.check_games(labels, needed=folder.asks_for_games())
    for ema in {cell.request.ema for cell in cells}:
        folder.chosen_ema("unet", ema)


def _mix(texts: list[str]) -> dict[str, float]:
    games: dict[str, float] = {}
    for text in texts:
        name, weight = _parse_game(text)
        if normal_form(name) in games:
            raise UserError(f"--game {name}: is given twice; leave out one of the two")
        games[normal_form(name)] = weight
    return games


def _parse_game(text: str) -> tuple[str, float]:
    name, separator, weight = text.rpartition("=")
    if not separator:  # keyboards for Japanese and Chinese have a wide one
        name, separator, weight = text.rpartition("\uff1d")
    if not separator:
        return text, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise UserError(
            f"--game {text}: the weight after the last = must be a number (or the name has one: NAME=1)"
        ) from None
