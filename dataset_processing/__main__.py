"""`python -m dataset_processing synth OUT`, `... run CONFIG` and `... add CONFIG PATH...`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dualdiffusion.command_line import CommandParser, add_set_option, run_command
from dualdiffusion.errors import UserError

if TYPE_CHECKING:
    from dataset_processing.run.result import Ranks, Result
    from dataset_processing.run.run_config import RunConfig


def main(arguments: list[str] | None = None, program: str = "python -m dataset_processing") -> int:
    """Parses the command line and runs it; returns the exit code."""
    options = make_parser(program).parse_args(arguments)
    return options.command(options)


def make_parser(program: str = "python -m dataset_processing") -> CommandParser:
    """The parser; it imports nothing that takes time."""
    parser = CommandParser(prog=program, description="Prepare audio for training.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)
    synth = commands.add_parser("synth", help="write the built-in corpus of invented games")
    synth.add_argument("out", metavar="OUT", type=Path, help="folder to write, one folder per game")
    synth.add_argument("--games", type=int, default=8, help="number of games (default 8)")
    synth.add_argument("--tracks", type=int, default=8, help="tracks per game (default 8)")
    synth.add_argument("--seconds", type=float, default=60, help="length of a track in seconds (default 60)")
    synth.add_argument("--seed", type=int, default=0, help="another seed composes other music (default 0)")
    synth.add_argument(
        "--score", action="store_true", help="write also what was composed, as MIDI (.mid) and as text (.txt)"
    )
    synth.add_argument("--wait", action="store_true", help="wait for another process that writes the folder")
    synth.set_defaults(command=synth_command)
    run = commands.add_parser("run", help="make a dataset from folders of audio, as a config file says")
    run.add_argument("config", metavar="CONFIG", type=Path, help="JSON file, such as config/dataset/demo.json")
    _add_run_options(run)
    run.add_argument("--json", action="store_true", help="with --dry-run: games, hours and refusals, as JSON")
    run.set_defaults(command=run_dataset_command)
    add = commands.add_parser("add", help="copy more music into the source folder of a config, then run the config")
    add.add_argument("config", metavar="CONFIG", type=Path, help="JSON file, such as config/dataset/default.json")
    add.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="folder of a game, or a file (needs --game)")
    add.add_argument("--game", metavar="NAME", help="the game that it is from (default: the folder's own name)")
    _add_run_options(add)
    add.set_defaults(command=add_command)
    return parser


def _add_run_options(parser: CommandParser) -> None:
    parser.add_argument("--steps", metavar="A,B", help="only these steps (default: all steps of the config)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if anything that looks like audio is refused"
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="remove tracks from the dataset whose source files are gone, also where that is more than a quarter of a "
        "game (without it the run then stops: a drive may be away)",
    )
    parser.add_argument("--wait", action="store_true", help="wait for another process that works on the dataset")
    parser.add_argument(
        "--progress",
        type=Path,
        metavar="FILE",
        help="a JSON file in which to say, again and again, how far it has come",
    )
    add_set_option(parser)


def synth_command(options: argparse.Namespace) -> int:
    """Writes the built-in corpus."""
    from rich.console import Console

    from dataset_processing.synth.corpus import write_corpus
    from dualdiffusion.files import folder_lock
    from dualdiffusion.progress_bar import progress_bar

    console = Console()
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"{options.out}: is a file, not a folder")
    with folder_lock(options.out, wait=options.wait), progress_bar(console) as progress:
        task = progress.add_task("composing", total=None)
        try:
            write_corpus(
                options.out,
                games=options.games,
                tracks=options.tracks,
                seconds=options.seconds,
                seed=options.seed,
                score=options.score,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        except ValueError as error:
            raise UserError(str(error)) from None
    console.print(f"{options.games} games with {options.tracks} tracks each are in {options.out}", markup=False)
    return 0


def run_dataset_command(options: argparse.Namespace) -> int:
    """Makes a dataset, or says what would be done."""
    from rich.console import Console

    from dataset_processing.run import runner, terminal

    if options.json and not options.dry_run:
        raise UserError("--json: goes with --dry-run; what a run comes to is in report.json of the dataset")
    config, selected = _load(options)
    if options.json:
        from dataset_processing.report.outlook import outlook

        print(json.dumps(outlook(runner.plan(config, selected), config)))
        return 0
    if options.dry_run and options.strict:
        print("--strict: a dry run reads no audio, and so refuses none")
    if options.dry_run:
        terminal.print_plan(Console(), runner.plan(config, selected))
        return 0
    return _run(options, config, selected, _ranks(config, selected))


def add_command(options: argparse.Namespace) -> int:
    """Copies more music into the source folder, then makes the dataset; or says what would be done."""
    from rich.console import Console

    from dataset_processing.add import add, plan_additions
    from dataset_processing.run import terminal

    config, selected = _load(options)
    additions = plan_additions(config, options.paths, options.game)
    console = Console()
    if options.dry_run:
        copied = 0
        for added in add(config, additions, dry=True):
            terminal.print_line(console, str(added))
            copied += added.copied
        terminal.print_plan(console, _plan_with(config, selected, copied))
        return 0
    ranks = _ranks(config, selected)
    if ranks.rank == 0:
        for added in add(config, additions, wait=options.wait):
            terminal.print_line(console, str(added))
    ranks.wait()
    return _run(options, config, selected, ranks)


def _load(options: argparse.Namespace) -> tuple[RunConfig, list[str]]:
    """The config, and the names of its steps that are to run."""
    from dataset_processing.run.run_config import RunConfig, select_steps
    from dualdiffusion.config import load_config

    config = load_config(RunConfig, options.config, options.overrides)
    names = None if options.steps is None else [name.strip() for name in options.steps.split(",") if name.strip()]
    return config, select_steps(config, names)


def _plan_with(config: RunConfig, selected: list[str], copied: int) -> Result:
    """What each step would do once `copied` more files lie in the source, if none of them were refused."""
    from dataset_processing.run import runner
    from dataset_processing.run.result import Result, StepCount

    if any(config.source.iterdir()):
        plan = runner.plan(config, selected)
    else:
        plan = Result([], [StepCount(name) for name in selected], complete=False)
    steps = [dataclasses.replace(step, done=step.done + copied) for step in plan.steps]
    return dataclasses.replace(plan, steps=steps)


def _run(options: argparse.Namespace, config: RunConfig, selected: list[str], ranks: Ranks) -> int:
    from rich.console import Console

    from dataset_processing.run import runner, terminal
    from dataset_processing.run.progress_file import ProgressFile

    with terminal.progress_view(Console(stderr=True, quiet=ranks.rank > 0)) as shown:
        view = shown if options.progress is None or ranks.rank else ProgressFile(options.progress, selected, shown)
        result = runner.run(config, selected, wait=options.wait, ranks=ranks, view=view, prune=options.prune)
    if ranks.rank == 0:
        terminal.print_result(Console(), result, str(config.dataset))
    return 1 if options.strict and result.failures else 0


def _ranks(config: RunConfig, selected: list[str]) -> Ranks:
    """This process among those of `accelerate launch` or `torchrun`; only asked for when a step can share its work."""
    from dataset_processing.run.result import Ranks
    from dataset_processing.run.run_config import step_name

    if not any(part.cls.distributed and step_name(part) in selected for part in config.steps):
        return Ranks()
    from datetime import timedelta

    import torch
    from accelerate import PartialState

    # Without a GPU, accelerate joins several processes only where it is told that the CPU is meant.
    cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    # The other processes wait while the first one converts, for hours if need be.
    state = PartialState(cpu=cpu, timeout=timedelta(days=30))
    return Ranks(state.process_index, state.num_processes, state.wait_for_everyone)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
