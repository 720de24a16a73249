"""The same command by the name of its package: `python -m sampling.evaluation`."""

from __future__ import annotations

from dualdiffusion.command_line import CommandParser, run_command
from sampling.evaluation.command import DESCRIPTION, add_options, run


def main() -> int:
    """Parses and runs."""
    parser = CommandParser(prog="python -m sampling.evaluation", description=DESCRIPTION)
    add_options(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    run_command(main)
