"""Samplers: functions that carry noisy latents down a list of noise levels, over a callable `denoise`.

All share one signature, `sample_x(denoise, x, sigmas, *, generator, callback)`:
    denoise(x, sigma): the estimate of the clean latents, same shape as x; sigma is a float.
    x: (B, C, ...) latents plus noise of standard deviation sigmas[0].
    sigmas: falling noise levels, usually ending in 0.
    generator: `generator.randn_like(x)` gives unit noise, one stream per item (see dualdiffusion.randomness).
    callback: called after each step with a `SamplerStep`; an exception raised there ends the sampling.

Conditioning and guidance are inside `denoise`; samplers know nothing of them. A function named `sample_x` here is a
sampler that a request may name `x`; adding one is adding a function. Imports no torch: tensors are used by operators.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from dualdiffusion.randomness import ItemRandom


@dataclass(frozen=True)
class SamplerStep:
    """What a sampler shows after step `index` of `steps`: the noisy x, its sigma, and the current clean estimate."""

    index: int
    steps: int
    sigma: float
    x: Tensor
    denoised: Tensor


Denoise = Callable[["Tensor", float], "Tensor"]
Callback = Callable[[SamplerStep], None]


class Sampler(Protocol):
    """The signature of every sampler."""

    def __call__(
        self, denoise: Denoise, x: Tensor, sigmas: list[float], *, generator: ItemRandom, callback: Callback | None
    ) -> Tensor: ...


def derivative(x: Tensor, sigma: float, denoised: Tensor) -> Tensor:
    """dx/dsigma of the probability flow ODE (Karras et al. 2022, equation 3)."""
    return (x - denoised) / sigma


def sample_euler(
    denoise: Denoise, x: Tensor, sigmas: list[float], *, generator: ItemRandom, callback: Callback | None = None
) -> Tensor:
    """Euler's method on the probability flow ODE: one evaluation a step, first order. The same as DDIM."""
    steps = len(sigmas) - 1
    for index, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        denoised = denoise(x, sigma)
        x = x + (sigma_next - sigma) * derivative(x, sigma, denoised)
        if callback:
            callback(SamplerStep(index, steps, sigma, x, denoised))
    return x


def sample_heun(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: ItemRandom,
    callback: Callback | None = None,
    s_churn: float = 0.0,
    s_min: float = 0.0,
    s_max: float = float("inf"),
    s_noise: float = 1.0,
) -> Tensor:
    """Heun's method with optional churn (Karras et al. 2022, Algorithm 2): two evaluations a step, second order.

    The step to sigma 0 is an Euler step, since the correction would divide by zero.
    """
    steps = len(sigmas) - 1
    for index, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        gamma = min(s_churn / steps, 2**0.5 - 1) if s_min <= sigma <= s_max else 0.0
        sigma_hat = sigma * (1 + gamma)
        if gamma > 0:
            x = x + (sigma_hat**2 - sigma**2) ** 0.5 * s_noise * generator.randn_like(x)
        denoised = denoise(x, sigma_hat)
        slope = derivative(x, sigma_hat, denoised)
        x_euler = x + (sigma_next - sigma_hat) * slope
        if sigma_next > 0:
            slope_next = derivative(x_euler, sigma_next, denoise(x_euler, sigma_next))
            x = x + (sigma_next - sigma_hat) * (slope + slope_next) / 2
        else:
            x = x_euler
        if callback:
            callback(SamplerStep(index, steps, sigma, x, denoised))
    return x


SAMPLERS: dict[str, Sampler] = {
    name.removeprefix("sample_"): function for name, function in list(globals().items()) if name.startswith("sample_")
}
