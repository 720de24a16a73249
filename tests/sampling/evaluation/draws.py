"""Random numbers of a seed, and sets of clips made of them, for tests of statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from sampling.evaluation.measures import ClipFeatures


def normal(count: int, size: int, seed: int, *, shift: float = 0.0, frames: int = 1) -> Tensor:
    """Frames (count, frames, size) of unit variance around `shift` in the first dimension."""
    x = torch.randn(count, frames, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[..., 0] += shift
    return x


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features_of(frames: Tensor, games: int = 3, name: str = "clip") -> list[ClipFeatures]:
    """A clip for each row of `frames` (clips, frames, size), of `games` games in turn."""
    none = torch.zeros(1)
    return [
        ClipFeatures(f"{name} {index}", f"game {index % games}", {"e": x}, none, none, None)
        for index, x in enumerate(frames)
    ]
