"""Gaussian data, for which the best answer of every network is known: the closed form that predictors are held to."""

from __future__ import annotations

import torch
from torch import Tensor

from dualdiffusion.diffusion.predictors import EDM, Clean, Flow, Noise, Predictor, Velocity

PREDICTORS: tuple[type[Predictor], ...] = (EDM, Velocity, Noise, Clean, Flow)
MEAN, STD, DATA = 0.3, 0.7, 0.5  # of the data; and what the predictor takes for their standard deviation
SIGMA = torch.logspace(-2, 2, 41, dtype=torch.float64)


def known(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x0 + sigma noise = x] for x0 ~ N(MEAN, STD^2)."""
    return MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN)


def best_answer(name: str, seen: Tensor, sigma: Tensor) -> Tensor:
    """E[what the network is asked for | what it sees], from the process as its own paper writes it, a x0 / d + b n."""
    ratio = sigma / DATA
    angle = ratio.atan()
    a, b = (1 / (1 + ratio), ratio / (1 + ratio)) if name == "Flow" else (angle.cos(), angle.sin())
    mean, variance = MEAN / DATA, (STD / DATA) ** 2
    gain = 1 / (a**2 * variance + b**2)
    clean = mean + a * variance * gain * (seen - a * mean)
    noise = b * gain * (seen - a * mean)
    velocity = a * noise - b * clean
    return {"EDM": -velocity, "Velocity": velocity, "Noise": noise, "Clean": clean, "Flow": noise - clean}[name]


def points(sigma: Tensor) -> Tensor:
    """Noisy data x at noise levels (N,), from far below to far above what there is at each: (7, N)."""
    return torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None] * (1 + sigma)


def estimate(cls: type[Predictor], x: Tensor, sigma: Tensor) -> Tensor:
    """D(x; sigma) of a network that gives the best answer, in the shape of x."""
    scale = cls().scalings(sigma, DATA)
    return scale.skip * x + scale.out * best_answer(cls.__name__, scale.input * x, sigma)


def largest_error(cls: type[Predictor]) -> float:
    """How far that is from the known estimate at most, in units of 1 + |known|, float64."""
    x = points(SIGMA)
    right = known(x, SIGMA)
    return float(((estimate(cls, x, SIGMA) - right).abs() / (1 + right.abs())).max())
