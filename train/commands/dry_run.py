"""`--dry-run`: what a run would do and need, without reading data or allocating memory."""

from __future__ import annotations

import json

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import describe
from dualdiffusion.model.shipped import reference
from train.memory.auto_batch import Fit, device_memory, fits
from train.memory.preflight import UNKNOWN_GAME, Memory, make_plan, predict
from train.startup.initial_weights import init_of
from train.startup.launcher_settings import not_used
from train.startup.setup import new_games
from train.train_config import TrainConfig


def show_plan(config: TrainConfig, *, auto_batch: bool = False, memory_gib: float | None = None) -> None:
    """Prints the resolved config, parameters, FLOPs, shapes and predicted memory; with `auto_batch`, also the
    predicted memory of every micro batch that divides the batch, and whether it fits."""
    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    micro_batch = config.micro_batch_size or config.batch_size
    plan, labels = make_plan(config, micro_batch)
    part = config.module_trainer

    print(json.dumps(config.to_json(), indent=1))
    table = Table(title=f"{part.cls.module_name}: {part.name}", show_header=False, title_justify="left")
    for name, count in describe(plan.module).items():
        table.add_row("parameters" if name == "total" else f"  {name}", f"{count:,}")
    for name, shape in plan.shapes.items():
        table.add_row(f"shape of {name}", " x ".join(map(str, shape)))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        plan.forward()
    flops = counter.get_total_flops()
    table.add_row("forward pass of a micro batch", f"{flops / 1e9:,.1f} GFLOP")
    table.add_row("  of one sample", f"{flops / 1e9 / micro_batch:,.2f} GFLOP")
    _add_memory(table, predict(config, device_type=device_type))
    table.add_row("games", "1 assumed (no dataset yet)" if labels.names == [UNKNOWN_GAME] else f"{labels.dim}")
    if new := new_games(ModelFolder(config.model), labels):
        table.add_row("  new, for which room is made", f"{len(new):,} ({', '.join(new)})")
    dataset = DatasetFolder(config.dataset)
    if dataset.info_path.is_file():
        held_out = len(dataset.tracks("validation"))
        on = f"{held_out:,} held-out tracks" if held_out else "training tracks: none is held out"
        table.add_row("validation", f"on {on}")
    else:
        table.add_row("dataset", f"{config.dataset} is none yet: training needs it")
    if init := init_of(config):
        table.add_row("starts from", reference(init))
    for line in not_used(config, device_type):
        table.add_row("without effect", line)
    table.add_row("updates", f"{-(-config.total_samples // config.batch_size):,}")
    console = Console(soft_wrap=True)
    console.print(table)
    if auto_batch:
        room = device_memory(device_type, memory_gib)
        console.print(_fits_table(fits(config, room, device_type=device_type), room))


def _add_memory(table: Table, memory: Memory) -> None:
    table.add_row("predicted memory at the peak of a step", _gib(memory.peak))
    table.add_row("  weights", _gib(memory.weights))
    table.add_row("  gradients", _gib(memory.gradients))
    table.add_row("  optimizer", _gib(memory.optimizer))
    table.add_row("  averages of the weights", _gib(memory.averages))
    table.add_row("  other modules", _gib(memory.beside))
    table.add_row("  activations of a micro batch", _gib(memory.activations))
    table.add_row("predicted memory of a validation", _gib(memory.validation))


def _fits_table(all_fits: list[Fit], room: int) -> Table:
    table = Table("micro batch", "predicted memory", f"fits {_gib(room)}", title_justify="left")
    for fit in all_fits:
        table.add_row(f"{fit.micro_batch_size}", _gib(fit.bytes), "yes" if fit.fits else "no")
    return table


def _gib(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB"
