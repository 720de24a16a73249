"""Training: our UNet against diffusers' UNet2DModel of equal parameter count, in one run.

    python -m tests.benchmarks.training [--only step] [--preset base] [--batch 12] [--columns 512] [--json OUT]
    python -m tests.benchmarks.training [--only learning] [--dataset D] [--seconds 60] [--json OUT]

Needs diffusers: pip install -r tests/benchmarks/requirements.txt (with pip's --target DIR it can stay out of the
environment: then PYTHONPATH=DIR before the command).

step: speed and memory of one update. On a GPU: the base preset, in bfloat16 and compiled, batch 12 of latents
4 x 32 x 512. On a CPU: the small preset in float32, and once more in bfloat16 where the CPU has that, batch 2 of
4 x 32 x 128, eager unless --compile. See step.py.

learning: what both have learned after equal times, each at the best of three learning rates. On a GPU the base preset
and crops of 8 s, on a CPU the tiny one and crops of 4 s, of the built-in corpus unless --dataset names another. It goes
on where it was stopped. See equal_time.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from dualdiffusion.command_line import CommandParser, positive_int, run_command
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.machine.precision import bfloat16_unit
from dualdiffusion.model.shipped import find_model
from tests.benchmarks.corpus import latents_dataset
from tests.benchmarks.training import equal_time
from tests.benchmarks.training.equal_time import Race
from tests.benchmarks.training.networks import PRESETS, build_ours, find_diffusers
from tests.benchmarks.training.step import DEFAULTS, Case, measure, print_results
from tests.benchmarks.vae_speed import device_name

PARTS = ("step", "learning")


def step(options: Any, device: str, console: Console) -> dict[str, Any]:
    """Measures and prints the figures of one update, in each precision that this device is for."""
    preset, batch, columns, _ = DEFAULTS[device]
    preset = options.preset or preset
    with torch.device("meta"):
        multiple = build_ours(preset).size_multiple
    columns = options.columns or columns
    if columns % multiple:
        raise UserError(f"--columns: must be a multiple of {multiple} for the {preset} preset, not {columns}")
    on_gpu = device == "cuda"
    case = Case(preset, options.batch or batch, columns, device, options.compile or on_gpu, half=on_gpu)
    named = device_name(torch.device(device))
    result = {**vars(case), "steps": options.steps, "device": named, **measure(case, options.steps)}
    print_results(console, case, result)
    if not case.half and bfloat16_unit() is not None:
        half = replace(case, half=True)
        in_half = measure(half, options.steps)
        print_results(console, half, {**in_half, "device": named})
        result |= {f"{name}_bf16": value for name, value in in_half.items()}
    elif case.half:
        result |= {f"{name}_bf16": result[name] for name in ("speed_ratio", "memory_ratio")}
    return result


def read_race(options: Any, device: str) -> Race:
    """What is asked of `learning`, with whole paths.

    Raises:
        UserError: there is no such model or dataset.
    """
    preset, batch, crop_seconds = equal_time.DEFAULTS[device]
    model, work = find_model(options.model), options.work.resolve()
    model.module_entry("vae")
    dataset = options.dataset.resolve() if options.dataset else latents_dataset(model.path, work / "corpus")
    DatasetFolder(dataset).labels()
    options.picture = options.picture or work / "training.png"
    return Race(
        preset=options.preset or preset,
        seconds=options.seconds,
        seeds=options.seeds,
        model=model.path,
        dataset=dataset,
        work=work,
        batch=options.batch or batch,
        crop_seconds=crop_seconds,
        points=options.points,
        validation_samples=options.validation_samples,
    )


def learning(options: Any, device: str, console: Console) -> dict[str, Any]:
    """Trains, prints and draws."""
    race = read_race(options, device)
    result = equal_time.run(race)
    equal_time.show(result, race.seconds, console)
    equal_time.draw(result["learning"], race.preset, options.picture)
    console.print(f"picture: {options.picture}", markup=False, soft_wrap=True)
    return result


def make_parser() -> CommandParser:
    """The options."""
    parser = CommandParser(prog="python -m tests.benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="this part; default: both")
    parser.add_argument("--preset", choices=PRESETS, help="default: base on a GPU; on a CPU small, and tiny to learn")
    parser.add_argument("--batch", type=positive_int, help="samples per update; default: 12 and 32 on a GPU, 2 and 8")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    of_step = parser.add_argument_group("step")
    of_step.add_argument("--columns", type=positive_int, help="of the latents; default: 512 on a GPU, 128 on a CPU")
    of_step.add_argument("--steps", type=positive_int, default=5, help="timed steps of each network (default 5)")
    of_step.add_argument("--compile", action="store_true", help="compile both; on a GPU they always are")
    of_learning = parser.add_argument_group("learning")
    of_learning.add_argument("--model", type=Path, default=Path("chiptune"), help="has the VAE; default: %(default)s")
    of_learning.add_argument("--dataset", type=Path, help="with latents of that VAE; default: the built-in corpus")
    of_learning.add_argument("--seconds", type=float, default=60.0, help="of each training (default 60)")
    of_learning.add_argument("--seeds", type=positive_int, default=2, help="trainings at the best rate (default 2)")
    of_learning.add_argument("--points", type=positive_int, default=8, help="validations of each (default 8)")
    of_learning.add_argument("--validation-samples", type=positive_int, default=192, help="default: 192")
    of_learning.add_argument("--work", type=Path, default=Path("models/training"), help="default: %(default)s")
    of_learning.add_argument("--picture", type=Path, metavar="FILE", help="PNG (default: training.png in the folder)")
    return parser


def main() -> int:
    """Prints tables and, where asked, writes the figures as JSON."""
    options = make_parser().parse_args()
    if not 0 < options.seconds < float("inf"):
        raise UserError(f"--seconds: must be more than 0, not {options.seconds:g}")
    find_diffusers()
    device, console = "cuda" if torch.cuda.is_available() else "cpu", Console()
    console = console if console.is_terminal else Console(width=150)
    result: dict[str, Any] = {}
    for name, part in (("step", step), ("learning", learning)):
        if options.only in (None, name):
            result |= part(options, device, console)
    if options.json:
        write_json(options.json, result)
    return 0


if __name__ == "__main__":
    run_command(main)
