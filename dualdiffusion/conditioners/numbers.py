"""Numbers: a place in the track, its length, its tempo, its year."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from dualdiffusion.conditioning import Span, check_range, marked
from dualdiffusion.config import Config
from dualdiffusion.controls import Control
from dualdiffusion.data.facts import quantiles

PLACE = "place"
SECONDS = "seconds_total"
TEMPO = "tempo"


class Number(nn.Module):
    """Tells a number as cosines of it, the slowest of which goes from one end of the range to the other once."""

    class Config(Config):
        """Settings of a Number."""

        fact: str = PLACE
        """`place`: from 0, where a track begins, to 1, its end; `seconds_total`: its length; `tempo`: beats per minute;
        else a fact of that name that is a number, such as `year`."""
        low: float = 0.0
        high: float = 1.0
        """The range; facts outside of it count as its nearer end."""
        logarithmic: bool = False
        """Ratios count, not differences, as with tempi; the range must be above 0."""
        track_seconds: PositiveFloat = 60.0
        """Length of the track of which a clip is a part, where a place is asked for: at 0 the clip begins with it, at 1
        both end together."""
        waves: PositiveInt = 8
        """Cosines that tell it."""
        label: str = ""
        """For people; empty: the fact's name."""
        unit: str = ""
        """Such as "BPM"."""
        dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
        """Share of the samples that are not told it although it is known, beside those that are told nothing."""

        along_time: ClassVar[bool] = False
        along_rows: ClassVar[bool] = False
        of_latents: ClassVar[bool] = False

        @model_validator(mode="after")
        def _range(self) -> Number.Config:
            check_range(self.low, self.high)
            if self.logarithmic and self.low <= 0:
                raise ValueError("logarithmic: needs low above 0")
            return self

        @property
        def columns_told(self) -> int:
            """n, numbers told of each column."""
            return 1

        def fact_of(self, facts: Mapping[str, Any], speed: float = 1.0) -> float | None:
            """The number that is true of a whole track that is played so fast; None where it is not known."""
            if self.fact == TEMPO:
                return float(facts["beat"]["bpm"]) * speed if "beat" in facts else None
            if self.fact == SECONDS:
                return float(facts["seconds"]) / speed if "seconds" in facts else None
            return float(facts[self.fact]) if self.fact in facts else None

        def fact_at(self, facts: Mapping[str, Any], span: Span) -> Tensor | None:
            """What is true of a part of a track: (n, columns); None where that is not known.

            Raises:
                KeyError, TypeError, ValueError: the fact is damaged.
            """
            if self.fact == PLACE:
                return self._told(span.times() / float(facts["seconds"])) if "seconds" in facts else None
            value = self.fact_of(facts, span.speed)
            return None if value is None else self.asked(value, span)

        def asked(self, value: float, span: Span) -> Tensor:
            """The number, told of every column; of a place, what it is in each column: (n, columns)."""
            if self.fact == PLACE and not span.circular:
                length = span.length or span.seconds
                start = value * max(self.track_seconds - length, 0.0)
                return self._told((start + span.times()) / max(self.track_seconds, length))
            return self._told(torch.full((span.columns,), float(value), dtype=torch.float64))

        def _told(self, values: Tensor) -> Tensor:
            """Numbers (columns,) as places in the range, 0 to 1: (1, columns)."""
            low, high, values = self.low, self.high, values.clamp(self.low, self.high)
            if self.logarithmic:
                low, high, values = math.log(low), math.log(high), values.log()
            return ((values - low) / (high - low)).float()[None]

        def control(self, facts: Mapping[str, Sequence[Mapping[str, Any]]]) -> Control:
            """What one may ask for; where it is a whole track's, with what is usual.

            Args:
                facts: of the training tracks of each game.
            """
            usual = {
                game: quantiles([v for f in of if (v := self.fact_of(f)) is not None]) for game, of in facts.items()
            }
            inside = {
                g: tuple(min(max(v, self.low), self.high) for v in values) for g, values in usual.items() if values
            }
            label = self.label or self.fact.replace("_", " ").capitalize()
            return Control(label, self.unit, self.low, self.high, inside)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    @property
    def channels(self) -> int:
        """Of what `forward` gives."""
        return self.config.waves + 1

    def forward(self, values: Tensor, kept: Tensor) -> Tensor:
        """Values (B, 1, t) and whether they are told, (B,) -> (B, channels, t); the last channel says so."""
        angles = math.pi * values * torch.arange(1, self.config.waves + 1, device=values.device)[:, None]
        return marked(math.sqrt(2) * angles.cos(), kept)
