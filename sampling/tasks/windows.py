"""Clips longer than the training window, and loops: overlapping windows in one joint sampling.

At every noise level each window is denoised on its own, and the estimates are blended before the sampler's step: all
windows belong to one clip from the first step on (Bar-Tal et al. 2023, MultiDiffusion). Columns of a loop lie on a
circle, and so do its windows; a loop that is shorter than a window sees itself repeated.

Shapes: B items, C channels, F rows, T latent columns of the clip, W of a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sampling.solvers.samplers import Denoise

# Share of a window that it has in common with the next one. Every column is denoised about twice.
OVERLAP = 0.5


@dataclass(frozen=True)
class Windows:
    """Where windows lie on a clip of `columns` columns: window k covers `length` columns from starts[k] on."""

    columns: int
    length: int
    starts: tuple[int, ...]
    circular: bool = False

    @classmethod
    def over(cls, columns: int, length: int, *, circular: bool = False) -> Windows:
        """Evenly spaced windows that overlap by about OVERLAP. A clip that fits into one window has one, as long as
        itself."""
        overlap = round(length * OVERLAP)
        if circular:
            count = max(1, math.ceil(columns / (length - overlap)))
            return cls(columns, length, tuple(k * columns // count for k in range(count)), circular=True)
        if columns <= length:
            return cls(columns, columns, (0,))
        count = math.ceil((columns - overlap) / (length - overlap))
        return cls(columns, length, tuple(k * (columns - length) // (count - 1) for k in range(count)))

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def is_whole(self) -> bool:
        """Whether the only window is the clip itself."""
        return not self.circular and len(self) == 1

    @cached_property
    def indices(self) -> Tensor:
        """The columns that each window sees: (windows, W)."""
        return (torch.tensor(self.starts)[:, None] + torch.arange(self.length)) % self.columns

    @cached_property
    def weights(self) -> Tensor:
        """How much each column of each window counts, (windows, W): squared sines, of which those that fall on the
        same column of the clip are scaled to sum to 1."""
        taper = torch.sin(math.pi * (torch.arange(self.length, dtype=torch.float64) + 0.5) / self.length).square()
        taper = taper.expand(len(self), -1)
        total = torch.zeros(self.columns, dtype=torch.float64)
        total.index_put_((self.indices,), taper, accumulate=True)
        return (taper / total[self.indices]).float()


def windowed(
    build: Callable[[Sequence[int]], Denoise],
    windows: Windows,
    *,
    together: int = 1,
    on_window: Callable[[int, int], None] | None = None,
) -> Denoise:
    """The blend of the windows' denoised estimates, for x (B, C, F, T).

    Args:
        build: makes the closure that denoises some windows, given their numbers, as one batch (windows * B, C, F, W),
            the items of the first window first. It is asked once for each group, so that guidance with a memory
            remembers its own windows.
        together: windows that make one batch.
        on_window: called before each batch with (windows done, windows); what it raises ends the sampling.
    """
    numbers = range(len(windows))
    groups = [numbers[at : at + together] for at in range(0, len(numbers), together)]
    closures = [build(group) for group in groups]
    if windows.is_whole:
        return closures[0]

    def denoise(x: Tensor, sigma: float) -> Tensor:
        blend = torch.zeros_like(x)
        for group, closure in zip(groups, closures, strict=True):
            if on_window:
                on_window(group[0], len(windows))
            indices = windows.indices[group[0] : group[-1] + 1].to(x.device)
            estimates = closure(torch.cat([x[..., row] for row in indices]), sigma).split(len(x))
            for number, row, estimate in zip(group, indices, estimates, strict=True):
                _add(blend, row, estimate * windows.weights[number].to(x))
        return blend

    return denoise


def _add(total: Tensor, columns: Tensor, values: Tensor) -> None:
    """Adds `values` to `columns` of `total`, in place, in one fixed order also where a column comes twice."""
    period = total.shape[-1]
    for at in range(0, len(columns), period):  # no column comes twice in as many as the clip has
        part = columns[at : at + period]
        total[..., part] += values[..., at : at + period]
