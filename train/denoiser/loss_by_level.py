"""What a denoiser's training logs of each range of noise levels."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from dualdiffusion.diffusion.loss import DenoisingLoss
from dualdiffusion.diffusion.sigma_sampling import SigmaDensity


def by_noise_level(levels: Tensor, loss: DenoisingLoss, density: SigmaDensity, count: int) -> dict[str, Tensor]:
    """Of each range of sigma: its loss, and its share of all training, 1 where that is its fair share.

    The share is how often the range is drawn, times 1 / exp(u) and the factor of `weighting`, which is how much its
    error then counts.

    Args:
        levels: (B,), on the CPU: which sample is in which range is known there, so that no device is waited for.
        density: each range has an equal share of it.
        count: of ranges.
    """
    edges = density.sigma(torch.linspace(0, 1, count + 1, dtype=torch.float64))
    bucket = torch.bucketize(levels, edges[1:-1])
    order, sizes = bucket.argsort(stable=True), bucket.bincount(minlength=count).tolist()
    losses = loss.weighted[order.to(loss.weighted.device)].split(sizes)
    inside = (bucket == torch.arange(count)[:, None]).to(loss.log_variance.device)
    counts = torch.exp(-loss.log_variance)
    weights = count * (counts if loss.factor is None else loss.factor * counts) * inside
    metrics = {}
    for i, (low, high) in enumerate(itertools.pairwise(edges.tolist())):
        name = f"{low:.3g}-{high:.3g}"
        metrics[f"loss_by_sigma/{name}"] = losses[i]
        metrics[f"effective_weight_by_sigma/{name}"] = weights[i]
    return metrics
