"""Networks from elsewhere as denoisers: D(x; sigma) around any callable, for all samplers, guidance and likelihood.

Of three kinds, as their own code calls them; the noise level is told as each was trained on it:

    v_diffusion(model)    model(x, t) -> v, t from 0 (clean) to 1 (noise): Dance Diffusion and relatives
    openai(model)         model(x, index) -> noise, and beside it a learned variance, which is dropped
    compvis(model)        model(x, index) -> noise or v: latent diffusion and relatives

    denoiser = v_diffusion(network)
    denoise = conditional(denoiser, Conditioning(), position=None)
    SAMPLERS["heun"](denoise, noise.randn(shape) * sigmas[0], sigmas, generator=noise)

What these networks take for clean data is not scaled: D is in the units that they were trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.diffusion.levels import Discrete
from dualdiffusion.diffusion.preconditioning import per_item
from dualdiffusion.diffusion.predictors import Noise, Predictor, Velocity

Told = Callable[[Conditioning], Mapping[str, Any]]
"""The keyword arguments by which a network is told some conditions."""


class DenoiserLike(Protocol):
    """D(x; sigma) as samplers, guidance and likelihood call it: a `Denoiser`, or what this file makes of a network."""

    sigma_data: float
    """Standard deviation of the clean data."""

    def __call__(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, *, position: Tensor | None = None
    ) -> Tensor:
        """The estimate of the clean data, (B, C, *space), from x of that shape and noise levels (B,)."""
        ...

    def log_variance(self, sigma: Tensor) -> Tensor:
        """ln of the error that is expected at each noise level: (B,) -> (B,)."""
        ...


class Network(Protocol):
    """A network from elsewhere: scaled noisy data (B, C, *space) and what it is told of the noise level, (B,)."""

    def __call__(self, x: Tensor, noise: Tensor, /, **told: Any) -> Tensor: ...


class Foreign(nn.Module):
    """The denoiser around a network from elsewhere; called as ours are. Samplers take what `guidance.conditional` and
    `guidance.guided` make of it.

    Args:
        network: answers with what `predictor` says, of the shape of x; or with twice the channels.
        learned_variance: the second half of the channels is a variance, and is dropped.
        told: what the network is told of the conditions; None: nothing.
    """

    sigma_data = 1.0

    def __init__(
        self, network: Network, predictor: Predictor, *, learned_variance: bool = False, told: Told | None = None
    ) -> None:
        super().__init__()
        self.network, self.predictor = network, predictor
        self.learned_variance, self.told = learned_variance, told

    def forward(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning | None = None, *, position: Tensor | None = None
    ) -> Tensor:
        """Estimates the clean data.

        Args:
            x: (B, C, *space), clean data plus noise of standard deviation sigma.
            sigma: (B,), above 0.
            conditioning: for `told`; None: nothing.
            position: not used.

        Raises:
            ValueError: the network's answer has another shape than is expected.
        """
        x = x.float()
        scale = self.predictor.scalings(per_item(sigma.float(), x), self.sigma_data)
        noise = self.predictor.noise(sigma, self.sigma_data)
        told = self.told(conditioning or Conditioning()) if self.told else {}
        output = self.network(scale.input * x, noise, **told).float()
        channels = x.shape[1] * (2 if self.learned_variance else 1)
        if output.shape != (len(x), channels, *x.shape[2:]):
            hint = "; is learned_variance right?" if output.shape[1] in (x.shape[1], 2 * x.shape[1]) else ""
            raise ValueError(f"the network answers with {tuple(output.shape)} to {tuple(x.shape)}{hint}")
        return scale.skip * x + scale.out * output[:, : x.shape[1]]

    def log_variance(self, sigma: Tensor) -> Tensor:
        """Nothing is known of the errors of networks from elsewhere: 0, as of the best linear guess."""
        return torch.zeros_like(sigma)


def v_diffusion(network: Network, *, told: Told | None = None) -> Foreign:
    """A network of v-diffusion: (x, t) -> v, where x is cos(pi t / 2) x0 + sin(pi t / 2) noise."""
    return Foreign(network, Velocity(Velocity.Config(input="time")), told=told)


def openai(
    network: Network, *, levels: Discrete.Config | None = None, learned_variance: bool = True, told: Told | None = None
) -> Foreign:
    """A network of guided or improved diffusion: (x, index) -> noise, and a variance beside it.

    Args:
        levels: its discrete noise levels; None: 1,000, linear.
    """
    levels = levels or Discrete.Config()
    predictor = Noise(Noise.Config(input="levels", levels=levels))
    return Foreign(network, predictor, learned_variance=learned_variance, told=told)


def compvis(
    network: Network, *, levels: Discrete.Config | None = None, velocity: bool = False, told: Told | None = None
) -> Foreign:
    """A network of latent diffusion: (x, index) -> noise, or v.

    Args:
        levels: its discrete noise levels; None: 1,000, with its authors' betas.
        velocity: it predicts v, as their later ones do.
    """
    levels = levels or Discrete.Config(betas="compvis")
    cls = Velocity if velocity else Noise
    return Foreign(network, cls(cls.Config(input="levels", levels=levels)), told=told)
