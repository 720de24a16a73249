"""Generates clips from a trained model and writes them as FLAC."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualdiffusion import __version__
from dualdiffusion.command_line import CommandParser, add_set_option, run_command
from dualdiffusion.config import apply_overrides, read_config, validate
from dualdiffusion.errors import UserError
from dualdiffusion.files import folder_lock
from dualdiffusion.model_folder import ModelFolder
from sampling.request import Request

if TYPE_CHECKING:
    from sampling.generate import Generator, Result

# Command-line options that set a field of the request.
FIELDS = {"seed": int, "seconds": float, "steps": int, "cfg_scale": float, "sampler": str, "schedule": str, "ema": str}


def build_parser() -> argparse.ArgumentParser:
    """The options of `python -m sampling`."""
    parser = CommandParser(prog="python -m sampling", description=__doc__)
    parser.add_argument("--model", type=Path, help="model folder, such as models/demo")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--request", type=Path, help="JSON file with a request, such as config/sampling/demo.json")
    source.add_argument("--from", type=Path, dest="source", help="make a FLAC again from the settings stored in it")
    source.add_argument("--each-game", action="store_true", help="one clip of each game that is not there yet")
    parser.add_argument("--game", action="append", default=[], metavar="NAME=WEIGHT", help="may be given several times")
    for name, type in FIELDS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type, default=None, help=f"the request's {name}")
    parser.add_argument("--count", type=int, default=1, help="clips to make, with seeds counting up (default 1)")
    parser.add_argument("--out", type=Path, default=Path("outputs"), help="folder for the FLACs (default outputs)")
    parser.add_argument("--latents", action="store_true", help="also write the latents, as .safetensors")
    parser.add_argument("--spectrogram", action="store_true", help="also draw the spectrogram, as .png")
    parser.add_argument("--device", help="cpu, cuda, ...; default: a GPU where there is one")
    add_set_option(parser)
    return parser


def main() -> int:
    """Parses, builds requests, generates."""
    arguments = build_parser().parse_args()
    if arguments.count < 1:
        raise UserError(f"--count: must be 1 or more, not {arguments.count}")
    if arguments.each_game and arguments.game:
        raise UserError("--each-game makes a clip of every game; leave out --game")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise UserError(f"--out {arguments.out}: is a file, not a folder")
    if arguments.source:
        return _repeat(arguments)
    stored = read_config(arguments.request) if arguments.request else {}
    folder = ModelFolder(_model_path(arguments.model, stored.pop("model", None)))
    labels = folder.labels()
    games = labels.names if arguments.each_game else [None]
    requests = [_request(arguments, stored, game) for game in games]
    for request in requests:
        request.label_vector(labels)  # an unknown game is told before the model is loaded
    requests = [
        validate(Request, {**request.to_json(), "seed": request.seed + k}, "--count")
        for request in requests
        for k in range(arguments.count)
    ]
    # Two commands that fill the same gaps take turns, and a model is not retrained meanwhile.
    with folder_lock(folder.path, wait=True) if arguments.each_game else contextlib.nullcontext():
        if arguments.each_game:
            requests = _not_there_yet(requests, arguments.out, folder)
        _make(requests, folder, arguments)
    return 0


def _make(requests: list[Request], folder: ModelFolder, arguments: argparse.Namespace) -> None:
    if not requests:
        print(f"{arguments.out}: has a clip of every game already")
        return
    # Slow imports and loading come after everything that can be wrong with the requests.
    generator = _load(folder, arguments.device)
    for request in requests:
        print(_save(_generate(generator, request), arguments))


def _save(result: Result, arguments: argparse.Namespace) -> Path:
    from sampling.output import save, save_latents, save_spectrogram

    path = save(result, arguments.out)
    if arguments.latents:
        save_latents(result, path)
    if arguments.spectrogram:
        save_spectrogram(result, path)
    return path


def _request(arguments: argparse.Namespace, stored: dict[str, Any], game: str | None) -> Request:
    """The request in the file `stored`, changed by the options; a file may also hold a description."""
    data = {key: value for key, value in stored.items() if key != "description"}
    source = str(arguments.request or "request")
    if game is not None:
        data["games"] = {game: 1.0}
    elif arguments.game:
        data["games"] = dict(_parse_game(text) for text in arguments.game)
    for name in FIELDS:
        if getattr(arguments, name) is not None:
            data[name] = getattr(arguments, name)
    data = apply_overrides(data, arguments.overrides)
    if not data.get("games"):
        raise UserError('no game is asked for; give one or more: --game "Castle=0.7"')
    return validate(Request, data, source)


def _parse_game(text: str) -> tuple[str, float]:
    name, separator, weight = text.rpartition("=")
    if not separator:
        return text, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise UserError(f"--game {text}: the weight after the last = must be a number") from None


def _model_path(option: Path | None, stored: Any) -> Path:
    if option is None and not isinstance(stored, str):
        raise UserError('--model is missing, and no request file names a "model"; give a folder, such as models/demo')
    return option or Path(stored)


def _not_there_yet(requests: list[Request], out: Path, folder: ModelFolder) -> list[Request]:
    from sampling.generate import model_fingerprint
    from sampling.output import file_stem, read_settings

    fingerprint, missing = model_fingerprint(folder), []
    for request in requests:
        path = out / f"{file_stem(request)}.flac"
        stored, settings = read_settings(path) if path.exists() else (None, {})
        if stored != request or settings.get("fingerprint") != fingerprint:
            missing.append(request)
    return missing


def _load(folder: ModelFolder, device: str | None) -> Generator:
    from sampling.generate import Generator

    try:
        return Generator.load(folder, device)
    except (RuntimeError, AssertionError) as error:
        if device is None:
            raise
        raise UserError(f"--device {device}: {error}") from None


def _generate(generator: Generator, request: Request) -> Result:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    console = Console()
    with Progress(*columns, transient=True, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("sampling", total=1.0)
        return generator.generate(
            request, on_step=lambda report: bar.update(task, completed=report.fraction, description=report.text)
        )


def _repeat(arguments: argparse.Namespace) -> int:
    """Makes a clip again from its tags, and says whether it came out the same."""
    from sampling.output import read_settings, same_audio

    if (
        arguments.count > 1
        or arguments.game
        or any(getattr(arguments, name) is not None for name in FIELDS)
        or arguments.overrides
    ):
        raise UserError("--from repeats a clip as it was; leave out options that change the request")
    request, settings = read_settings(arguments.source)
    folder = ModelFolder(arguments.model or Path(settings.get("model") or "."))
    request.label_vector(folder.labels())
    generator = _load(folder, arguments.device)
    if generator.fingerprint != settings.get("fingerprint"):
        print(f"note: {folder.path} is not the model that made {arguments.source}, or has been trained since")
    if settings.get("software") != __version__:
        print(f"note: the clip was made by version {settings.get('software')}, this is {__version__}")
    result = _generate(generator, request)
    identical = same_audio(result, arguments.source)
    print(f"{_save(result, arguments)}: {'identical to' if identical else 'differs from'} {arguments.source}")
    return 0


if __name__ == "__main__":
    run_command(main)
