"""At which noise levels to train: densities of sigma, given by the inverse of their cumulative distribution.

A density turns quantiles in (0, 1) into noise levels. The quantiles come stratified over the whole batch, so that every
batch covers the density evenly (see `dualdiffusion.randomness.stratified`).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from dualdiffusion.config import Config


class SigmaDensity(Config):
    """Which noise levels training sees, and how often."""

    distribution: Literal["log_normal", "log_linear"] = "log_normal"
    mean: float = -0.4
    """Of ln(sigma); log_normal only."""
    std: Annotated[float, Field(gt=0)] = 1.2
    """Of ln(sigma); log_normal only."""
    sigma_min: Annotated[float, Field(gt=0)] = 0.002
    """No lower noise level is drawn."""
    sigma_max: Annotated[float, Field(gt=0)] = 200.0
    """No higher noise level is drawn."""

    @model_validator(mode="after")
    def _ordered(self) -> SigmaDensity:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min: {self.sigma_min} must be below sigma_max, which is {self.sigma_max}")
        return self

    def sigma(self, quantiles: Tensor) -> Tensor:
        """Noise levels at quantiles in (0, 1), same shape, rising with the quantile."""
        if self.distribution == "log_normal":
            safe = quantiles.double().clamp(1e-7, 1 - 1e-7)
            ln_sigma = self.mean + self.std * math.sqrt(2) * torch.erfinv(2 * safe - 1)
        else:
            low, high = math.log(self.sigma_min), math.log(self.sigma_max)
            ln_sigma = low + quantiles.double() * (high - low)
        return ln_sigma.exp().clamp(self.sigma_min, self.sigma_max).float()
