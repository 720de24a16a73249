"""Training samples as transforms change them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dualdiffusion.contracts import Transform
from dualdiffusion.randomness import StepRandom


def transformed(audio: Tensor, transforms: Sequence[Transform], random: StepRandom) -> Tensor:
    """Audio (B, C, N) after one transform after the other; without any, nothing is drawn from `random`."""
    if not transforms:
        return audio
    count = sum(transform.numbers for transform in transforms)
    sample = {"data": audio, "random": torch.stack([random.rand() for _ in range(count)], dim=1).to(audio)}
    for transform in transforms:
        sample = transform(sample)
    return sample["data"]
