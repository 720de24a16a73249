"""The sides of the stereo image."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from dualdiffusion.config import Config


class Mirror(nn.Module):
    """Some samples have left and right changed over; mono stays as it is."""

    numbers: ClassVar[int] = 1

    class Config(Config):
        """Settings of Mirror."""

        share: Annotated[float, Field(ge=0, le=1)] = 0.5
        """Of the samples that are mirrored."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, sample: dict[str, Tensor]) -> dict[str, Tensor]:
        """See the folder's text."""
        data, random = sample["data"], sample["random"]
        mirrored = (random[:, 0] < self.config.share)[:, None, None]
        return {**sample, "data": torch.where(mirrored, data.flip(1), data), "random": random[:, 1:]}
