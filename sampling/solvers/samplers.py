"""Samplers: functions that carry noisy latents down a list of noise levels, over a callable `denoise`.

All share one signature, `sample_x(denoise, x, sigmas, *, generator, callback, reinjection, <own options>)`:
    denoise(x, sigma): the estimate of the clean latents, same shape as x; sigma is a float.
    x: (B, C, ...) latents plus noise of standard deviation sigmas[0].
    sigmas: falling noise levels, usually ending in 0.
    generator: where noise comes from, one stream per item: `SeededNoise`, or `BrownianNoise` of noise.py.
    callback: called after each step with a `SamplerStep`; an exception raised there ends the sampling.
    reinjection: share of each step's way down that fresh noise undoes, in [0, 1), or `Renoising`; see renoising.py.
    eta: noise of the stochastic ones; 0 makes them solvers of the ODE, 1 is the reverse diffusion.
    s_noise: factor of that noise.

Conditioning and guidance are inside `denoise`; samplers know nothing of them. A function named `sample_x` here is a
sampler that a request may name `x`; adding one is adding a function, whose options' types say what a request may give
them (sampler_options.py). Imports no torch: tensors are used by operators.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Protocol

from sampling.solvers.dpm_solver import sample_dpm_adaptive, sample_dpm_fast  # noqa: F401 - listed by their names
from sampling.solvers.maths import (
    Callback,
    Denoise,
    Eta,
    InnerShare,
    NoiseFactor,
    NotNegative,
    Order,
    SamplerStep,
    adams_bashforth_weights,
    ancestral_step,
    derivative,
    geometric_mean,
    linear_step,
    log_ratio,
    phi,
)
from sampling.solvers.renoising import Leg, Reinjection, legs, renoising_of

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.solvers.noise import NoiseSource

__all__ = ["ONE_ITEM_AT_A_TIME", "SAMPLERS", "Callback", "Denoise", "Sampler", "SamplerStep"]


# A step so much longer than the one before it is not extrapolated: the slopes' rounding errors would grow with it.
LMS_SHORTEST = 0.01


class Sampler(Protocol):
    """The signature of every sampler; `options` are its own keywords, each with a default."""

    def __call__(
        self,
        denoise: Denoise,
        x: Tensor,
        sigmas: list[float],
        *,
        generator: NoiseSource,
        callback: Callback | None = None,
        reinjection: Reinjection = 0.0,
        **options: Any,
    ) -> Tensor: ...


def sample_euler(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
) -> Tensor:
    """Euler's method on the probability flow ODE: one evaluation a step, first order. The same as DDIM."""
    for leg in legs(sigmas, generator, callback, reinjection):
        denoised = denoise(x, leg.sigma)
        x = leg.end(linear_step(x, denoised, leg.sigma, leg.sigma_next), denoised)
    return x


sample_ddim = sample_euler


def sample_euler_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    eta: Eta = 1.0,
    s_noise: NoiseFactor = 1.0,
) -> Tensor:
    """Euler's method with ancestral steps: one evaluation a step. At eta = 1 the same as DDPM."""
    for leg in legs(sigmas, generator, callback, reinjection):
        sigma_down, sigma_up = ancestral_step(leg.sigma, leg.sigma_next, eta)
        denoised = denoise(x, leg.sigma)
        x = linear_step(x, denoised, leg.sigma, sigma_down)
        if sigma_up > 0:
            x = x + sigma_up * s_noise * leg.noise(x)
        x = leg.end(x, denoised)
    return x


def sample_heun(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    s_churn: NotNegative = 0.0,
    s_min: NotNegative = 0.0,
    s_max: NotNegative = float("inf"),
    s_noise: NoiseFactor = 1.0,
) -> Tensor:
    """Heun's method with optional churn (Karras et al. 2022, Algorithm 2): two evaluations a step, second order.

    The step to sigma 0 is an Euler step, since the correction would divide by zero.
    """
    for leg in legs(sigmas, generator, callback, reinjection):
        gamma = min(s_churn / leg.steps, 2**0.5 - 1) if s_min <= leg.sigma <= s_max else 0.0
        sigma_hat = leg.sigma * (1 + gamma)
        if gamma > 0:
            x = x + (sigma_hat**2 - leg.sigma**2) ** 0.5 * s_noise * generator.randn_like(x)
        denoised = denoise(x, sigma_hat)
        slope = derivative(x, sigma_hat, denoised)
        x_euler = x + (leg.sigma_next - sigma_hat) * slope
        if leg.sigma_next > 0:
            slope_next = derivative(x_euler, leg.sigma_next, denoise(x_euler, leg.sigma_next))
            x = x + (leg.sigma_next - sigma_hat) * (slope + slope_next) / 2
        else:
            x = x_euler
        x = leg.end(x, denoised)
    return x


def sample_dpm_2(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
) -> Tensor:
    """The midpoint method, with the midpoint in ln(sigma): DPM-Solver-2 (Lu et al. 2022a, Algorithm 1).

    Two evaluations a step, second order; the step to sigma 0 is an Euler step.
    """
    return sample_dpm_2_ancestral(
        denoise, x, sigmas, generator=generator, callback=callback, reinjection=reinjection, eta=0.0
    )


def sample_dpm_2_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    eta: Eta = 1.0,
    s_noise: NoiseFactor = 1.0,
) -> Tensor:
    """DPM-Solver-2 (see `sample_dpm_2`) with ancestral steps: two evaluations a step."""
    for leg in legs(sigmas, generator, callback, reinjection):
        sigma_down, sigma_up = ancestral_step(leg.sigma, leg.sigma_next, eta)
        denoised = denoise(x, leg.sigma)
        if sigma_down > 0:
            sigma_mid = geometric_mean(leg.sigma, sigma_down)
            x_mid = linear_step(x, denoised, leg.sigma, sigma_mid)
            x = x + (sigma_down - leg.sigma) * derivative(x_mid, sigma_mid, denoise(x_mid, sigma_mid))
        else:
            x = linear_step(x, denoised, leg.sigma, sigma_down)
        if sigma_up > 0:
            x = x + sigma_up * s_noise * leg.noise(x)
        x = leg.end(x, denoised)
    return x


def sample_lms(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    order: Order = 4,
) -> Tensor:
    """Adams and Bashforth's linear multistep method: the polynomial through the last slopes is integrated exactly.

    One evaluation a step. The first steps have fewer slopes to go by: their error is what is left when steps are many,
    so that it is of second order in the limit, whatever its own. With re-injection or restarts it is dpmpp_2m, a
    multistep method on the estimates: slopes hold the noise itself, and after each step that would be another one.
    """
    if not renoising_of(reinjection).is_off:
        return sample_dpmpp_2m(denoise, x, sigmas, generator=generator, callback=callback, reinjection=reinjection)
    slopes: list[Tensor] = []
    levels: list[float] = []
    for leg in legs(sigmas, generator, callback, reinjection):
        denoised = denoise(x, leg.sigma)
        slopes, levels = [*slopes, derivative(x, leg.sigma, denoised)][-order:], [*levels, leg.sigma][-order:]
        if len(levels) > 1 and levels[-2] - levels[-1] < LMS_SHORTEST * (levels[-1] - leg.sigma_next):
            slopes, levels = slopes[-1:], levels[-1:]
        weights = adams_bashforth_weights(levels, leg.sigma_next)
        x = leg.end(sum((w * slope for w, slope in zip(weights, slopes, strict=True)), x), denoised)
    return x


def sample_dpmpp_2s_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    eta: Eta = 1.0,
    s_noise: NoiseFactor = 1.0,
) -> Tensor:
    """DPM-Solver++(2S) (Lu et al. 2022b, Algorithm 1, r = 1/2) with ancestral steps: two evaluations a step."""
    for leg in legs(sigmas, generator, callback, reinjection):
        sigma_down, sigma_up = ancestral_step(leg.sigma, leg.sigma_next, eta)
        estimate = denoised = denoise(x, leg.sigma)
        if sigma_down > 0:
            sigma_mid = geometric_mean(leg.sigma, sigma_down)
            estimate = denoise(linear_step(x, denoised, leg.sigma, sigma_mid), sigma_mid)
        x = linear_step(x, estimate, leg.sigma, sigma_down)
        if sigma_up > 0:
            x = x + sigma_up * s_noise * leg.noise(x)
        x = leg.end(x, denoised)
    return x


def sample_dpmpp_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    eta: Eta = 1.0,
    s_noise: NoiseFactor = 1.0,
    r: InnerShare = 0.5,
) -> Tensor:
    """DPM-Solver++ for the SDE, one step at a time, with an evaluation at the share r of it: two evaluations a step.

    Both the step to the inner level and the whole one are ancestral.
    """
    for leg in legs(sigmas, generator, callback, reinjection):
        estimate = denoised = denoise(x, leg.sigma)
        if leg.sigma_next > 0:
            sigma_mid = geometric_mean(leg.sigma, leg.sigma_next, r)
            sigma_down, sigma_up = ancestral_step(leg.sigma, sigma_mid, eta)
            x_mid = linear_step(x, denoised, leg.sigma, sigma_down)
            if sigma_up > 0:
                x_mid = x_mid + sigma_up * s_noise * leg.noise(x, sigma_mid)
            estimate = denoised + (denoise(x_mid, sigma_mid) - denoised) / (2 * r)
        sigma_down, sigma_up = ancestral_step(leg.sigma, leg.sigma_next, eta)
        x = linear_step(x, estimate, leg.sigma, sigma_down)
        if sigma_up > 0:
            x = x + sigma_up * s_noise * leg.noise(x)
        x = leg.end(x, denoised)
    return x


def sample_dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022b, Algorithm 2): one evaluation a step, second order."""
    return sample_dpmpp_2m_sde(
        denoise, x, sigmas, generator=generator, callback=callback, reinjection=reinjection, eta=0.0
    )


def sample_dpmpp_2m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    eta: Eta = 1.0,
    s_noise: NoiseFactor = 1.0,
    solver_type: Literal["midpoint", "heun"] = "midpoint",
) -> Tensor:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022b, equation 18): one evaluation a step.

    Args:
        solver_type: how the change of the estimate is weighed, `midpoint` or `heun`; both are of second order.
    """
    if solver_type not in ("midpoint", "heun"):
        raise ValueError(f"solver_type: must be midpoint or heun, not {solver_type}")
    previous = None  # the last estimate and its noise level
    for leg in legs(sigmas, generator, callback, reinjection):
        denoised = denoise(x, leg.sigma)
        if leg.sigma_next == 0:
            x = denoised
        else:
            h = leg.h * (1 + eta)
            x = math.exp(-h) * x - math.expm1(-h) * denoised
            if previous is not None and not leg.starts:
                change = (denoised - previous[0]) * (leg.net_h / log_ratio(previous[1], leg.sigma))
                x = x + change * (-math.expm1(-h) / 2 if solver_type == "midpoint" else h * phi(2, -h))
            x = _sde_noise(x, leg, eta, s_noise)
        previous = denoised, leg.sigma
        x = leg.end(x, denoised)
    return x


def sample_dpmpp_3m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    eta: Eta = 1.0,
    s_noise: NoiseFactor = 1.0,
    curvature: NotNegative = 1.0,
) -> Tensor:
    """SDE-DPM-Solver++ with the parabola through the last three estimates: one evaluation a step.

    With re-injection or restarts it is dpmpp_2m_sde.

    Args:
        curvature: weight of the parabola's second difference. The published implementations have 1, and so second
            order; by the Taylor series it is 2, which makes the steps after the first two of third order.
    """
    if not renoising_of(
        reinjection
    ).is_off:  # between the estimates lies fresh noise, and their curvature would be that of the noise
        return sample_dpmpp_2m_sde(
            denoise,
            x,
            sigmas,
            generator=generator,
            callback=callback,
            reinjection=reinjection,
            eta=eta,
            s_noise=s_noise,
        )
    history: list[tuple[Tensor, float]] = []  # estimates and their noise levels, the last one first
    for leg in legs(sigmas, generator, callback, reinjection):
        denoised = denoise(x, leg.sigma)
        if leg.sigma_next == 0:
            x = denoised
        else:
            h = leg.h * (1 + eta)
            x = math.exp(-h) * x - math.expm1(-h) * denoised
            first, second = _differences([(denoised, leg.sigma), *history], leg.h)
            x = x + h * phi(2, -h) * first + h * phi(3, -h) * curvature * second
            x = _sde_noise(x, leg, eta, s_noise)
        history = [(denoised, leg.sigma), *history][:2]
        x = leg.end(x, denoised)
    return x


def _differences(history: list[tuple[Tensor, float]], h: float) -> tuple[Tensor | float, Tensor | float]:
    """Slope and curvature of the estimates over lambda, at the last one, in units of h; 0 if unknown."""
    if len(history) == 1:
        return 0.0, 0.0
    (now, sigma_0), (before, sigma_1), *earlier = history
    r0 = log_ratio(sigma_1, sigma_0) / h
    last = (now - before) / r0
    if not earlier:
        return last, 0.0
    r1 = log_ratio(earlier[0][1], sigma_1) / h
    second = (last - (before - earlier[0][0]) / r1) / (r0 + r1)
    return last + r0 * second, second


def _sde_noise(x: Tensor, leg: Leg, eta: float, s_noise: float) -> Tensor:
    """Adds what a step of the reverse SDE adds, of variance sigma_next^2 (1 - e^(-2 eta h))."""
    if eta == 0:
        return x
    return x + leg.sigma_next * math.sqrt(-math.expm1(-2 * eta * leg.h)) * s_noise * leg.noise(x)


SAMPLERS: dict[str, Sampler] = {
    name.removeprefix("sample_"): function for name, function in sorted(globals().items()) if name.startswith("sample_")
}

# These choose their steps by the error of what they are given, so that items of a batch would influence one another:
# give them one item after the other, each with its own generator.
ONE_ITEM_AT_A_TIME: frozenset[str] = frozenset({"dpm_adaptive"})
