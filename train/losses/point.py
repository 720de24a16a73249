"""Point-wise losses: the plain ones, to compare with. They blur what cannot be known."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from dualdiffusion.config import Config
from dualdiffusion.randomness import SeededNoise


class L1(nn.Module):
    """Mean absolute difference of two spectrograms (B, C, F, T), as the part "l1" of shape (B,)."""

    default_weights: ClassVar[dict[str, float]] = {"l1": 1.0}

    class Config(Config):
        """No settings."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, output: Tensor, target: Tensor, *, random: SeededNoise | None = None) -> dict[str, Tensor]:
        """Compares two spectrograms (B, C, F, T), in float32; `random` is for losses that draw something."""
        return {"l1": (output.float() - target.float()).abs().mean(dim=(1, 2, 3))}


class L2(nn.Module):
    """Mean squared difference of two spectrograms (B, C, F, T), as the part "l2" of shape (B,)."""

    default_weights: ClassVar[dict[str, float]] = {"l2": 1.0}

    class Config(Config):
        """No settings."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, output: Tensor, target: Tensor, *, random: SeededNoise | None = None) -> dict[str, Tensor]:
        """Compares two spectrograms (B, C, F, T), in float32; `random` is for losses that draw something."""
        return {"l2": (output.float() - target.float()).square().mean(dim=(1, 2, 3))}
