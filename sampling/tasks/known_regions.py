"""Parts of a clip that are known: kept exactly, while everything else is made to fit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sampling.solvers.samplers import Denoise

# Of the cross-fade from what is made to what is known, inside the known part.
FADE_SECONDS = 0.016


def keep_known(denoise: Denoise, latents: Tensor, known: Tensor) -> Denoise:
    """`denoise`, with the estimate of known columns replaced by what is known.

    With x = latents + sigma * noise there at the start, x stays so: (x - latents) / sigma is the noise whatever sigma
    is, so a deterministic step only scales it; a stochastic one adds fresh noise of the right level; and the last step,
    to sigma 0, arrives at the latents.

    Args:
        latents: (1 or B, C, F, T).
        known: (T,), true where the latents are known.
    """
    if not bool(known.any()):
        return denoise

    def replaced(x: Tensor, sigma: float) -> Tensor:
        return torch.where(known, latents, denoise(x, sigma))

    return replaced


def known_weight(length: int, made: Sequence[tuple[int, int]], fade: int, device: torch.device | str = "cpu") -> Tensor:
    """How far a clip is kept: (length,), 0 in the regions that are made, 1 elsewhere, rising as a raised cosine over
    `fade` samples beside them.

    Args:
        made: first sample of each region, and the one after its last.
    """
    time = torch.arange(length, dtype=torch.float64)
    weight = torch.ones(length, dtype=torch.float64)
    for start, end in made:
        distance = torch.maximum(start - time - 1, time - end)  # 0 beside the region, below 0 inside
        share = ((distance + 1) / (fade + 1)).clamp(0, 1)
        weight = torch.minimum(weight, (1 - torch.cos(math.pi * share)) / 2)
    return weight.float().to(device)


def known_frames(weight: Tensor, hop_length: int) -> Tensor:
    """How far a spectrogram's frames are those of the known audio: the mean over each frame's hop, (L,) -> (L / hop,).

    Frames beside a region see a little of what was there before, as their windows reach into it; without them, phase
    recovery would move energy that does not fit to the held audio into the region's edges.
    """
    return weight.unflatten(0, (-1, hop_length)).mean(dim=1)
