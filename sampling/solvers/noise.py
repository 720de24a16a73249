"""Where samplers take their noise from: `NoiseSource`, and noise that belongs to noise levels, not to steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dualdiffusion.randomness import SeededNoise, mix_seed


class NoiseSource(Protocol):
    """What samplers draw from; items are x's first axis, and each has its own stream.

    `dualdiffusion.randomness.SeededNoise` is one: its noise is white, whatever the interval.
    """

    def randn_like(self, x: Tensor) -> Tensor:
        """Unit normal noise like x, independent of all other noise."""
        ...

    def noise(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Unit normal noise like x for the interval from sigma down to sigma_next; independent where they are apart."""
        ...


class BrownianNoise(SeededNoise):
    """Noise of a Brownian motion W over lambda = -ln(sigma), one path for each item, whatever steps look at it:

        noise(sigma, sigma_next) = (W(lambda_next) - W(lambda)) / sqrt(lambda_next - lambda).

    Two steps then get the noise that one step over both would get, so that a sampler of an SDE comes to one result as
    its steps grow in number, as solvers of the ODE do: a few steps are a preview of many.

    The path is a virtual Brownian tree (Li et al. 2020): each point's value is drawn given its two neighbours on the
    next coarser level of a dyadic grid, by a generator seeded by the item and the point. Nothing is stored but the
    points asked for last. Levels are rounded to the grid of 2^DEPTH points from sigma_max to sigma_min; an interval
    that falls between its points has white noise. The initial noise (`randn`) and re-injection (`randn_like`) are
    those of SeededNoise, and independent of the path.

    Args:
        seeds: one for each item.
        sigma_min, sigma_max: the path's ends; levels beyond them are taken as the end.

    Raises:
        ValueError: sigma_min is not above 0 and below sigma_max.
    """

    DEPTH = 18
    CACHE = 3 * DEPTH
    """Points kept: more than the way from the root to a leaf, so that no point is drawn twice on its way down."""

    def __init__(self, seeds: Sequence[int], *, sigma_min: float, sigma_max: float) -> None:
        super().__init__(seeds)
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f"sigma_min: {sigma_min} must be above 0 and below sigma_max, which is {sigma_max}")
        self._seeds = [mix_seed(seed, "brownian") for seed in seeds]
        self._start, self._width = math.log(sigma_max), math.log(sigma_max / sigma_min)
        self._points: dict[int, Tensor] = {}

    def noise(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Unit normal noise like x, (items, ...), for the interval from sigma down to sigma_next.

        Raises:
            ValueError: x has another number of items.
        """
        first, last = self._point(sigma), self._point(sigma_next)
        if first >= last:
            return self.randn_like(x)
        self._check(x)
        if self._points and next(iter(self._points.values())).shape != x.shape:
            self._points.clear()
        increment = self._value(last, x) - self._value(first, x)
        return (increment * math.sqrt(2**self.DEPTH / (last - first))).to(device=x.device, dtype=x.dtype)

    def _point(self, sigma: float) -> int:
        share = (self._start - math.log(sigma)) / self._width if sigma > 0 else 1.0
        return round(2**self.DEPTH * min(max(share, 0.0), 1.0))

    def _value(self, point: int, x: Tensor) -> Tensor:
        """W at point / 2^DEPTH of the way, float32 on the CPU."""
        if point == 0:
            return torch.zeros(x.shape)
        if point not in self._points:
            top = 2**self.DEPTH
            half = point & -point  # the distance to both neighbours on the next coarser grid
            if point == top:
                value = self._draw(point, x)
            else:
                middle = (self._value(point - half, x) + self._value(point + half, x)) / 2
                value = middle + math.sqrt(half / top / 2) * self._draw(point, x)
            while len(self._points) >= self.CACHE:
                self._points.pop(next(iter(self._points)))
            self._points[point] = value
        else:
            self._points[point] = self._points.pop(point)  # the last used is dropped last
        return self._points[point]

    def _draw(self, point: int, x: Tensor) -> Tensor:
        return SeededNoise([mix_seed(seed, point) for seed in self._seeds]).randn(x.shape[1:])
