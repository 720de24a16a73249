"""Trains one module of a model: `accelerate launch train.py config/train/vae_tiny.json [--set key=value]`.

The first run creates in the model folder what is missing; the same command line again goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path

from dualdiffusion.command_line import CommandParser, add_set_option, run_command


def main() -> int:
    """Parses, builds, runs."""
    parser = CommandParser(prog="train.py", description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a module config, such as config/train/vae_tiny.json")
    parser.add_argument("--dry-run", action="store_true", help="print config, parameters, FLOPs, memory, and exit")
    parser.add_argument("--wait", action="store_true", help="wait while another process is at work on the model folder")
    add_set_option(parser)
    arguments = parser.parse_args()

    # Slow imports come after parsing, so that --help and wrong arguments answer at once.
    from dualdiffusion.config import load_config
    from train.trainer import TrainConfig

    config = load_config(TrainConfig, arguments.config, arguments.overrides)
    if arguments.dry_run:
        from train.plan import show_plan

        show_plan(config)
        return 0

    from train.launch import launch

    return launch(config, wait=arguments.wait)


if __name__ == "__main__":
    run_command(main)
