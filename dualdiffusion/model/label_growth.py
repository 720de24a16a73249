"""Room for other games: in a network's weights, their averages, an optimizer's state and a config's `label_dim`.

A label embedding has a column for each game, and a last one for "no label". Columns of new games go before the last.
All of it happens in memory, when weights or a checkpoint are read; what is written next holds the larger tensors. The
parts of a network that have such tensors name them, in `label_columns`; nothing else is known of them here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from dualdiffusion.component import Component
from dualdiffusion.randomness import mix_seed

# Share of the vector of "no label" in that of a new game, by amplitude; the rest is its own, random.
SHARED = 0.7


@runtime_checkable
class HasLabelColumns(Protocol):
    """A part of a network with tensors (E, games + 1) in which room can be made."""

    label_columns: ClassVar[Sequence[str]]
    """Their names in the part's state_dict."""


class Checkpointed(Protocol):
    """A dataclass with what training goes on from.

    Attributes:
        weights: tensors by name, of the network under its own name, and of each average under its.
        optimizer: the optimizer's state_dict.
    """

    weights: Mapping[str, Mapping[str, Tensor]]
    optimizer: Mapping[str, Any]


State = TypeVar("State", bound=Checkpointed)


# In a config


def find_label_dim(config: JsonValue) -> int | None:
    """The first `label_dim` in a config's JSON data, also in the parts that it holds."""
    if not isinstance(config, dict):
        return None
    if "label_dim" in config:
        return config["label_dim"]
    return next((found for value in config.values() if (found := find_label_dim(value)) is not None), None)


def set_label_dim(config: JsonValue, label_dim: int | None) -> Any:
    """A config's JSON data with every `label_dim` in it replaced, also in the parts that it holds."""
    if not isinstance(config, dict):
        return config
    return {key: label_dim if key == "label_dim" else set_label_dim(part, label_dim) for key, part in config.items()}


# In a network


def label_weights(module: nn.Module) -> list[str]:
    """Names of the tensors (E, games + 1) in a network's state_dict."""
    return [
        f"{name}.{tensor}" if name else tensor
        for name, part in module.named_modules()
        if isinstance(part, HasLabelColumns)
        for tensor in part.label_columns
    ]


def build_for(component: Component, state: dict[str, Tensor]) -> nn.Module:
    """A network with as many games as its stored weights have columns, whatever its config says."""
    module = component.build()
    columns = {state[key].shape[1] for key in label_weights(module) if key in state and state[key].ndim == 2}
    if columns and columns != {module.label_dim + 1}:
        config = set_label_dim(component.config.to_json(), max(columns) - 1)
        module = Component(component.cls, component.cls.Config.from_json(config)).build()
    return module


def grown_weights(state: dict[str, Tensor], module: nn.Module, seed: int) -> dict[str, Tensor]:
    """`state` with columns for those games of `module` that it lacks; as it is where it lacks none.

    What the network says of the games it knew, of their mixes and of "no label" stays as it was.
    """
    return {**state, **{name: _insert(state[name], new) for name, new in _new_columns(state, module, seed).items()}}


def relabelled(weight: Tensor, columns: dict[int, int], games: int, generator: torch.Generator) -> Tensor:
    """Label vectors (E, known games + 1) for other games: (E, games + 1). The last column stays: it is "no label".

    A new game starts near "no label", which is music of no game in particular, with a part of its own. Normalising
    the weights, which divides each row by its root mean square, is to leave the vectors of old games and "no label" as
    they are. So in each row the new columns have as much energy as keeps the row's mean square. That can be had where
    there are as many games as before, or more; with fewer, some rows are scaled, as a whole, by the first update.

    Args:
        columns: of the games that both know: the new id -> the old one.
    """
    new = [game for game in range(games) if game not in columns]
    old = weight.double()
    none = old[:, -1:]
    result = torch.cat([torch.empty(len(old), games, dtype=old.dtype), none], dim=1)
    for game, known in columns.items():
        result[:, game] = old[:, known]
    if new:
        own = torch.randn(len(old), len(new), generator=generator, dtype=old.dtype) * _mean_square(old).sqrt()
        vectors = SHARED * none + (1 - SHARED**2) ** 0.5 * own
        kept = result[:, [*columns, games]].square().sum(dim=1, keepdim=True)
        wanted = ((games + 1) * _mean_square(old) - kept) / len(new)
        result[:, new] = vectors * (wanted.clamp(min=0) / _mean_square(vectors)).sqrt()
    return result.to(weight)


# In a checkpoint


def grown_checkpoint(state: State, module: nn.Module, name: str, seed: int) -> State:
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


def _new_columns(state: Mapping[str, Tensor], module: nn.Module, seed: int) -> dict[str, Tensor]:
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
        columns[name] = noise * (_mean_square(state[name].double().cpu()).sqrt() / _mean_square(noise).sqrt())
    return columns


def _mean_square(x: Tensor) -> Tensor:
    """Of each row: (E, columns) -> (E, 1)."""
    return x.square().mean(dim=1, keepdim=True)


def _insert(tensor: Tensor, columns: Tensor) -> Tensor:
    """(E, games + 1) with more columns before the last."""
    return torch.cat([tensor[:, :-1], columns.to(tensor), tensor[:, -1:]], dim=1)


def _grown_optimizer(optimizer: Mapping[str, Any], parameter: int, known: int, zeros: Tensor) -> Mapping[str, Any]:
    """The optimizer's state_dict with `zeros` (rows, new) in what it remembers of a parameter of `known` columns."""
    key = [index for group in optimizer["param_groups"] for index in group["params"]][parameter]
    if key not in optimizer["state"]:
        return optimizer

    def grown(value: object) -> object:
        # Some optimizers remember one value for each row or column only.
        has_columns = isinstance(value, Tensor) and value.ndim == 2 and value.shape[1] == known
        return _insert(value, zeros[: len(value)]) if has_columns else value

    memory = {what: grown(value) for what, value in optimizer["state"][key].items()}
    return {**optimizer, "state": {**optimizer["state"], key: memory}}
