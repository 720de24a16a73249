"""Randomness without state: every random number is a function of what it is for.

A training step's noise depends on the run's seed and the sample's number, a clip's noise on its own seed, whatever
else is in the batch, how many processes share the work, and whether the run was interrupted before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def mix_seed(*parts: int | str) -> int:
    """A seed in [0, 2^63) that depends on all parts and on their order."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    # 63 bits: torch takes seeds as signed numbers.
    return int.from_bytes(digest[:8], "little") >> 1


class SeededNoise:
    """One random stream for each item of a batch, so that item k does not depend on its neighbours."""

    def __init__(self, seeds: Sequence[int]) -> None:
        # Always on the CPU: the same seed gives the same noise on every device.
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __len__(self) -> int:
        return len(self._generators)

    def randn(self, shape: Sequence[int]) -> Tensor:
        """Unit normal noise of shape (items, *shape), float32 on the CPU."""
        return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in self._generators])

    def rand(self, shape: Sequence[int] = ()) -> Tensor:
        """Uniform numbers in [0, 1) of shape (items, *shape), float32 on the CPU."""
        return torch.stack([torch.rand(tuple(shape), generator=generator) for generator in self._generators])

    def randn_like(self, x: Tensor) -> Tensor:
        """Unit normal noise like x, whose first axis is the items.

        Raises:
            ValueError: x has another number of items.
        """
        self._check(x)
        return self.randn(x.shape[1:]).to(device=x.device, dtype=x.dtype)

    def noise(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Unit normal noise like x for a sampler's step: white, whichever noise levels the step is between.

        Raises:
            ValueError: x has another number of items.
        """
        return self.randn_like(x)

    def _check(self, x: Tensor) -> None:
        if len(x) != len(self):
            raise ValueError(f"x has {len(x)} items, but there are {len(self)} random streams")


def stratified(count: int, seed: int) -> Tensor:
    """`count` quantiles in (0, 1), one in each of `count` equal slices, in random order: shape (count,), float64."""
    generator = torch.Generator().manual_seed(seed)
    # In random order, so that a sample's quantile does not tell its place in the batch, nor the micro batch its part.
    slices = torch.randperm(count, generator=generator)
    return (slices + torch.rand(count, generator=generator, dtype=torch.float64)) / count


class StepRandom(SeededNoise):
    """The randomness of the samples of one training step, or of the part of it that one process handles.

    Attributes:
        quantiles: (items,) in (0, 1), stratified over the whole step, whichever process and micro batch they fall to.
    """

    def __init__(self, seed: int, *, first: int, batch_size: int, indices: Sequence[int]) -> None:
        """
        Args:
            first: number of the step's first sample, counted from the start of training.
            batch_size: samples of the whole step.
            indices: numbers of the samples at hand, from first to first + batch_size - 1.
        """
        super().__init__([mix_seed(seed, "noise", index) for index in indices])
        slots = torch.tensor([index - first for index in indices])
        self.quantiles = stratified(batch_size, mix_seed(seed, "quantiles", first))[slots]
