"""The optimizer of a module, chosen by name, and how parts of the module are trained otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, Field, PositiveFloat
from torch import nn

from dualdiffusion.config import Config, nearest
from dualdiffusion.errors import UserError
from train.optimization.gradient_noise import GradientNoise
from train.optimization.muon import Muon
from train.optimization.parts import Parts, by_part

# The base class; one that wants the loss as a function; one for sparse gradients alone.
UNUSABLE = {"Optimizer", "LBFGS", "SparseAdam"}
# Our own, which come before those of torch.optim: its Muon takes matrices alone.
OWN = {"Muon": Muon}
# Parts of a parameter's name that mark a learned log-variance.
LOG_VARIANCE = ("uncertainty", "logvar")


def known_type(name: str) -> str:
    """The name of an optimizer.

    Raises:
        ValueError: there is none of that name.
    """
    usable = {key for key, value in vars(torch.optim).items() if isinstance(value, type)} - UNUSABLE
    known = sorted(usable | OWN.keys())
    if name not in known:
        raise ValueError(f"no such optimizer; nearest: {', '.join(nearest(name, known, 3)) or 'AdamW'}")
    return name


class PartConfig(Config):
    """How a part of a module is trained. null: as the rest of it."""

    learning_rate: PositiveFloat | None = None
    """Reference rate, scaled by the same schedule as that of the rest."""
    type: Annotated[str, AfterValidator(known_type)] | None = None
    """Another optimizer, whose settings are its own defaults where none are given."""
    settings: dict[str, Any] | None = None


class OptimizerConfig(Config):
    """An optimizer of torch.optim, by name, and what all of them share."""

    type: Annotated[str, AfterValidator(known_type)] = "AdamW"
    """Class name in torch.optim, or Muon, which learns more from each sample: see train/optimization/muon.py."""
    learning_rate: PositiveFloat = 0.01
    """Reference rate. Magnitude-preserving layers want it about ten times larger than others do."""
    settings: dict[str, Any] = Field({"betas": [0.9, 0.99], "eps": 1e-8, "weight_decay": 0.0})
    """Further arguments of the optimizer class. A weight_decay spares gains, biases and the learned log-variance."""
    max_grad_norm: PositiveFloat | None = 10.0
    """Gradients of a larger norm are scaled down to it; null: never."""
    gradient_noise: GradientNoise | None = None
    """Noise added to the gradient, after it has been scaled down; null: none."""
    parts: dict[str, PartConfig] = Field({})
    """Parts of the module that are trained otherwise, by the beginning of their parameters' names, such as
    `uncertainty` or `backbone.blocks.*.modulation`, where * stands for anything. Where several fit, the longest."""

    @property
    def kind(self) -> str:
        """The types, by which checkpoints are told apart: what one optimizer remembers, another cannot use."""
        others = [f"{name}: {part.type}" for name, part in self.parts.items() if part.type not in (None, self.type)]
        return f"{self.type} ({', '.join(others)})" if others else self.type

    def of_part(self, part: PartConfig) -> OptimizerConfig:
        """What holds for a part."""
        other = part.type is not None and part.type != self.type
        inherited = {} if other else self.settings  # another class takes other arguments
        settings = inherited if part.settings is None else part.settings
        rate = part.learning_rate or self.learning_rate
        changes = {"type": part.type or self.type, "learning_rate": rate, "settings": settings, "parts": {}}
        return self.model_copy(update=changes)

    def build_for(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of a module's parameters; where the config has parts, one `Parts` around an optimizer for each.

        Each of its groups has a `rate` where there are parts: its learning rate, as a multiple of the reference rate.

        Raises:
            UserError: settings that an optimizer does not take, or a part without parameters.
        """
        if not self.parts:
            return self.build(parameter_groups(module))
        optimizers = []
        for name, parameters in by_part(module, self.parts).items():
            config = self.of_part(self.parts[name]) if name else self
            groups = grouped(parameters)
            for group in groups:
                group["rate"] = config.learning_rate / self.learning_rate
            optimizers.append(config.build(groups))
        return Parts(optimizers)

    def build(self, parameters: Iterable[nn.Parameter] | list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over parameters, or over the groups that `parameter_groups` makes of a module's.

        Raises:
            UserError: settings that this optimizer does not take.
        """
        try:
            cls = OWN.get(self.type) or getattr(torch.optim, self.type)
            return cls(parameters, lr=self.learning_rate, **self.settings)
        except (TypeError, ValueError) as error:
            raise UserError(f"optimizer.settings: {self.type}: {error}") from None


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """A module's parameters for an optimizer: those that weight decay may shrink, and those that it must not.

    Gains, biases and the learned log-variance mean something at their own size. On magnitude-preserving layers, which
    are brought back to their length after each update, weight decay changes nothing but the size of the next step.
    """
    return grouped(dict(module.named_parameters()))


def grouped(parameters: dict[str, nn.Parameter]) -> list[dict[str, Any]]:
    """As `parameter_groups`, of parameters by name."""
    spared, decayed = [], []
    for name, parameter in parameters.items():
        # Gains, biases and single factors have one axis at most; weights of layers have two or more.
        own_size = parameter.ndim < 2 or any(mark in name for mark in LOG_VARIANCE)
        (spared if own_size else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
