"""Clips between two others: between two seeds, and, along time, between two mixes of games."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dualdiffusion.randomness import SeededNoise
from sampling.solvers.samplers import Denoise

# Share of a clip, at each end, that belongs to one mix alone.
PLATEAU = 0.25


class VariedNoise:
    """Noise on the way from one source's to another's, item by item, for all that sampling draws.

    cos(a) n1 + sin(a) n2 with a = strength * pi / 2: independent noises are orthogonal, so that this is the spherical
    interpolation of the two, and keeps unit variance. At strength 0 and 1 it is n1 and n2, bit for bit.

    Args:
        first, second: sources with the same number of items, such as `SeededNoise` with one seed and with another.
        strength: 0 to 1.
    """

    def __init__(self, first: SeededNoise, second: SeededNoise, strength: float) -> None:
        self._first, self._second, self._strength = first, second, strength

    def __len__(self) -> int:
        return len(self._first)

    def randn(self, shape: Sequence[int]) -> Tensor:
        """Unit normal noise of shape (items, *shape), float32 on the CPU."""
        return self._between(self._first.randn(shape), self._second.randn(shape))

    def randn_like(self, x: Tensor) -> Tensor:
        """Unit normal noise like x, whose first axis is the items."""
        return self._between(self._first.randn_like(x), self._second.randn_like(x))

    def noise(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Unit normal noise like x for a sampler's step between two noise levels."""
        return self._between(self._first.noise(x, sigma, sigma_next), self._second.noise(x, sigma, sigma_next))

    def _between(self, first: Tensor, second: Tensor) -> Tensor:
        if self._strength in (0, 1):
            return second if self._strength else first
        angle = self._strength * math.pi / 2
        return math.cos(angle) * first + math.sin(angle) * second


def mix_weights(columns: int, *, circular: bool, device: torch.device | str = "cpu") -> Tensor:
    """Share of the second mix along time: (columns,) in [0, 1].

    0 in the first quarter, 1 in the last, linear between; in a loop a raised cosine, 0 at its ends, 1 in the middle.
    """
    time = (torch.arange(columns, device=device, dtype=torch.float32) + 0.5) / columns
    if circular:
        return (1 - torch.cos(2 * math.pi * time)) / 2
    return ((time - PLATEAU) / (1 - 2 * PLATEAU)).clamp(0, 1)


def between(first: Denoise, second: Denoise, weight: Tensor) -> Denoise:
    """(1 - weight) D_first + weight D_second; an estimate that counts nowhere is not made.

    Args:
        weight: in [0, 1], broadcast to x (B, C, F, T).
    """
    if not bool(weight.any()):
        return first
    if bool((weight == 1).all()):
        return second

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return torch.lerp(first(x, sigma), second(x, sigma), weight)

    return denoise
