"""Noise added to the gradients, ever less of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat
from torch import nn

from dualdiffusion.config import Config
from dualdiffusion.randomness import mix_seed


class GradientNoise(Config):
    """Normal noise added to the gradient, ever less of it (Neelakantan et al. 2015): its variance at step t, counted
    from 0, is eta / (1 + t)^gamma."""

    eta: PositiveFloat = 0.01
    gamma: Annotated[float, Field(ge=0)] = 0.55

    def std(self, step: int) -> float:
        """Standard deviation at a step."""
        return math.sqrt(self.eta / (1 + step) ** self.gamma)


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
