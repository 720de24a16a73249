"""Commands around training: `python -m train overfit | ema | preflight | sweep`. Training itself is train.py."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from dualdiffusion.command_line import Command, add_set_option, one_of, run_one_of

TEXT = "Commands around training. Training itself is train.py."


def add_overfit(parser: argparse.ArgumentParser) -> None:
    """The options of `overfit`."""
    parser.add_argument("config", type=Path, help="a module config, such as config/train/vae_tiny.json")
    parser.add_argument("--steps", type=int, default=200, help="updates on the one batch (default 200)")
    add_set_option(parser)


def run_overfit(arguments: argparse.Namespace) -> int:
    """Learns one batch by heart."""
    from train.commands.overfit import check_steps, run
    from train.startup.initial_weights import load_train_config

    check_steps(arguments.steps)
    return run(load_train_config(arguments.config, arguments.overrides), arguments.steps)


def add_ema(parser: argparse.ArgumentParser) -> None:
    """The options of `ema`."""
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--module", default="unet", help="module of the model (default unet)")
    parser.add_argument("--std", type=float, required=True, help="width relative to the training, such as 0.1")
    parser.add_argument(
        "--at", type=int, metavar="SAMPLES", help="ends at the snapshot nearest to this; such a younger one can guide"
    )
    parser.add_argument(
        "--guide", type=float, metavar="SCALE", help="have the model recommend to be guided away from it, such as by 2"
    )
    parser.add_argument("--name", help="name of the EMA (default ema_<std>_posthoc, or ema_<std>_at_<samples>)")


def run_ema(arguments: argparse.Namespace) -> int:
    """Writes an EMA of another length."""
    from dualdiffusion.model.shipped import find_model
    from train.commands.ema import write_ema

    model, guide = find_model(arguments.model), arguments.guide
    path = write_ema(model, arguments.module, arguments.std, arguments.name, arguments.at, guide)
    print(f"{path}: written; choose it by the name {path.stem}")
    if guide is not None:
        print(f"{model.request_path}: clips are now guided away from it, unless a request says otherwise")
    return 0


def add_preflight(parser: argparse.ArgumentParser) -> None:
    """The options of `preflight`."""
    parser.add_argument("configs", type=Path, nargs="+", metavar="CONFIG", help="module configs")
    parser.add_argument(
        "--memory", type=float, metavar="GIB", help="memory there is; default: what the device has free"
    )
    add_set_option(parser)


def run_preflight(arguments: argparse.Namespace) -> int:
    """Prints predicted memory as JSON."""
    from train.commands.preflight import preflight

    print(json.dumps(preflight(arguments.configs, arguments.overrides, arguments.memory)))
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
    from train.commands.sweep import sweep

    return sweep(arguments.config, arguments.overrides, stop_above=arguments.stop_above)


COMMANDS = {
    "overfit": Command("learn one batch by heart: does learning work at all?", add_overfit, run_overfit),
    "ema": Command("make an EMA of another length from the snapshots of a training", add_ema, run_ema),
    "preflight": Command("predict the memory of some trainings, as JSON", add_preflight, run_preflight),
    "sweep": Command("train all combinations: --set key=a,b --set other=c,d", add_sweep, run_sweep),
}


def main(words: Sequence[str], program: str) -> int:
    """`dualdiffusion train`: a training, or one of COMMANDS where the first word names it.

    Args:
        program: what is typed before the words, for --help and errors.
    """
    if words and words[0] in COMMANDS:
        return one_of(COMMANDS, words, program=program, description=TEXT)
    from train.commands import training

    epilog = "; ".join(f"{program} {name}: {command.text}" for name, command in COMMANDS.items())
    return training.main(words, program, epilog)


if __name__ == "__main__":
    run_one_of(COMMANDS, program="python -m train", description=TEXT)
