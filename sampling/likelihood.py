"""How likely a model finds some data: the probability flow ODE from the data to noise, whose density is known.

Along dx/dsigma = (x - D) / sigma, ln p changes by minus the divergence of the right side (Song et al. 2021, equation
39), so that with d the data's standard deviation, N numbers, and x_end where x comes to at sigma_max,

    ln p(x) = ln Normal(x_end; 0, d^2 + sigma_max^2) + N ln(sigma_max / sigma_min) - integral of tr(dD/dx) dln(sigma).

The trace is estimated by v (dD/dx) v with random signs v (Hutchinson), which takes one backward pass each.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.machine.precision import widest_dtype
from dualdiffusion.randomness import mix_seed
from sampling.foreign import DenoiserLike
from sampling.solvers.schedules import SCHEDULES


def log_likelihood(
    denoiser: DenoiserLike,
    x: Tensor,
    conditioning: Conditioning | None = None,
    *,
    position: Tensor | None = None,
    steps: int = 64,
    sigma_min: float = 0.01,
    sigma_max: float = 80.0,
    seed: int = 0,
    probes: int = 1,
) -> Tensor:
    """ln p(x) in nats for each of N numbers: (B,). The data's density is that with noise of sigma_min in it.

    Heun's method, of second order, in ln(sigma) and in y = x / sqrt(sigma^2 + d^2), whose variance is that of the data
    in units of d^2 at every noise level: dy/dln(sigma) = (d^2 / (sigma^2 + d^2) x - D) / sqrt(sigma^2 + d^2) is 0 where
    D is the best linear guess, and goes to 0 at both ends.

    Args:
        x: clean data (B, C, *space).
        conditioning: p(x) under these conditions; None: none.
        position: what the network is told about rows, or None.
        steps: two evaluations with a backward pass each.
        seed: of the probes, which are the same for each item, so that items of the same data compare.
        probes: how many; the estimate's variance falls with their number.

    Raises:
        ValueError: an impossible number of steps or probes.
    """
    if steps < 2 or probes < 1:
        raise ValueError("steps must be at least 2, and probes at least 1")
    data = denoiser.sigma_data
    levels = SCHEDULES["exponential"](steps + 1, sigma_min=sigma_min, sigma_max=sigma_max)[-2::-1]
    signs = [_signs(x, seed, probe) for probe in range(probes)]
    told, length = conditioning or Conditioning(), math.log(sigma_max / sigma_min)

    def at(y: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        return _slope_and_trace(denoiser, y, sigma, told, position, signs)

    y = x / math.hypot(sigma_min, data)
    integral, step = torch.zeros(len(x), dtype=widest_dtype(x.device), device=x.device), length / steps
    for sigma, sigma_next in itertools.pairwise(levels):
        slope, trace = at(y, sigma)
        slope_next, trace_next = at(y + step * slope, sigma_next)
        y = y + step * (slope + slope_next) / 2
        integral += step * (trace + trace_next) / 2
    prior = -(y.to(integral).square().flatten(1).mean(1) + math.log(2 * math.pi * (data**2 + sigma_max**2))) / 2
    return prior + length - integral / x[0].numel()


@torch.enable_grad()
def _slope_and_trace(
    denoiser: DenoiserLike,
    y: Tensor,
    sigma: float,
    conditioning: Conditioning,
    position: Tensor | None,
    signs: list[Tensor],
) -> tuple[Tensor, Tensor]:
    """dy/dln(sigma), and the estimated trace of dD/dx, (B,), in float64 where the device has it."""
    root = math.hypot(sigma, denoiser.sigma_data)
    x = (root * y).detach().requires_grad_()
    denoised = denoiser(x, torch.full((len(x),), sigma, device=x.device), conditioning, position=position)
    traces = []
    for number, v in enumerate(signs, start=1):
        pulled = torch.autograd.grad(denoised, x, v.to(denoised).expand_as(x), retain_graph=number < len(signs))[0]
        traces.append((pulled * v).to(widest_dtype(x.device)).flatten(1).sum(1))
    slope = ((denoiser.sigma_data / root) ** 2 * x - denoised) / root
    return slope.detach(), torch.stack(traces).mean(0)


def _signs(x: Tensor, seed: int, probe: int) -> Tensor:
    """Random signs like x, the same for each item; on the CPU, so that each device has the same."""
    generator = torch.Generator().manual_seed(mix_seed(seed, probe))
    return (torch.rand(x.shape[1:], generator=generator) < 0.5).to(x) * 2 - 1
