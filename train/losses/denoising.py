"""What a denoiser is trained on: distances between its estimate and the clean latents.

Each is called with what the estimate is off by, (B, C, *space), and with EDM's weight of each noise level, (B,), whose
root brings that to unit variance for an untrained network; and gives the loss of each sample, (B,), about 1 for such a
network at most. Validation compares the squared error in any case.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from dualdiffusion.config import Config as BaseConfig
from dualdiffusion.diffusion.loss import squared


class DenoisingDistance(nn.Module):
    """What all of these are; see `dualdiffusion.diffusion.loss.Distance`."""

    def __init__(self, config: BaseConfig) -> None:
        super().__init__()
        self.config = config


class Squared(DenoisingDistance):
    """The mean square."""

    class Config(BaseConfig):
        """No settings."""

    def forward(self, difference: Tensor, weight: Tensor) -> Tensor:
        """The loss of each sample."""
        return squared(difference, weight)


class Huber(DenoisingDistance):
    """The mean of 2 c (sqrt(e^2 + c^2) - c), e the weighted difference (pseudo-Huber, Charbonnier et al. 1997): e^2
    where it is small against c, and 2 c |e| where it is large, so that single large errors weigh less."""

    class Config(BaseConfig):
        """Where squares end."""

        c: Annotated[float, Field(gt=0)] = 1.0
        """The error from which on it is no longer the square, in units of an untrained network's error."""

    def forward(self, difference: Tensor, weight: Tensor) -> Tensor:
        """The loss of each sample."""
        square = difference.square() * _shaped(weight, difference)
        # As a quotient, without the difference of two nearly equal numbers where c is large.
        root = (square + self.config.c**2).sqrt()
        return (2 * self.config.c * square / (root + self.config.c)).flatten(1).mean(dim=1)


class Scales(DenoisingDistance):
    """The mean square over octaves: as if it were taken of the difference at full, half, a quarter... of the
    resolution, and added. A coarse error is in all of these, a fine one only in the first.

    By the cosine transform: an error of frequency f (cycles per latent, at most 1/2) is in -log2(f) of them, the higher
    frequency of the axes deciding. Weights have mean 1. (The multi-scale loss of Hoogeboom et al. 2023, section 3.4,
    without steps between scales.)
    """

    class Config(BaseConfig):
        """How many scales."""

        scales: Annotated[float, Field(ge=1, le=16)] = 4.0
        """How many resolutions, each half of the one before; 1 is the mean square."""

    def forward(self, difference: Tensor, weight: Tensor) -> Tensor:
        """The loss of each sample."""
        with torch.autocast(difference.device.type, enabled=False):  # squares of what is small need all digits
            return self._loss(difference.float(), weight)

    def _loss(self, difference: Tensor, weight: Tensor) -> Tensor:
        spectrum, scales = difference, difference.new_tensor(self.config.scales)
        for axis in range(2, difference.ndim):
            size = difference.shape[axis]
            spectrum = (spectrum.movedim(axis, -1) @ cosines(size, difference.device).T).movedim(-1, axis)
            shape = [size if i == axis else 1 for i in range(difference.ndim)]
            frequency = torch.linspace(0.5 / size, 0.5, size, device=difference.device)
            scales = torch.minimum(scales, -frequency.log2().reshape(shape))
        counted = spectrum.square() * (scales / scales.mean())
        return weight * counted.flatten(1).mean(dim=1)


def cosines(size: int, device: torch.device | None = None) -> Tensor:
    """The orthonormal cosine transform (DCT-II) as a matrix, (size, size): frequencies by samples, float32."""
    index = torch.arange(size, device=device)
    row, column = index[:, None], index[None, :]
    matrix = math.sqrt(2 / size) * torch.cos(math.pi / size * row * (column + 0.5))
    matrix[0] = math.sqrt(1 / size)
    return matrix


def _shaped(weight: Tensor, x: Tensor) -> Tensor:
    return weight.reshape(-1, *[1] * (x.ndim - 1))
