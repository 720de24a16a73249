"""`--dry-run`: what a run would do and need, without reading data or allocating memory."""

from __future__ import annotations

import json

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from dualdiffusion.data.manifest import DatasetFolder
from dualdiffusion.labels import Game, Labels
from dualdiffusion.model_folder import ModelFolder
from dualdiffusion.module import describe
from train.ema import ema_name
from train.setup import check_labels, new_games
from train.step import Plan
from train.trainer import TrainConfig

UNKNOWN_GAME = "(no dataset yet)"
BYTES = 4  # of a float32; mixed precision keeps the weights, gradients and averages in it


def show_plan(config: TrainConfig) -> None:
    """Prints the resolved config, parameters, FLOPs, shapes and predicted memory."""
    model, dataset = ModelFolder(config.model), DatasetFolder(config.dataset)
    labels = _labels(model, dataset)
    micro_batch = config.micro_batch_size or config.batch_size
    part = config.module_trainer
    plan: Plan = part.cls.plan(part.config, model=model, labels=labels, batch_size=micro_batch)

    print(json.dumps(config.to_json(), indent=1))
    table = Table(title=f"{part.cls.module_name}: {part.name}", show_header=False, title_justify="left")
    parameters = describe(plan.module)
    for name, count in parameters.items():
        table.add_row("parameters" if name == "total" else f"  {name}", f"{count:,}")
    for name, shape in plan.shapes.items():
        table.add_row(f"shape of {name}", " x ".join(map(str, shape)))
    flops, activations = _measure(plan)
    table.add_row("forward pass of a micro batch", f"{flops / 1e9:,.1f} GFLOP")
    table.add_row("  of one sample", f"{flops / 1e9 / micro_batch:,.2f} GFLOP")
    weights = parameters["total"] * BYTES
    averages = {ema_name(std) for std in (*config.ema_stds, *config.ema_snapshots.stds)}
    copies = 2 + 2 + len(averages)  # weights and gradients, Adam's two moments, averages
    if config.mixed_precision != "no":
        activations //= 2
    table.add_row("predicted memory", f"{(copies * weights + activations) / 2**30:,.2f} GiB")
    table.add_row("  weights, gradients, optimizer, EMA", f"{copies * weights / 2**30:,.2f} GiB")
    table.add_row("  activations", f"{activations / 2**30:,.2f} GiB")
    table.add_row("games", "1 assumed (no dataset yet)" if labels.names == [UNKNOWN_GAME] else f"{labels.dim}")
    if new := new_games(model, labels):
        table.add_row("  new, for which room is made", f"{len(new):,} ({', '.join(new)})")
    table.add_row("updates", f"{-(-config.total_samples // config.batch_size):,}")
    Console(soft_wrap=True).print(table)


def _labels(model: ModelFolder, dataset: DatasetFolder) -> Labels:
    if model.labels_path.exists():
        return check_labels(model, dataset) if dataset.info_path.exists() else model.labels()
    if dataset.info_path.exists():
        return dataset.labels()
    return Labels((Game(0, UNKNOWN_GAME, 0),))


def _measure(plan: Plan) -> tuple[int, int]:
    """FLOPs of the forward pass, and bytes of the activations that it keeps for the backward pass."""
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage()._cdata for parameter in plan.module.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    plan.module.train()
    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        output = plan.forward()
    del output
    return counter.get_total_flops(), sum(kept.values())
