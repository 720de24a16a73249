"""Regions without sound."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from dualdiffusion.config import Config


class Silence(nn.Module):
    """Some samples have a region of silence, at a random place and of a random length."""

    numbers: ClassVar[int] = 3

    class Config(Config):
        """Settings of Silence."""

        share: Annotated[float, Field(ge=0, le=1)] = 0.1
        """Of the samples that have one."""
        longest: Annotated[float, Field(gt=0, le=1)] = 0.5
        """Its length at most, as a share of the sample's."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, sample: dict[str, Tensor]) -> dict[str, Tensor]:
        """See the folder's text."""
        data, random = sample["data"], sample["random"]
        chosen, length, place = random[:, :3, None].unbind(1)
        length = length * self.config.longest
        first = place * (1 - length)
        time = (torch.arange(data.shape[-1], device=data.device) + 0.5) / data.shape[-1]
        silent = (chosen < self.config.share) & (time >= first) & (time < first + length)
        return {**sample, "data": torch.where(silent[:, None], 0, data), "random": random[:, 3:]}
