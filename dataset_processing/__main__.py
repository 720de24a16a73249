"""`python -m dataset_processing synth OUT` and `python -m dataset_processing run CONFIG`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dualdiffusion.command_line import CommandParser, add_set_option, run_command
from dualdiffusion.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and runs it; returns the exit code."""
    options = make_parser().parse_args(arguments)
    return options.command(options)


def make_parser() -> CommandParser:
    """The parser; it imports nothing that takes time."""
    parser = CommandParser(prog="python -m dataset_processing", description="Prepare audio for training.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)
    synth = commands.add_parser("synth", help="write the built-in corpus of invented games")
    synth.add_argument("out", metavar="OUT", type=Path, help="folder to write, one folder per game")
    synth.add_argument("--games", type=int, default=6, help="number of games (default 6)")
    synth.add_argument("--tracks", type=int, default=8, help="tracks per game (default 8)")
    synth.add_argument("--seconds", type=float, default=60, help="length of a track in seconds (default 60)")
    synth.add_argument("--seed", type=int, default=0, help="another seed composes other music (default 0)")
    synth.add_argument("--wait", action="store_true", help="wait for another process that writes the folder")
    synth.set_defaults(command=synth_command)
    run = commands.add_parser("run", help="make a dataset from folders of audio, as a config file says")
    run.add_argument("config", metavar="CONFIG", type=Path, help="JSON file, such as config/dataset/demo.json")
    run.add_argument("--steps", metavar="A,B", help="only these steps (default: all steps of the config)")
    run.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    run.add_argument("--strict", action="store_true", help="exit with 1 if anything that looked like audio is refused")
    run.add_argument("--wait", action="store_true", help="wait for another process that works on the dataset")
    add_set_option(run)
    run.set_defaults(command=run_dataset_command)
    return parser


def synth_command(options: argparse.Namespace) -> int:
    """Writes the built-in corpus."""
    from rich.console import Console

    from dataset_processing.synth.corpus import write_corpus
    from dataset_processing.terminal import make_progress
    from dualdiffusion.files import folder_lock

    console = Console()
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"{options.out}: is a file, not a folder")
    with folder_lock(options.out, wait=options.wait), make_progress(console) as progress:
        task = progress.add_task("composing", total=None)
        try:
            write_corpus(
                options.out,
                games=options.games,
                tracks=options.tracks,
                seconds=options.seconds,
                seed=options.seed,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        except ValueError as error:
            raise UserError(str(error)) from None
    console.print(f"{options.games} games with {options.tracks} tracks each are in {options.out}", markup=False)
    return 0


def run_dataset_command(options: argparse.Namespace) -> int:
    """Makes a dataset, or says what would be done."""
    from rich.console import Console

    from dataset_processing import runner, terminal
    from dualdiffusion.config import load_config

    config = load_config(runner.RunConfig, options.config, options.overrides)
    names = None if options.steps is None else [name.strip() for name in options.steps.split(",") if name.strip()]
    selected = runner.select_steps(config, names)
    console = Console()
    if options.dry_run:
        terminal.print_plan(console, runner.plan(config, selected).steps)
        return 0
    ranks = _ranks(config, selected)
    with terminal.progress_view(Console(stderr=True, quiet=ranks.rank > 0)) as view:
        result = runner.run(config, selected, wait=options.wait, ranks=ranks, view=view)
    if ranks.rank == 0:
        terminal.print_result(console, result, str(config.dataset))
    return 1 if options.strict and result.failures else 0


def _ranks(config, selected: list[str]):
    """This process among those of `accelerate launch`; only asked for when a step can share its work."""
    from dataset_processing.runner import Ranks, step_name

    if not any(part.cls.distributed and step_name(part) in selected for part in config.steps):
        return Ranks()
    from datetime import timedelta

    from accelerate import PartialState

    # The other processes wait while the first one converts, for hours if need be.
    state = PartialState(timeout=timedelta(days=30))
    return Ranks(state.process_index, state.num_processes, state.wait_for_everyone)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
