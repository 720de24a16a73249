"""The beat along time: at which moments it falls, so that what is generated keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from dualdiffusion.conditioning import Span, marked
from dualdiffusion.config import Config
from dualdiffusion.controls import Control
from dualdiffusion.data.facts import beat_from_json, quantiles
from dualdiffusion.dsp.beat import FASTEST, SLOWEST


class Beats(nn.Module):
    """Tells each latent column where it lies between two beats, as a point on a circle for each multiple of the tempo.

    A column is as long as a short note, so a beat rarely begins with one. Sine and cosine tell to a fraction of a
    column when it falls, and are the same everywhere that is equally far from a beat.
    """

    class Config(Config):
        """Settings of Beats."""

        multiples: PositiveInt = 2
        """1: the beat; 2: also its halves; ..."""
        dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
        """Share of the samples that are not told it although it is known, beside those that are told nothing."""

        along_time: ClassVar[bool] = True
        along_rows: ClassVar[bool] = False
        of_latents: ClassVar[bool] = False

        @property
        def columns_told(self) -> int:
            """n, numbers told of each column."""
            return 2 * self.multiples

        def fact_at(self, facts: Mapping[str, Any], span: Span) -> Tensor | None:
            """What is true of a part of a track: (n, columns); None where its beat is not known.

            Raises:
                KeyError, TypeError, ValueError: the fact is damaged.
            """
            if "beat" not in facts:
                return None
            beat, times = beat_from_json(facts["beat"]), span.times()
            places = [beat.at(time).beats_at(times[k]) for k, time in enumerate(times.tolist())]
            return self._points(torch.stack(places))

        def asked(self, value: float, span: Span) -> Tensor:
            """`value` beats per minute, the first at 0 s: (n, columns). Into a loop goes the nearest whole number."""
            rate = value / 60
            if span.circular:
                rate = max(1, round(rate * span.seconds)) / span.seconds
            return self._points(span.times() * rate)

        def _points(self, beats: Tensor) -> Tensor:
            angles = 2 * math.pi * beats * torch.arange(1, self.multiples + 1, dtype=torch.float64)[:, None]
            # Times the root of 2: unit variance, as all inputs of a network have.
            return (math.sqrt(2) * torch.cat([angles.cos(), angles.sin()])).float()

        def control(self, facts: Mapping[str, Sequence[Mapping[str, Any]]]) -> Control:
            """What one may ask for.

            Args:
                facts: of the training tracks of each game.
            """
            usual = {game: quantiles([f["beat"]["bpm"] for f in of if "beat" in f]) for game, of in facts.items()}
            return Control("Tempo", "BPM", SLOWEST, FASTEST, {game: values for game, values in usual.items() if values})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    @property
    def channels(self) -> int:
        """Of what `forward` gives."""
        return self.config.columns_told + 1

    def forward(self, values: Tensor, kept: Tensor) -> Tensor:
        """Values (B, n, t) and whether they are told, (B,) -> (B, channels, t); the last channel says so."""
        return marked(values, kept)
