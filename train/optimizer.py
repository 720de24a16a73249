"""The optimizer and its learning rate over the course of training, both chosen by name."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    field_validator,
    model_validator,
)
from torch import nn

from dualdiffusion.config import Config, nearest
from dualdiffusion.errors import UserError
from dualdiffusion.randomness import mix_seed
from train.muon import Muon
from train.optimizer_parts import Parts, by_part

# The base class; one that wants the loss as a function; one for sparse gradients alone.
UNUSABLE = {"Optimizer", "LBFGS", "SparseAdam"}
# Our own, which come before those of torch.optim: its Muon takes matrices alone.
OWN = {"Muon": Muon}
# Parts of a parameter's name that mark a learned log-variance.
LOG_VARIANCE = ("uncertainty", "logvar")


class GradientNoise(Config):
    """Normal noise added to the gradient, ever less of it (Neelakantan et al. 2015): its variance at step t, counted
    from 0, is eta / (1 + t)^gamma."""

    eta: PositiveFloat = 0.01
    gamma: Annotated[float, Field(ge=0)] = 0.55

    def std(self, step: int) -> float:
        """Standard deviation at a step."""
        return math.sqrt(self.eta / (1 + step) ** self.gamma)


def known_type(name: str) -> str:
    """The name of an optimizer.

    Raises:
        ValueError: there is none of that name.
    """
    usable = {key for key, value in vars(torch.optim).items() if isinstance(value, type)} - UNUSABLE
    known = sorted(usable | OWN.keys())
    if name not in known:
        raise ValueError(f"no such class in torch.optim; nearest: {', '.join(nearest(name, known, 3)) or 'AdamW'}")
    return name


class PartConfig(Config):
    """How a part of a module is trained. null: as the rest of it."""

    learning_rate: PositiveFloat | None = None
    """Reference rate, which follows the schedule as the other one does."""
    type: Annotated[str, AfterValidator(known_type)] | None = None
    """Another optimizer, whose settings are its own defaults where none are given."""
    settings: dict[str, Any] | None = None


class OptimizerConfig(Config):
    """An optimizer of torch.optim, by name, and what all of them share."""

    type: Annotated[str, AfterValidator(known_type)] = "AdamW"
    """Class name in torch.optim, or Muon, which learns more from each sample: see train/muon.py."""
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
        settings = part.settings if part.settings is not None else {} if other else self.settings
        rate = part.learning_rate or self.learning_rate
        changes = {"type": part.type or self.type, "learning_rate": rate, "settings": settings, "parts": {}}
        return self.model_copy(update=changes)

    def build_for(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of a module's parameters, or that of several of them as one.

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
    """The same of parameters by name."""
    spared, decayed = [], []
    for name, parameter in parameters.items():
        # Gains, biases and single factors have one axis at most; weights of layers have two or more.
        own_size = parameter.ndim < 2 or any(mark in name for mark in LOG_VARIANCE)
        (spared if own_size else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class ScheduleConfig(Config):
    """The learning rate as a function of the samples seen."""

    type: str = "edm2"
    """edm2 (constant, then falling with the inverse square root), constant, cosine (half a wave, from the first sample
    to reference_samples), inverse_lr ((1 + samples / reference_samples)^-power), or points (straight lines between
    `points`)."""
    warmup_samples: Annotated[int, Field(ge=0)] = 0
    """The rate rises linearly over so many samples."""
    reference_samples: Annotated[int, Field(gt=0)] = 70_000_000
    """edm2: the rate starts to fall after so many samples (t_ref times the batch size in the paper); cosine: it has
    fallen to final_factor; inverse_lr: the time scale (inv_gamma, in samples)."""
    power: PositiveFloat = 1.0
    """inverse_lr: how steeply the rate falls."""
    final_factor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """cosine and inverse_lr: the rate does not fall below this share of the reference rate."""
    points: tuple[tuple[NonNegativeInt, NonNegativeFloat], ...] = ()
    """points: samples and what the rate is multiplied with there, such as [[0, 1], [80000, 1], [100000, 0.1]]. Before
    the first and after the last it stays; two points that are one sample apart are a step."""

    @model_validator(mode="after")
    def _points(self) -> ScheduleConfig:
        samples = [at for at, _ in self.points]
        if self.type == "points" and not samples:
            raise ValueError('points: are needed with "type": "points", such as [[0, 1], [100000, 0.1]]')
        if any(after <= before for before, after in itertools.pairwise(samples)):
            raise ValueError("points: each must come after the one before")
        return self

    @field_validator("type")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SCHEDULES:
            raise ValueError(f"must be one of {', '.join(SCHEDULES)}")
        return name

    @property
    def unused(self) -> list[str]:
        """Fields that say something, and that a schedule of this type does not look at."""
        shaping = {"reference_samples", "power", "final_factor", "points"} - TAKES[self.type]
        return [name for name in sorted(shaping) if getattr(self, name) != type(self).model_fields[name].default]

    def factor(self, samples: int) -> float:
        """What the reference learning rate is multiplied with after `samples` samples: at most 1, or as `points`."""
        warmup = min(1.0, (samples + 1) / self.warmup_samples) if self.warmup_samples else 1.0
        return warmup * SCHEDULES[self.type](self, samples)


def edm2(config: ScheduleConfig, samples: int) -> float:
    """Inverse square root decay after the reference point (Karras et al. 2023, equation 67)."""
    return 1 / math.sqrt(max(samples / config.reference_samples, 1.0))


def constant(config: ScheduleConfig, samples: int) -> float:
    """Always 1."""
    return 1.0


def cosine(config: ScheduleConfig, samples: int) -> float:
    """Half a cosine wave from 1 down to final_factor, which then stays (Loshchilov and Hutter 2017, equation 5)."""
    done = min(samples / config.reference_samples, 1.0)
    return config.final_factor + (1 - config.final_factor) * (1 + math.cos(math.pi * done)) / 2


def inverse_lr(config: ScheduleConfig, samples: int) -> float:
    """Falls with a power of the time: (1 + samples / reference_samples)^-power, and not below final_factor."""
    return max(config.final_factor, (1 + samples / config.reference_samples) ** -config.power)


def points(config: ScheduleConfig, samples: int) -> float:
    """Straight lines between the points of the config."""
    after = bisect.bisect_right(config.points, samples, key=lambda point: point[0])
    start, low = config.points[max(after - 1, 0)]
    end, high = config.points[min(after, len(config.points) - 1)]
    return low + (high - low) * (samples - start) / (end - start) if end > start else low


SCHEDULES = {schedule.__name__: schedule for schedule in (edm2, constant, cosine, inverse_lr, points)}
TAKES = {
    "edm2": {"reference_samples"},
    "constant": set(),
    "cosine": {"reference_samples", "final_factor"},
    "inverse_lr": {"reference_samples", "power", "final_factor"},
    "points": {"points"},
}


@torch.no_grad()
def add_gradient_noise(parameters: Iterable[nn.Parameter], std: float, seed: int) -> None:
    """Adds normal noise to the gradients that are there; the same for the same seed, in all processes.

    Drawn on the device of each parameter: for a large network, the CPU would take longer than the step.
    """
    generators: dict[torch.device, torch.Generator] = {}
    for parameter in parameters:
        if parameter.grad is None:
            continue
        device = parameter.device
        if device not in generators:
            # One stream for each device: parameters draw from it in the module's order, the same in all processes.
            generators[device] = torch.Generator(device).manual_seed(mix_seed(seed, "gradient noise"))
        noise = torch.randn(parameter.shape, generator=generators[device], device=device)
        parameter.grad.add_(noise.to(parameter.grad), alpha=std)


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
