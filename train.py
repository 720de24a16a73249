"""Trains one module of a model: `accelerate launch train.py config/train/vae_tiny.json [--set key=value]`.

The first run creates in the model folder what is missing; the same command line again goes on where it stopped.
"""

from __future__ import annotations

import math
from pathlib import Path

from dualdiffusion.command_line import CommandParser, add_set_option, run_command


def main() -> int:
    """Parses, builds, runs."""
    parser = CommandParser(prog="train.py", description=__doc__.splitlines()[0])
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
    arguments = parser.parse_args()

    if arguments.memory is not None and not (arguments.auto_batch and 0 < arguments.memory < math.inf):
        parser.error(f"--memory {arguments.memory:g}: must be above 0, and goes with --auto-batch")

    # Slow imports come after parsing, so that --help and wrong arguments answer at once.
    from train.starting import load_train_config

    config = load_train_config(arguments.config, arguments.overrides)
    if arguments.dry_run:
        from train.commands.dry_run import show_plan

        show_plan(config, auto_batch=arguments.auto_batch, memory_gib=arguments.memory)
        return 0

    from train.launch import launch

    return launch(config, wait=arguments.wait, auto_batch=arguments.auto_batch, memory_gib=arguments.memory)


if __name__ == "__main__":
    run_command(main)
