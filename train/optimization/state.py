"""What an optimizer remembers, as checkpoints have it: independent of how its parameters are grouped."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def packed_state(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Any]:
    """An optimizer's state_dict as if all of the module's parameters were one group, in the module's own order.

    So a checkpoint does not depend on how parameters are grouped.
    """
    state, places = optimizer.state_dict(), _places(optimizer, module)
    memory = {places[index]: values for index, values in state["state"].items()}
    group = {**state["param_groups"][0], "params": list(range(len(places)))}
    return {"state": dict(sorted(memory.items())), "param_groups": [group]}


def load_packed_state(optimizer: torch.optim.Optimizer, module: nn.Module, packed: dict[str, Any]) -> None:
    """Gives an optimizer what `packed_state` told; its groups and their settings stay as they are."""
    memory, places = packed["state"], _places(optimizer, module)
    state = {index: memory[place] for index, place in enumerate(places) if place in memory}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _places(optimizer: torch.optim.Optimizer, module: nn.Module) -> list[int]:
    """For each parameter of an optimizer, in its order, the parameter's place in the module."""
    place = {id(parameter): index for index, parameter in enumerate(module.parameters())}
    return [place[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
