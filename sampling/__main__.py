"""Generates clips from a trained model and writes them as audio files that carry their settings."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dualdiffusion.command_line import Command, one_of, run_command
from dualdiffusion.errors import UserError
from dualdiffusion.files import folder_lock
from dualdiffusion.machine.stopping import exit_code
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import is_shipped
from sampling.command.grid import GAME, SEED, Axis, Cell
from sampling.command.options import build_parser, check, model_and_request, notes, output_settings, plan_clips
from sampling.output.settings import OutputSettings
from sampling.without_effect import other_length

if TYPE_CHECKING:
    from sampling.output.contact_sheet import ContactSheet

EVALUATION, RECOMMEND = "sampling.evaluation.command", "sampling.command.recommend"
REFERENCE, LIKELIHOOD = "sampling.command.reference", "sampling.command.likelihood"
COMMANDS = {
    "evaluate": Command(
        "Measures a model's clips against music that it was not trained on.",
        lambda parser: importlib.import_module(EVALUATION).add_options(parser),
        lambda arguments: importlib.import_module(EVALUATION).run(arguments),
    ),
    "likelihood": Command(
        "Says which tracks a model finds odd, and whether it knows its training tracks better than others.",
        lambda parser: importlib.import_module(LIKELIHOOD).add_options(parser),
        lambda arguments: importlib.import_module(LIKELIHOOD).run(arguments),
    ),
    "recommend": Command(
        "Stores with a model how clips are to be made where nothing is said.",
        lambda parser: importlib.import_module(RECOMMEND).add_options(parser),
        lambda arguments: importlib.import_module(RECOMMEND).run(arguments),
    ),
    "reference": Command(
        "Prints docs/request.md: all that one may ask for.",
        lambda parser: importlib.import_module(REFERENCE).add_options(parser),
        lambda arguments: importlib.import_module(REFERENCE).run(arguments),
    ),
}


def main(words: Sequence[str] | None = None, program: str = "python -m sampling") -> int:
    """Runs one of COMMANDS where the first word names it; else makes clips.

    Args:
        words: None for those of the command line.
        program: what is typed before them, for --help and errors.
    """
    words = sys.argv[1:] if words is None else words
    if words and words[0] in COMMANDS:
        return one_of(COMMANDS, words, program=program, description=__doc__ or "")
    epilog = "; ".join(f"{program} {name}: {command.text}" for name, command in COMMANDS.items())
    parser = build_parser(__doc__, epilog)
    parser.prog = program
    return _make_clips(parser.parse_args(words))


def _make_clips(arguments: argparse.Namespace) -> int:
    """Plans and generates."""
    check(arguments)
    if arguments.source:
        from sampling.command.repeat import repeat

        return repeat(arguments)
    output = output_settings(arguments)
    folder, asked = model_and_request(arguments)
    if arguments.plot_schedule:
        from sampling.command.plot_schedule import plot_schedule

        return plot_schedule(arguments, asked, folder)
    if folder is None:
        raise UserError('--model is missing, and no request file names a "model"; give a folder, such as models/demo')
    axes, cells = plan_clips(arguments, asked, folder)
    for note in notes(asked, cells):
        print(f"note: {note}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as locks:
        # Two commands that fill the same gaps take turns, and a model is not retrained meanwhile, as shipped ones never
        # are, nor those that cannot be written to.
        if arguments.each_game:
            fixed = is_shipped(folder.path) or not os.access(folder.path, os.W_OK)
            own = arguments.out / ".each-game" if fixed else folder.path
            locks.enter_context(folder_lock(own, wait=True))
        if arguments.grid or arguments.seeds:
            locks.enter_context(folder_lock(arguments.out / ".grid"))
        return _make(axes, cells, output, folder, arguments, asked.said())


def _make(
    axes: list[Axis],
    cells: list[Cell],
    output: OutputSettings,
    folder: ModelFolder,
    arguments: argparse.Namespace,
    said: dict[str, Any],
) -> int:
    from sampling.command.batch import clips_there, identity
    from sampling.fingerprints import fingerprints, model_fingerprint

    fingerprint_of = fingerprints(folder)
    identities = [identity(cell.request, output, fingerprint_of(cell.request)) for cell in cells]
    resumes = arguments.grid or arguments.seeds or arguments.each_game
    there = clips_there(arguments.out) if resumes else {}
    missing = [cell for cell, name in zip(cells, identities, strict=True) if name not in there]
    sheet = _sheet(axes, cells, f"{model_fingerprint(folder)} {output.identity}", arguments)
    if sheet:
        sheet.begin([there.get(name) for name in identities])
    if not missing:
        what = "a clip of every game" if arguments.each_game and len(axes) == 1 else "all of these clips"
        print(f"{arguments.out}: has {what} already")
    elif len(missing) < len(cells):
        print(f"{arguments.out}: has {len(cells) - len(missing)} of {len(cells)} clips already; making the others")
    code = _generate(axes, missing, output, folder, arguments, sheet, said) if missing else 0
    if sheet:
        print(f"sheet: {sheet.path}")
    return code


def _generate(
    axes: list[Axis],
    cells: list[Cell],
    output: OutputSettings,
    folder: ModelFolder,
    arguments: argparse.Namespace,
    sheet: ContactSheet | None,
    said: dict[str, Any],
) -> int:
    from sampling.command.batch import ProgressBar
    from sampling.generator import Generator
    from sampling.output.clips import file_stem, save

    done = 0
    try:
        generator = Generator.load(folder, arguments.device)
        with ProgressBar([cell.request.steps * cell.request.seconds for cell in cells]) as bar:
            results = generator.generate_many([cell.request for cell in cells], on_step=bar.on_step)
            for cell, result in zip(cells, results, strict=True):
                path = save(
                    result,
                    arguments.out,
                    output,
                    name=file_stem(cell.request, _differences(axes, cell)),
                    device=generator.vae.device,
                    latents=arguments.latents,
                    spectrogram=arguments.spectrogram,
                    settings_file=arguments.settings,
                )
                done += 1
                if sheet:
                    sheet.add(cell, path)
                for note in (*result.notes, *other_length(said, result.request)):
                    bar.print(f"note: {note}")
                if cell.request.guidance.interval:
                    bar.print(str(result.passes))
                bar.finish(str(path))
    except KeyboardInterrupt as interrupt:
        goes_on = "; the same command goes on from here" if arguments.grid or arguments.seeds else ""
        print(f"interrupted: {done} of {len(cells)} clips are ready in {arguments.out}{goes_on}", file=sys.stderr)
        return exit_code(interrupt)
    return 0


def _differences(axes: list[Axis], cell: Cell) -> str:
    """What a file's name says beside games and seed, which are always in it."""
    pairs = zip(axes, cell.labels, strict=True)
    return "-".join(f"{axis.key}={label}" for axis, label in pairs if axis.key not in (GAME, SEED, "games"))


def _sheet(axes: list[Axis], cells: list[Cell], made_by: str, arguments: argparse.Namespace) -> ContactSheet | None:
    wanted = bool(arguments.grid) if arguments.sheet is None else arguments.sheet
    if not wanted:
        return None
    from sampling.output.contact_sheet import ContactSheet

    return ContactSheet(arguments.out, axes, cells, made_by)


if __name__ == "__main__":
    run_command(main)
