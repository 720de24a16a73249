"""What a network is told of clips beside their games: what was asked for, what a source says, or what is usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dualdiffusion.conditioning import Conditioning, Span
from dualdiffusion.contracts import ConditionerConfig
from dualdiffusion.controls import AnyControl
from dualdiffusion.data.facts import facts_of
from dualdiffusion.randomness import mix_seed
from sampling.request import Request
from sampling.tasks.canvas import Canvas, Grid

SEEDS = 1 << 63  # `mix_seed` gives numbers below it


@dataclass(frozen=True)
class Told:
    """What some clips are told over all columns of their canvas, by id: values (B, n, T) or (B, n, F, T), kept (B,)."""

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
        values = {name: torch.cat([v[..., seen] for seen in columns]) for name, v in self.values.items()}
        kept = {name: k.repeat(len(columns)) for name, k in self.kept.items()}
        return replace(conditioning, values=values, kept=kept)

    def knowing(
        self,
        told: Mapping[str, ConditionerConfig],
        requests: Sequence[Request],
        latents: Tensor,
        known: Tensor,
    ) -> Told:
        """The same, and what is known of the latents, where the network can be told that.

        Args:
            latents: (1 or B, Z, F, T).
            known: (T,), true where they are known.
        """
        ids = [name for name, config in told.items() if config.of_latents]
        if not ids or not bool(known.any()):
            return self
        values, kept = dict(self.values), dict(self.kept)
        for name in ids:
            values[name] = told[name].told(latents, known[None]).cpu().expand(len(requests), -1, -1, -1)
            kept[name] = torch.tensor([float(r.controls.get(name, 0) is not None) for r in requests])
        return Told(values, kept)


def tell(
    told: Mapping[str, ConditionerConfig],
    requests: Sequence[Request],
    controls: Mapping[str, AnyControl],
    canvas: Canvas,
    grid: Grid,
    source: Tensor | None,
) -> Told:
    """What clips on one canvas are told.

    Args:
        told: what the denoiser can be told, by id.
        source: the audio (C, N) that all of them start from, or None.
    """
    told = {name: config for name, config in told.items() if not config.of_latents}
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
    control: AnyControl | None,
    facts: Mapping[str, Any],
    canvas: Canvas,
    grid: Grid,
) -> Tensor | None:
    """What one clip is told, (n, columns); None: nothing."""
    span = _span(canvas, grid, canvas.first, circular=request.loop)
    if name in request.controls:
        asked = request.controls[name]
        return None if asked is None else config.asked(asked, span)
    if facts and (true := config.fact_at(facts, _span(canvas, grid, canvas.source))) is not None:
        return true  # what is made goes on as the source does
    # The same clip each time: which of the usual values it is hangs on the seed alone.
    quantile = mix_seed(request.seed, "usual", name) / SEEDS
    usual = control.usual_value(request.games, quantile) if control else None
    return None if usual is None else config.asked(usual, span)


def _span(canvas: Canvas, grid: Grid, origin: int, *, circular: bool = False) -> Span:
    """The canvas, its time counted from sample `origin` on."""
    # A loop is as long as its columns, whatever its samples: there its end goes on into its beginning.
    length = None if circular else canvas.samples / grid.sample_rate
    column_seconds = grid.column_samples / grid.sample_rate
    return Span(-origin / grid.sample_rate, canvas.columns, column_seconds, circular=circular, length=length)
