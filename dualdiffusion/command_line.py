"""What every command shares: an argument parser with one-line errors, and exit codes."""

from __future__ import annotations

import argparse
import errno
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import from_home
from dualdiffusion.machine.account import name_the_account
from dualdiffusion.machine.limits import no_room, raise_open_files, shortage
from dualdiffusion.machine.memory import allocation_text, is_out_of_memory
from dualdiffusion.machine.output import guard_output
from dualdiffusion.machine.stopping import exit_code, raise_when_stopped
from dualdiffusion.machine.system import FULL
from dualdiffusion.machine.threads import prepare_cpu

# What a path given by a user can cause; anything else is a fault of ours and keeps its traceback.
PATH_ERRORS = {
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
OUT_OF_MEMORY_REMEDY = (
    "when training, lower micro_batch_size, set mixed_precision to bf16 or activation_checkpointing of the network to "
    "true (--dry-run predicts the need); when generating, ask for a shorter clip"
)


_KEY_VALUE = re.compile(r"[A-Za-z_][\w.]*=")


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are a UserError of one line instead of a usage text."""

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **settings})  # type: ignore[arg-type]

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def,override]
        """As argparse does, but `--set` takes only what looks like KEY=VALUE, and `~` in paths is the home folder."""
        words = list(sys.argv[1:] if args is None else args)
        if "--set" in self._option_string_actions:
            words = _with_single_sets(words)
        options, rest = super().parse_known_args(words, namespace)
        for name, value in vars(options).items():
            if isinstance(value, Path):
                setattr(options, name, _home_of(value))
            elif isinstance(value, list):
                setattr(options, name, [_home_of(item) if isinstance(item, Path) else item for item in value])
        return options, rest

    def error(self, message: str) -> NoReturn:
        """Raises the message as a UserError, with the command that shows the usage."""
        raise UserError(f"{message}; see {self.prog} --help")


def positive_int(text: str) -> int:
    """The `type` of options that take a whole number above 0."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text}")
    return int(text)


def add_set_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--set key.path=value`, which may be given several times, also with several values at once."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        help="change any key of the config by its dotted path, e.g. --set optimizer.learning_rate=0.005; "
        "KEY=@FILE.json takes what a file holds",
    )


def _with_single_sets(words: list[str]) -> list[str]:
    """Each value of `--set` with an option of its own, so that what follows the last of them, as a config, is not one.

    Raises:
        UserError: a value with a space in it that did not stand in quotes.
    """
    found: list[str] = []
    in_set = False
    for number, word in enumerate(words):
        if word == "--set":
            in_set = True
            if number + 1 == len(words) or words[number + 1].startswith("--"):
                found.append(word)  # argparse says that a value is missing
        elif in_set and "=" in word and not word.startswith("--"):
            found.append(f"--set={word}")
        else:
            follows = words[number + 1] if number + 1 < len(words) else ""
            if in_set and not word.startswith("-") and _KEY_VALUE.match(follows) and not Path(word).exists():
                raise UserError(f"--set: {word!r} is no KEY=VALUE; a value with spaces must stand in quotes")
            in_set = False
            found.append(word)
    return found


def _home_of(path: Path) -> Path:
    try:
        return from_home(path)
    except ValueError as error:
        raise UserError(str(error)) from None


@dataclass(frozen=True)
class Command:
    """One of several commands of a program. Slow imports belong into `run`, so that --help answers at once."""

    text: str
    """What it does, for --help."""
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    """Its work; returns the exit code."""


def run_one_of(commands: dict[str, Command], *, program: str, description: str) -> None:
    """Parses the command line, runs the command that it names, and exits as `run_command` says."""
    run_command(lambda: one_of(commands, None, program=program, description=description))


def one_of(commands: dict[str, Command], words: Sequence[str] | None, *, program: str, description: str) -> int:
    """Runs the command that the first of some words names; returns its exit code.

    Args:
        words: None for those of the command line.
        program: what is typed before them, for --help and errors.
    """
    parser = CommandParser(prog=program, description=description)
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in commands.items():
        options = parsers.add_parser(name, help=command.text, description=command.text)
        command.add_options(options)
        options.set_defaults(run=command.run)
    arguments = parser.parse_args(words)
    return arguments.run(arguments)


def run_command(command: Callable[[], int | None]) -> None:
    """Runs a command's main function and exits the process with its code.

    Commands import torch, if at all, only when they run: so this is the place to prepare threads for it.

    What is printed neither ends nor stops the command, whatever becomes of its reader.

    Exit codes: what `command` returns (None is 0), 2 for a UserError, 3 for a full or failing disk, 130 for Ctrl-C,
    and 128 + the number of another signal that stopped it.
    """
    guard_output()
    raise_when_stopped()
    prepare_cpu()
    name_the_account()
    try:
        if text := raise_open_files():
            raise UserError(text)
        code = command() or 0
    except KeyboardInterrupt as interrupt:
        print(f"stopped by {interrupt}" if str(interrupt) else "interrupted", file=sys.stderr)
        code = exit_code(interrupt)
    except Exception as error:
        text, code = _outcome(error)
        if not code:
            raise
        print(f"error: {text}", file=sys.stderr)
    sys.exit(code)


def _outcome(error: Exception) -> tuple[str, int]:
    """One line for what a user or a machine can cause, and the exit code; 0 for a fault of ours."""
    if isinstance(error, UserError):
        return one_line(error), 2
    if isinstance(error, OSError) and (reason := no_room(error)):
        # A disk that fails may have been read from: only what is full was surely written to.
        doing = " while writing" if error.errno in FULL else " at"
        where = f"{doing} {one_line(error.filename)}" if error.filename else ""
        return f"{reason[0]}{where}; {reason[1]} and run the same command again", 3
    if isinstance(error, OSError) and error.errno in PATH_ERRORS and error.filename:
        return f"{one_line(error.filename)}: {error.strerror}", 2
    if text := shortage(error):
        return text, 2
    if is_out_of_memory(error):
        return f"out of memory: {one_line(allocation_text(error))}; {OUT_OF_MEMORY_REMEDY}", 2
    return "", 0
