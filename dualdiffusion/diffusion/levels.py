"""Discrete noise levels, as of networks that were trained on so many steps of a diffusion, and back to sigma."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from dualdiffusion.config import Config
from dualdiffusion.machine.precision import widest_dtype

Betas = Literal["linear", "quadratic", "sigmoid", "cosine", "compvis"]
Beta = Annotated[float, Field(gt=0, lt=1)]
# First and last beta where a config gives none.
USUAL_ENDS: dict[str, tuple[float, float]] = {
    "linear": (1e-4, 0.02),
    "quadratic": (1e-4, 0.02),
    "sigmoid": (1e-4, 0.02),
    "compvis": (0.00085, 0.012),
}
# Of `cosine`: keeps the first beta from being too small, and the largest one that is allowed.
COSINE_OFFSET, LARGEST_BETA = 0.008, 0.999


class Discrete:
    """Noise levels 0 to steps - 1 of a variance preserving diffusion: x_i = sqrt(a_i) x0 + sqrt(1 - a_i) noise, where
    a_i is the product of 1 - beta up to i (Ho et al. 2020, equation 4). As x_i / sqrt(a_i) = x0 + sigma_i noise,

        sigma_i = sqrt((1 - a_i) / a_i),

    in standard deviations of the data. Between two levels, ln(sigma) is linear in the index.
    """

    class Config(Config):
        """The betas of the steps."""

        betas: Betas = "linear"
        """linear (Ho et al. 2020); quadratic: the squares of even steps; sigmoid: along a sigmoid from -6 to 6; cosine:
        a is the square of a cosine (Nichol and Dhariwal 2021, equation 17); compvis: quadratic, from 0.00085 to 0.012
        (latent diffusion of Rombach et al. 2022)."""
        steps: Annotated[int, Field(ge=2, le=100_000)] = 1000
        """Number of levels."""
        first: Beta | None = None
        """First beta; null: 0.0001, of compvis 0.00085. cosine has none."""
        last: Beta | None = None
        """Last beta; null: 0.02, of compvis 0.012. cosine has none."""

        @model_validator(mode="after")
        def _fits_together(self) -> Discrete.Config:
            if self.betas == "cosine":
                if self.first is not None or self.last is not None:
                    raise ValueError("first, last: the betas of cosine follow from a formula; leave them out")
                return self
            first, last = self.ends
            if first > last:
                raise ValueError(f"first: {first:g} must not be above last, which is {last:g}")
            return self

        @property
        def ends(self) -> tuple[float, float]:
            """First and last beta; not of cosine."""
            first, last = USUAL_ENDS[self.betas]
            return (first if self.first is None else self.first), (last if self.last is None else self.last)

    def __init__(self, config: Config) -> None:
        self.config = config
        kept = itertools.accumulate(math.log1p(-beta) for beta in betas(config))
        # sigma^2 = (1 - a) / a, without the loss of digits where a is nearly 1 or nearly 0.
        ln_sigma = [(math.log(-math.expm1(ln_a)) - ln_a) / 2 for ln_a in kept]
        self._ln_sigma = torch.tensor(ln_sigma, dtype=torch.float64)

    def sigma(self, index: Tensor) -> Tensor:
        """Noise levels at indices from 0 to steps - 1, which need not be whole: same shape, float64 where there is."""
        table = self._table(index)
        index = index.to(table).clamp(0, len(table) - 1)
        low = index.floor().long().clamp(max=len(table) - 2)
        return torch.lerp(table[low], table[low + 1], index - low).exp()

    def index(self, sigma: Tensor) -> Tensor:
        """Indices that have some noise levels: same shape, float32; the first or last one for levels beyond them."""
        table = self._table(sigma)
        ln_sigma = sigma.to(table).log().clamp(table[0], table[-1])
        low = (torch.searchsorted(table, ln_sigma.contiguous(), right=True) - 1).clamp(0, len(table) - 2)
        return (low + (ln_sigma - table[low]) / (table[low + 1] - table[low])).float()

    def _table(self, like: Tensor) -> Tensor:
        return self._ln_sigma.to(widest_dtype(like.device)).to(like.device)


def betas(config: Discrete.Config) -> list[float]:
    """The share of the variance that each step replaces by noise, `steps` numbers in (0, 1)."""
    if config.betas == "cosine":
        return _cosine(config.steps)
    first, last = config.ends
    ramp = [i / (config.steps - 1) for i in range(config.steps)]
    between: Callable[[float], float]
    if config.betas == "linear":
        between = lambda t: first + t * (last - first)  # noqa: E731
    elif config.betas == "sigmoid":
        between = lambda t: first + (last - first) / (1 + math.exp(6 - 12 * t))  # noqa: E731
    else:
        between = lambda t: (math.sqrt(first) + t * (math.sqrt(last) - math.sqrt(first))) ** 2  # noqa: E731
    return [between(t) for t in ramp]


def _cosine(steps: int) -> list[float]:
    kept = [math.cos((i / steps + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2 for i in range(steps + 1)]
    return [min(1 - after / before, LARGEST_BETA) for before, after in itertools.pairwise(kept)]
