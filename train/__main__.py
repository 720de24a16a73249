"""Commands around training: `python -m train overfit CONFIG`. Training itself is train.py."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from dualdiffusion.command_line import CommandParser, add_set_option, run_command


def add_overfit(parser: argparse.ArgumentParser) -> None:
    """The options of `overfit`."""
    parser.add_argument("config", type=Path, help="a module config, such as config/train/vae_tiny.json")
    parser.add_argument("--steps", type=int, default=200, help="updates on the one batch (default 200)")
    add_set_option(parser)


def run_overfit(arguments: argparse.Namespace) -> int:
    """Learns one batch by heart."""
    from dualdiffusion.config import load_config
    from train.overfit import check_steps, run
    from train.trainer import TrainConfig

    check_steps(arguments.steps)
    return run(load_config(TrainConfig, arguments.config, arguments.overrides), arguments.steps)


def add_ema(parser: argparse.ArgumentParser) -> None:
    """The options of `ema`."""
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--module", default="unet", help="module of the model (default unet)")
    parser.add_argument("--std", type=float, required=True, help="width relative to the training, such as 0.1")
    parser.add_argument("--name", help="name of the EMA (default ema_<std>_posthoc)")


def run_ema(arguments: argparse.Namespace) -> int:
    """Writes an EMA of another length."""
    from dualdiffusion.model_folder import ModelFolder
    from train.ema_command import write_ema

    path = write_ema(ModelFolder(arguments.model), arguments.module, arguments.std, arguments.name)
    print(f"{path}: written; choose it by the name {path.stem}")
    return 0


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """The options of `sweep`."""
    parser.add_argument("config", type=Path, help="a module config, such as config/train/unet_tiny.json")
    parser.add_argument(
        "--stop-above", type=float, metavar="FACTOR", help="stop a run so many times worse than another"
    )
    add_set_option(parser)


def run_sweep(arguments: argparse.Namespace) -> int:
    """Trains all combinations of some settings."""
    from train.sweep import sweep

    return sweep(arguments.config, arguments.overrides, stop_above=arguments.stop_above)


# Name: (what it does, its options, its work). Slow imports belong into the work, so that --help answers at once.
COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]] = {
    "overfit": ("learn one batch by heart: does learning work at all?", add_overfit, run_overfit),
    "ema": ("make an EMA of another length from the snapshots of a training", add_ema, run_ema),
    "sweep": ("train all combinations: --set key=a,b --set other=c,d", add_sweep, run_sweep),
}


def main() -> int:
    """Parses and runs one command."""
    parser = CommandParser(prog="python -m train", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, (text, add_options, work) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        add_options(command)
        command.set_defaults(work=work)
    arguments = parser.parse_args()
    return arguments.work(arguments)


if __name__ == "__main__":
    run_command(main)
