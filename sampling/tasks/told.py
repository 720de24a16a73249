"""What a network is told of clips beside their games: what was asked for, what a source says, or what is usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dualdiffusion.conditioning import Conditioning, Span
from dualdiffusion.contracts import ConditionerConfig
from dualdiffusion.controls import Control
from dualdiffusion.data.facts import facts_of
from dualdiffusion.randomness import mix_seed
from sampling.request import Request
from sampling.tasks.canvas import Canvas, Grid

SEEDS = 1 << 63  # `mix_seed` gives numbers below it


@dataclass(frozen=True)
class Told:
    """What some clips are told, over all columns of their canvas: values (B, n, T) and kept (B,), by id."""

    values: Mapping[str, Tensor]
    kept: Mapping[str, Tensor]

    def beside(self, conditioning: Conditioning, columns: Sequence[Tensor]) -> Conditioning:
        """The games of some windows of all clips, and what is told there.

        Args:
            conditioning: (windows * B), the clips of the first window first.
            columns: of each window, the columns of the canvas that it sees.
        """
        if not self.values:
            return conditioning
        device = None if conditioning.labels is None else conditioning.labels.device
        values = {name: torch.cat([v[..., seen] for seen in columns]).to(device) for name, v in self.values.items()}
        kept = {name: k.repeat(len(columns)).to(device) for name, k in self.kept.items()}
        return replace(conditioning, values=values, kept=kept)


def tell(
    told: Mapping[str, ConditionerConfig],
    requests: Sequence[Request],
    controls: Mapping[str, Control],
    canvas: Canvas,
    grid: Grid,
    source: Tensor | None,
) -> Told:
    """What clips on one canvas are told.

    Args:
        told: what the denoiser can be told, by id.
        source: the audio (C, N) that all of them start from, or None.
    """
    if not told:
        return Told({}, {})
    facts = {} if source is None else facts_of(source, grid.sample_rate)
    rows = {
        name: [_value(name, told[name], r, controls.get(name), facts, canvas, grid) for r in requests] for name in told
    }
    values = {
        name: torch.stack([torch.zeros(told[name].columns_told, canvas.columns) if v is None else v for v in of])
        for name, of in rows.items()
    }
    kept = {name: torch.tensor([float(value is not None) for value in of]) for name, of in rows.items()}
    return Told(values, kept)


def _value(
    name: str,
    config: ConditionerConfig,
    request: Request,
    control: Control | None,
    facts: Mapping[str, Any],
    canvas: Canvas,
    grid: Grid,
) -> Tensor | None:
    """What one clip is told, (n, columns); None: nothing."""
    span = _span(canvas, grid, canvas.first, circular=request.loop)
    if name in request.controls:
        asked = request.controls[name]
        return None if asked is None else config.asked(asked, span)
    if facts and (true := config.fact(facts, _span(canvas, grid, canvas.source))) is not None:
        return true  # what is made goes on as the source does
    # The same clip each time: which of the usual values it is hangs on the seed alone.
    quantile = mix_seed(request.seed, "usual", name) / SEEDS
    usual = control.usual_value(request.games, quantile) if control else None
    return None if usual is None else config.asked(usual, span)


def _span(canvas: Canvas, grid: Grid, origin: int, *, circular: bool = False) -> Span:
    """The canvas, its time counted from sample `origin` on."""
    return Span(-origin / grid.sample_rate, canvas.columns, grid.column_samples / grid.sample_rate, circular=circular)
