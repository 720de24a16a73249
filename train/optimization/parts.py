"""Several optimizers as one, each for a part of a module's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from dualdiffusion.config import nearest
from dualdiffusion.errors import UserError


class Parts(torch.optim.Optimizer):
    """Optimizers as one, whose groups and state are those of all of them, one after the other.

    Args:
        optimizers: of parameters that no other of them has.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.optimizers = list(optimizers)
        super().__init__([group for optimizer in optimizers for group in optimizer.param_groups], {})
        self._share_groups()

    def _share_groups(self) -> None:
        """The very groups of the optimizers, so that a rate that is set here is theirs."""
        self.param_groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of each on the gradients that are there."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """As one optimizer's: parameters are counted through all of them."""
        state, groups = {}, []
        for optimizer in self.optimizers:
            own, first = optimizer.state_dict(), sum(len(group["params"]) for group in groups)
            state |= {first + index: values for index, values in own["state"].items()}
            groups += [
                {**group, "params": [first + index for index in group["params"]]} for group in own["param_groups"]
            ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Gives each what `state_dict` told of it."""
        groups, first = list(state_dict["param_groups"]), 0
        for optimizer in self.optimizers:
            own, groups = groups[: len(optimizer.param_groups)], groups[len(optimizer.param_groups) :]
            count = sum(len(group["params"]) for group in own)
            places = range(first, first + count)
            optimizer.load_state_dict(
                {
                    "state": {at - first: state_dict["state"][at] for at in places if at in state_dict["state"]},
                    "param_groups": [{**group, "params": [at - first for at in group["params"]]} for group in own],
                }
            )
            first += count
        self._share_groups()


def by_part(module: nn.Module, names: Iterable[str]) -> dict[str, dict[str, nn.Parameter]]:
    """A module's parameters, by the part that each belongs to and their own names; those of none under "".

    Raises:
        UserError: a part without parameters.
    """
    longest_first = sorted(names, key=len, reverse=True)
    found: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        part = next((part for part in longest_first if _is_below(name, part)), "")
        found.setdefault(part, {})[name] = parameter
    for part in longest_first:
        if part not in found:
            known = {end for name, _ in module.named_parameters() for end in _beginnings(name)}
            hint = nearest(part, known, 3) or sorted(name for name in known if "." not in name)
            raise UserError(f"optimizer.parts: no parameter is below {part!r}; nearest: {', '.join(hint)}")
    return found


def _is_below(name: str, part: str) -> bool:
    return fnmatchcase(name, part) or fnmatchcase(name, f"{part}.*")


def _beginnings(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:count]) for count in range(1, len(words) + 1)]
