"""Distances between two sets of clips in an embedding: Frechet (FAD) and kernel (KAD, KID).

Shapes: N clips, m embedded frames of each, D dimensions; everything in float64. Frames of one clip resemble one
another, so clips are what is counted, drawn and left out; `weights` (N,) says how often each counts, None is once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sampling.evaluation.statistics import group_members

KAD_SCALE = 100.0
"""KAD is stated as 100 times the squared discrepancy."""
MEDIAN_FRAMES = 2000
"""The median distance of more frames is measured on so many of them, spread evenly."""
ROWS_AT_ONCE = 256
"""Frames whose kernels with all others are held in memory at a time."""
FRACTIONS = (1.0, 0.75, 0.5)
"""Shares of the clips from which the Frechet distance of infinitely many is extrapolated."""

Kernel = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Gaussian:
    """Mean (D,), covariance (D, D), and how much of the covariance sampling noise makes of it, from 0 to 1."""

    mean: Tensor
    covariance: Tensor
    shrinkage: float

    def shrunk(self, share: float) -> Tensor:
        """The covariance, with `share` of it replaced by a sphere of the same trace."""
        size = len(self.mean)
        sphere = torch.eye(size, dtype=torch.float64) * self.covariance.trace() / size
        return (1 - share) * self.covariance + share * sphere


def gaussian(frames: Tensor, weights: Tensor | None = None) -> Gaussian:
    """The Gaussian fitted to frames (N, m, D).

    The share of shrinkage is that of Ledoit and Wolf (2004, lemma 3.3 and section 3.2): the noise of the covariance's
    entries over their squared distance from a sphere.
    """
    n, m, size = frames.shape
    counts = (torch.ones(n, dtype=torch.float64) if weights is None else weights.double()).repeat_interleave(m)
    x, total = frames.double().reshape(-1, size), float(counts.sum())
    mean = counts @ x / total
    centred = x - mean
    scatter = (centred * counts[:, None]).T @ centred
    covariance = scatter / total
    fourth = float(counts @ centred.square().sum(dim=1).square())
    noise = max(fourth / total - float(covariance.square().sum()), 0.0) / total
    scale = covariance.trace() / size
    spread = float((covariance - scale * torch.eye(size, dtype=torch.float64)).square().sum())
    shrinkage = min(noise, spread) / spread if spread > 0 else 0.0
    return Gaussian(mean, scatter / (total - 1), shrinkage)


def frechet(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), in squared units of the embedding (Dowson and Landau 1982).

    The trace of the root of A B, which is not symmetric, is the sum of the roots of the eigenvalues of
    A^(1/2) B A^(1/2), which is: nothing complex appears, and singular covariances are as good as others.
    """
    root = _root(covariance_a)
    product = root @ covariance_b @ root
    cross = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + covariance_a.trace() + covariance_b.trace() - 2 * cross
    return max(float(distance), 0.0)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def frechet_distance(
    a: Tensor, b: Tensor, *, shrink: bool, weights_a: Tensor | None = None, weights_b: Tensor | None = None
) -> float:
    """Frechet distance of Gaussians fitted to two sets of frames (N, m, D).

    It is biased: too large by about a constant over the number of clips.

    Args:
        shrink: regularise both covariances, by the larger share of the two; see `needs_shrinking`.
    """
    first, second = gaussian(a, weights_a), gaussian(b, weights_b)
    share = max(first.shrinkage, second.shrinkage) if shrink else 0.0
    return frechet(first.mean, first.shrunk(share), second.mean, second.shrunk(share))


def needs_shrinking(a: Tensor, b: Tensor) -> bool:
    """Whether one of the sets has no more frames than dimensions, so that its covariance is singular."""
    return min(x.shape[0] * x.shape[1] for x in (a, b)) <= a.shape[2]


def frechet_extrapolated(
    a: Tensor,
    b: Tensor,
    groups_a: Sequence[Any],
    groups_b: Sequence[Any],
    *,
    generator: torch.Generator,
    draws: int = 10,
) -> float | None:
    """The Frechet distance that infinitely many clips would have (after Chong and Forsyth 2020, for both sets at once).

    The bias is about proportional to 1 / N, so a line through the distances of random parts of both sets, over
    1 / share, is followed to 0. May be slightly negative, which means: nothing can be told from 0.

    Args:
        groups_a: the group of each clip of a; parts hold the same share of each group.

    Returns:
        None where the smallest parts would have too few frames for their covariance.
    """
    rows = []
    for share in FRACTIONS:
        for _ in range(1 if share == 1 else draws):
            part_a, part_b = _part(groups_a, share, generator), _part(groups_b, share, generator)
            if min(len(part_a) * a.shape[1], len(part_b) * b.shape[1]) <= a.shape[2]:
                return None
            inverse = (len(a) / len(part_a) + len(b) / len(part_b)) / 2
            distance = frechet_distance(a[part_a], b[part_b], shrink=False)
            rows.append((inverse, distance, 1.0 if share == 1 else 1 / draws))
    x, y, weight = torch.tensor(rows, dtype=torch.float64).T
    mean_x, mean_y = (weight @ x) / weight.sum(), (weight @ y) / weight.sum()
    spread = weight @ (x - mean_x).square()
    if spread == 0:
        return None
    return float(mean_y - mean_x * (weight @ ((x - mean_x) * (y - mean_y))) / spread)


def _part(groups: Sequence[Any], share: float, generator: torch.Generator) -> Tensor:
    """Indices of a random part that holds about `share` of each group, at least one clip."""
    chosen = []
    for members in group_members(groups):
        kept = torch.randperm(len(members), generator=generator)[: max(round(len(members) * share), 1)]
        chosen.append(members[kept])
    return torch.cat(chosen)


def gaussian_kernel(bandwidth: float) -> Kernel:
    """exp(-|x - y|^2 / (2 bandwidth^2)) of (n, D) and (k, D): (n, k)."""
    return lambda x, y: (-torch.cdist(x, y).square() / (2 * max(bandwidth, 1e-12) ** 2)).exp()


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x y / D + 1)^3, the kernel of KID (Binkowski et al. 2018)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def median_distance(frames: Tensor) -> float:
    """The median distance of two frames of (N, m, D): the bandwidth of KAD, taken from the reference."""
    x = frames.double().reshape(-1, frames.shape[2])
    if len(x) > MEDIAN_FRAMES:
        x = x[torch.linspace(0, len(x) - 1, MEDIAN_FRAMES).long()]
    return float(torch.nn.functional.pdist(x).median()) if len(x) > 1 else 0.0


def clip_kernel(a: Tensor, b: Tensor, kernel: Kernel) -> Tensor:
    """The kernel between clips, which is its mean over all pairs of their frames: (N, m, D), (K, l, D) -> (N, K)."""
    columns = b.double().reshape(-1, b.shape[2])
    rows = []
    for clips in a.double().split(max(ROWS_AT_ONCE // a.shape[1], 1)):
        values = kernel(clips.reshape(-1, a.shape[2]), columns)
        rows.append(values.view(len(clips), a.shape[1], len(b), b.shape[1]).mean(dim=(1, 3)))
    return torch.cat(rows)


@dataclass(frozen=True)
class KernelMatrices:
    """Kernels between the clips of two sets a and b: (N, N), (K, K), (N, K); once made, resampling costs little.

    pairs_a and pairs_b: (N, N) and (K, K), how much each pair of a set's clips counts; see `_pair_weights`.
    """

    aa: Tensor
    bb: Tensor
    ab: Tensor
    pairs_a: Tensor
    pairs_b: Tensor

    @staticmethod
    def of(a: Tensor, b: Tensor, kernel: Kernel, groups_a: Sequence[Any], groups_b: Sequence[Any]) -> KernelMatrices:
        """Of frames (N, m, D) and (K, m, D), whose clips were drawn from groups in fixed numbers."""
        kernels = clip_kernel(a, a, kernel), clip_kernel(b, b, kernel), clip_kernel(a, b, kernel)
        return KernelMatrices(*kernels, _pair_weights(groups_a), _pair_weights(groups_b))

    def mmd2(self, weights_a: Tensor | None = None, weights_b: Tensor | None = None) -> float:
        """The unbiased squared maximum mean discrepancy (Gretton et al. 2012, equation 3); may be below 0.

        A clip is never compared with itself, nor one frame of it with another; when resampling, nor with its copies.
        """
        w, v = _counts(weights_a, len(self.aa)), _counts(weights_b, len(self.bb))
        cross = w @ self.ab @ v / (w.sum() * v.sum())
        return float(_mean_of_pairs(self.aa, self.pairs_a, w) + _mean_of_pairs(self.bb, self.pairs_b, v) - 2 * cross)

    def mmd2_biased(self) -> float:
        """The same with every clip compared with itself too (equation 5 there): never below 0, and too large by about a
        constant over the number of clips, so that sets of equally many compare as ratios."""
        return max(float(self.aa.mean() + self.bb.mean() - 2 * self.ab.mean()), 0.0)


def _counts(weights: Tensor | None, size: int) -> Tensor:
    return torch.ones(size, dtype=torch.float64) if weights is None else weights.double()


def _pair_weights(groups: Sequence[Any]) -> Tensor:
    """(N, N) with 0 for a clip and itself.

    In sets of fixed numbers per group, pairs of one group are rarer than in freely drawn ones by (n - 1) / n, and count
    for more to make up for it, unless some group has no pair at all.
    """
    weights = 1 - torch.eye(len(groups), dtype=torch.float64)
    members = group_members(groups)
    if min(map(len, members)) > 1 and len(members) > 1:
        for own in members:
            weights[own[:, None], own] *= len(own) / (len(own) - 1)
    return weights


def _mean_of_pairs(kernel: Tensor, pairs: Tensor, w: Tensor) -> Tensor:
    total = w @ pairs @ w
    return w @ (pairs * kernel) @ w / total if total > 0 else torch.tensor(math.nan, dtype=torch.float64)
