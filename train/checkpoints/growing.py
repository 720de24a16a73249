"""Room for new games in a module that is trained on: in its weights, their averages, and the optimizer's state.

A label embedding has a column for each game, and a last one for "no label". Columns of new games go before the last.
All of it happens in memory, when weights or a checkpoint are read; the next checkpoint holds the larger tensors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dualdiffusion.model.module import label_weights
from dualdiffusion.randomness import mix_seed
from train.checkpoints.checkpoint import CheckpointState


def grown_weights(state: dict[str, Tensor], module: nn.Module, seed: int) -> dict[str, Tensor]:
    """`state` with columns for those games of `module` that it lacks; as it is where it lacks none.

    What the network says of the games it knew, of their mixes and of "no label" stays as it was.
    """
    return {**state, **{name: _insert(state[name], new) for name, new in _new_columns(state, module, seed).items()}}


def grown_checkpoint(state: CheckpointState, module: nn.Module, name: str, seed: int) -> CheckpointState:
    """A checkpoint with room for those games of `module` that it lacks; as it is where it lacks none.

    Averages get the columns that the weights get: an average of what does not move is the thing itself. What the
    optimizer remembers of the new columns is zero.

    Args:
        name: of the weights among `state.weights`; the others are averages of them.
    """
    new = _new_columns(state.weights.get(name, {}), module, seed)
    weights = {
        file: {**tensors, **{key: _insert(tensors[key], columns) for key, columns in new.items() if key in tensors}}
        for file, tensors in state.weights.items()
    }
    optimizer = state.optimizer
    parameters = [key for key, _ in module.named_parameters()]
    for key, columns in new.items():
        known = state.weights[name][key].shape[1]
        optimizer = _grown_optimizer(optimizer, parameters.index(key), known, torch.zeros_like(columns))
    return replace(state, weights=weights, optimizer=optimizer)


def _new_columns(state: dict[str, Tensor], module: nn.Module, seed: int) -> dict[str, Tensor]:
    """Values for the columns that `state` lacks, by the tensor's name; a function of the seed and of `state`.

    In each row they have the root mean square of the row. So the row keeps it, and normalising the weights, which
    divides a row by it, does to the old columns what it would have done without the new ones.
    """
    own, columns = module.state_dict(), {}
    for name in label_weights(module):
        rows, wanted = own[name].shape
        known = state[name].shape[1] if name in state and state[name].ndim == 2 else wanted
        if known >= wanted or len(state[name]) != rows:
            continue
        generator = torch.Generator().manual_seed(mix_seed(seed, "new games", name, known, wanted))
        noise = torch.randn(rows, wanted - known, generator=generator, dtype=torch.float64)
        scale = _row_rms(state[name].double().cpu()) / _row_rms(noise)
        columns[name] = noise * scale
    return columns


def _row_rms(x: Tensor) -> Tensor:
    return x.square().mean(dim=1, keepdim=True).sqrt()


def _insert(tensor: Tensor, columns: Tensor) -> Tensor:
    return torch.cat([tensor[:, :-1], columns.to(tensor), tensor[:, -1:]], dim=1)


def _grown_optimizer(optimizer: dict[str, Any], parameter: int, known: int, zeros: Tensor) -> dict[str, Any]:
    """The optimizer's state_dict with `zeros` (rows, new) in what it remembers of a parameter of `known` columns."""
    key = [index for group in optimizer["param_groups"] for index in group["params"]][parameter]
    if key not in optimizer["state"]:
        return optimizer

    def grown(value: Any) -> Any:
        # Some optimizers remember one value for each row or column only.
        has_columns = isinstance(value, Tensor) and value.ndim == 2 and value.shape[1] == known
        return _insert(value, zeros[: len(value)]) if has_columns else value

    memory = {what: grown(value) for what, value in optimizer["state"][key].items()}
    return {**optimizer, "state": {**optimizer["state"], key: memory}}
