"""What few samples can tell: resampling, intervals and quartiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

CONFIDENCE = 0.95
SMALLEST_GROUP = 4


@dataclass(frozen=True)
class Interval:
    """An estimate and the limits of its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    def to_json(self) -> dict[str, float | None]:
        """NaN, which JSON does not know, becomes null."""
        return {name: number if math.isfinite(number) else None for name, number in asdict(self).items()}


def group_members(groups: Sequence[Any]) -> list[Tensor]:
    """The indices of each group's clips."""
    members: dict[Any, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return [torch.tensor(indices) for indices in members.values()]


class Resampler:
    """Draws as many clips as there are, with replacement, within each group.

    Drawing within games keeps the equal numbers of clips per game, which are no accident. Very small groups say little
    of their spread, so where there is one, all clips are drawn from together.

    Args:
        groups: the group of each clip.
    """

    def __init__(self, groups: Sequence[Any]) -> None:
        self.count, self.pools = len(groups), group_members(groups)
        if min(map(len, self.pools)) < SMALLEST_GROUP:
            self.pools = [torch.arange(len(groups))]

    def draw(self, generator: torch.Generator) -> Tensor:
        """How often each clip is drawn: (N,) float64."""
        counts = torch.zeros(self.count, dtype=torch.float64)
        for pool in self.pools:
            drawn = torch.randint(len(pool), (len(pool),), generator=generator)
            counts[pool] = torch.bincount(drawn, minlength=len(pool)).double()
        return counts


def percentile_interval(value: float, draws: Tensor) -> Interval:
    """The bootstrap's quantiles: for statistics whose draws lie around the estimate."""
    low, high = _quantiles(draws)
    return Interval(value, low, high)


def centred_interval(value: float, draws: Tensor) -> Interval:
    """The bootstrap's spread, shifted to lie around the estimate.

    For unbiased statistics of pairs: draws repeat clips, and so have a bias that the estimate itself has not.
    """
    low, high = _quantiles(draws - draws[draws.isfinite()].mean())
    return Interval(value, value + low, value + high)


def corrected_interval(value: float, draws: Tensor, floor: float = -math.inf) -> Interval:
    """The basic bootstrap interval (Davison and Hinkley 1997, equation 5.6), and the estimate without its bias.

    For biased statistics: draws exceed the estimate as the estimate exceeds the truth, so both are reflected about it,
    value - (draws - value). The given value may lie outside.
    """
    low, high = _quantiles(draws)
    mean = float(draws[draws.isfinite()].mean())
    return Interval(*(max(2 * value - limit, floor) for limit in (mean, high, low)))


def _quantiles(draws: Tensor) -> tuple[float, float]:
    finite = draws[draws.isfinite()]
    if not len(finite):
        return math.nan, math.nan
    tail = (1 - CONFIDENCE) / 2
    low, high = torch.quantile(finite, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def proportion(successes: int, count: int) -> Interval:
    """A share with its score interval (Wilson 1927), which holds for few samples and at 0 and 1; NaN of nothing."""
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    z = 1.959963984540054
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return Interval(share, max(centre - half, 0.0), min(centre + half, 1.0))


@dataclass(frozen=True)
class Quartiles:
    """Median and quartiles of the finite ones among `count` numbers."""

    median: float | None
    lower: float | None
    upper: float | None
    count: int
    finite: int

    @staticmethod
    def of(values: Tensor) -> Quartiles:
        """Of some values; those that are not finite are left out."""
        finite = values.double()[values.isfinite()]
        if not len(finite):
            return Quartiles(None, None, None, len(values), 0)
        lower, median, upper = torch.quantile(finite, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
        return Quartiles(median, lower, upper, len(values), len(finite))

    def to_json(self) -> dict[str, float | int | None]:
        """The fields by their names."""
        return asdict(self)


def median_difference(a: Tensor, b: Tensor, *, draws: int, generator: torch.Generator) -> Interval:
    """Median of a minus that of b, with a percentile interval; what is not finite is left out."""
    a, b = (x.double()[x.isfinite()] for x in (a, b))
    if min(len(a), len(b)) < 2:
        return Interval(math.nan, math.nan, math.nan)

    def medians(x: Tensor) -> Tensor:
        return torch.quantile(x[torch.randint(len(x), (draws, len(x)), generator=generator)], 0.5, dim=1)

    value = float(torch.quantile(a, 0.5) - torch.quantile(b, 0.5))
    return percentile_interval(value, medians(a) - medians(b))
