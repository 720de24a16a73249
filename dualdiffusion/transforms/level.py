"""Levels."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator
from torch import Tensor, nn

from dualdiffusion.config import Config


class Level(nn.Module):
    """Each sample is made louder or softer, evenly between two levels."""

    numbers: ClassVar[int] = 1

    class Config(Config):
        """Settings of Level."""

        low: float = -6.0
        high: float = 0.0
        """In dB."""

        @model_validator(mode="after")
        def _range(self) -> Level.Config:
            if self.low > self.high:
                raise ValueError(f"low: {self.low:g} must not be above high, which is {self.high:g}")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, sample: dict[str, Tensor]) -> dict[str, Tensor]:
        """See the folder's text."""
        data, random = sample["data"], sample["random"]
        level = self.config.low + random[:, 0] * (self.config.high - self.config.low)
        return {**sample, "data": data * (10 ** (level / 20))[:, None, None], "random": random[:, 1:]}
