"""At which noise levels to train: densities of sigma, given by the inverse of their cumulative distribution.

A density turns quantiles in (0, 1) into noise levels. The quantiles come stratified over the whole batch, so that every
batch covers the density evenly (see `dualdiffusion.randomness.stratified`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from dualdiffusion.config import Config

# Quantiles are kept so far from 0 and 1, where the unbounded densities have no noise level.
EDGE = 1e-7


class SigmaDensity(Config):
    """Which noise levels training sees, and how often."""

    distribution: Literal["log_normal", "log_sech", "log_logistic", "log_linear", "adaptive"] = "log_normal"
    """Of ln(sigma): normal; hyperbolic secant, which has longer tails, and with mean 0 and std 1.5708 is even in
    atan(sigma); logistic, between the two, and with mean 0 and std 1.8138 even in sigma / (1 + sigma), the time of
    rectified flow; even; or learned (see AdaptiveDensity)."""
    mean: float = -0.4
    """Of ln(sigma); of all but log_linear, and of adaptive until it has warmed up."""
    std: Annotated[float, Field(gt=0)] = 1.2
    """Of ln(sigma); as for mean."""
    stratified: bool = True
    """Spread the noise levels of a batch evenly over the density, instead of drawing each on its own."""
    sigma_min: Annotated[float, Field(gt=0)] = 0.002
    """No lower noise level is drawn."""
    sigma_max: Annotated[float, Field(gt=0)] = 200.0
    """No higher noise level is drawn."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """adaptive: power of the learned share of the error; 0 is even in ln(sigma), larger is more concentrated."""
    even_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """adaptive: share of the samples that stays even in ln(sigma), so that every noise level is looked at."""
    warmup_samples: Annotated[int, Field(ge=0)] = 50_000
    """adaptive: the density is log_normal for so many samples, until the log-variance means something."""
    update_samples: Annotated[int, Field(gt=0)] = 10_000
    """adaptive: samples between two readings of the log-variance."""

    @model_validator(mode="after")
    def _ordered(self) -> SigmaDensity:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min: {self.sigma_min} must be below sigma_max, which is {self.sigma_max}")
        return self

    def sigma(self, quantiles: Tensor) -> Tensor:
        """Noise levels at quantiles in (0, 1), same shape, rising with the quantile.

        Of `adaptive`, what it is before its warm-up.
        """
        return self.ln_sigma(quantiles).exp().clamp(self.sigma_min, self.sigma_max).float()

    def ln_sigma(self, quantiles: Tensor) -> Tensor:
        """Their logarithms, float64, before sigma_min and sigma_max cut them off."""
        inside = quantiles.double().clamp(EDGE, 1 - EDGE)
        if self.distribution == "log_linear":
            low, high = math.log(self.sigma_min), math.log(self.sigma_max)
            return low + quantiles.double() * (high - low)
        if self.distribution == "log_sech":
            # The cumulative distribution (2 / pi) atan(exp(pi x / 2)), solved for x, which has unit variance.
            return self.mean + self.std * (2 / math.pi) * torch.tan(math.pi / 2 * inside).log()
        if self.distribution == "log_logistic":
            # The cumulative distribution 1 / (1 + exp(-x)), whose variance is pi^2 / 3.
            return self.mean + self.std * (math.sqrt(3) / math.pi) * torch.logit(inside)
        return self.mean + self.std * math.sqrt(2) * torch.erfinv(2 * inside - 1)


class AdaptiveDensity:
    """Puts training where the learned log-variance says that there is something to learn.

    u(sigma) is the logarithm of the model's error, weighted such that an untrained network, whose denoiser is the best
    linear guess, has an error of 1 at every noise level. So

        r(sigma) = max(0, 1 - exp(u(sigma)))

    is the share of the linear guess's error that can be reduced, as far as the model has found out. Where it stays at
    0, no sample helped: at high noise levels nothing of the sound is left to be seen, at low ones noise cannot be told
    from its finest detail. Where it is large, structure is being learned, and more samples make more of it. The density
    over ln(sigma), from sigma_min to sigma_max, is

        p = (1 - even_share) r^temperature / integral(r^temperature) + even_share / ln(sigma_max / sigma_min)

    The even part lets r rise anywhere. What r cannot tell is a level that is learned to the end from one that is not;
    such levels keep their samples, which the loss, divided by exp(u), treats as equal to all others.

    Until `warmup_samples` the density is log_normal. Then the density is a table, made anew every `update_samples` from
    the log-variance of that moment alone: a function of the weights, without chance.
    """

    BINS = 256

    def __init__(self, config: SigmaDensity) -> None:
        self.config = config
        self._ln_sigma = torch.linspace(
            math.log(config.sigma_min), math.log(config.sigma_max), self.BINS + 1, dtype=torch.float64
        )
        self._cdf: Tensor | None = None
        self._updated = 0

    def sigma(self, quantiles: Tensor) -> Tensor:
        """Noise levels at quantiles in (0, 1), same shape, rising with the quantile."""
        if self._cdf is None:
            return self.config.sigma(quantiles)
        q = quantiles.cpu().double().clamp(0, 1).contiguous()
        right = torch.searchsorted(self._cdf, q).clamp(1, self.BINS)
        low, high = self._cdf[right - 1], self._cdf[right]
        ln_sigma = torch.lerp(self._ln_sigma[right - 1], self._ln_sigma[right], (q - low) / (high - low))
        sigma = ln_sigma.exp().clamp(self.config.sigma_min, self.config.sigma_max)
        return sigma.float().to(quantiles.device)

    def due(self, samples: int) -> bool:
        """Whether the table is to be made anew after so many samples of the training."""
        every = self.config.update_samples
        return samples >= self.config.warmup_samples and samples // every > self._updated // every

    @torch.no_grad()
    def update(self, log_variance: Callable[[Tensor], Tensor], samples: int) -> None:
        """Makes the table from u(sigma): (N,) -> (N,), as it is after so many samples of the training.

        A log-variance that is not finite leaves the table as it was.
        """
        centres = ((self._ln_sigma[1:] + self._ln_sigma[:-1]) / 2).exp()
        u = log_variance(centres.float()).detach().cpu().double()  # of which Apple's GPUs know nothing
        self._updated = samples
        if not bool(u.isfinite().all()):
            return
        share = (1 - u.exp()).clamp(min=0) ** self.config.temperature
        even = torch.full_like(share, 1 / self.BINS)
        learned = share / share.sum() if float(share.sum()) > 0 else even
        weight = self.config.even_share
        cdf = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum((1 - weight) * learned + weight * even, 0)])
        self._cdf = cdf / cdf[-1]

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it."""
        table = {} if self._cdf is None else {"cdf": self._cdf, "ln_sigma": self._ln_sigma}
        return {**table, "updated": torch.tensor(self._updated)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on from a checkpoint; a table of another range of noise levels is dropped, and made anew when due."""
        same = "cdf" in state and torch.equal(state["ln_sigma"], self._ln_sigma)
        self._cdf = state["cdf"] if same else None
        self._updated = int(state["updated"]) if same else 0
