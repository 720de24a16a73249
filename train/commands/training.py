"""The training command: what `train.py` and `dualdiffusion train` do with their options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from dualdiffusion.command_line import CommandParser, add_set_option

TEXT = "Trains one module of a model; the same command again goes on where it stopped."


def main(words: Sequence[str] | None = None, program: str = "train.py", epilog: str | None = None) -> int:
    """Parses, builds, runs.

    Args:
        words: None for those of the command line.
        program: what is typed before them, for --help and errors.
        epilog: what --help says at its end.
    """
    parser = CommandParser(prog=program, description=TEXT, epilog=epilog)
    parser.add_argument("config", type=Path, help="a module config, such as config/train/vae_tiny.json")
    parser.add_argument("--dry-run", action="store_true", help="print config, parameters, FLOPs, memory, and exit")
    parser.add_argument("--wait", action="store_true", help="wait while another process is at work on the model folder")
    parser.add_argument(
        "--auto-batch", action="store_true", help="take the largest micro_batch_size that fits; batch_size stays"
    )
    parser.add_argument(
        "--memory", type=float, metavar="GIB", help="memory for --auto-batch; default: what the device has free"
    )
    add_set_option(parser)
    arguments = parser.parse_args(words)

    if arguments.memory is not None and not (arguments.auto_batch and 0 < arguments.memory < math.inf):
        parser.error(f"--memory {arguments.memory:g}: must be above 0, and goes with --auto-batch")

    # Slow imports come after parsing, so that --help and wrong arguments answer at once.
    from train.startup.initial_weights import load_train_config

    config = load_train_config(arguments.config, arguments.overrides)
    if arguments.dry_run:
        from train.commands.dry_run import show_plan

        show_plan(config, auto_batch=arguments.auto_batch, memory_gib=arguments.memory)
        return 0

    from train.startup.launch import launch

    return launch(config, wait=arguments.wait, auto_batch=arguments.auto_batch, memory_gib=arguments.memory)
