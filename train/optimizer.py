"""The optimizer and its learning rate over the course of training, both chosen by name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import Field, field_validator
from torch import nn

from dualdiffusion.config import Config, nearest
from dualdiffusion.errors import UserError

Positive = Annotated[float, Field(gt=0)]


# The base class; one that wants the loss as a function; one for sparse gradients alone.
UNUSABLE = {"Optimizer", "LBFGS", "SparseAdam"}


class OptimizerConfig(Config):
    """An optimizer of torch.optim, by name, and what all of them share."""

    type: str = "AdamW"
    """Class name in torch.optim."""
    learning_rate: Positive = 0.01
    """Reference rate. Magnitude-preserving layers want it about ten times larger than others do."""
    settings: dict[str, Any] = Field({"betas": [0.9, 0.99], "eps": 1e-8, "weight_decay": 0.0})
    """Further arguments of the optimizer class."""
    max_grad_norm: Positive | None = 10.0
    """Gradients of a larger norm are scaled down to it; null: never."""

    @field_validator("type")
    @classmethod
    def _known(cls, name: str) -> str:
        known = [key for key, value in vars(torch.optim).items() if isinstance(value, type) and key not in UNUSABLE]
        if name not in known:
            raise ValueError(f"no such class in torch.optim; nearest: {', '.join(nearest(name, known, 3)) or 'AdamW'}")
        return name

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer over `parameters`.

        Raises:
            UserError: settings that this optimizer does not take.
        """
        try:
            return getattr(torch.optim, self.type)(parameters, lr=self.learning_rate, **self.settings)
        except (TypeError, ValueError) as error:
            raise UserError(f"optimizer.settings: {self.type}: {error}") from None


class ScheduleConfig(Config):
    """The learning rate as a function of the samples seen."""

    type: str = "edm2"
    """edm2 (constant, then falling with the inverse square root), or constant."""
    warmup_samples: Annotated[int, Field(ge=0)] = 0
    """The rate rises linearly over so many samples."""
    reference_samples: Annotated[int, Field(gt=0)] = 70_000_000
    """edm2: the rate starts to fall after so many samples (t_ref times the batch size in the paper)."""

    @field_validator("type")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SCHEDULES:
            raise ValueError(f"must be one of {', '.join(SCHEDULES)}")
        return name

    def factor(self, samples: int) -> float:
        """What the reference learning rate is multiplied with after `samples` samples, from 0 to 1."""
        warmup = min(1.0, (samples + 1) / self.warmup_samples) if self.warmup_samples else 1.0
        return warmup * SCHEDULES[self.type](self, samples)


def edm2(config: ScheduleConfig, samples: int) -> float:
    """Inverse square root decay after the reference point (Karras et al. 2023, equation 67)."""
    return 1 / math.sqrt(max(samples / config.reference_samples, 1.0))


def constant(config: ScheduleConfig, samples: int) -> float:
    """Always 1."""
    return 1.0


SCHEDULES = {schedule.__name__: schedule for schedule in (edm2, constant)}
