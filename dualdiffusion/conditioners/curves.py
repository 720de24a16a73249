"""Curves: what moves along time, such as loudness and brightness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dualdiffusion.conditioning import Span, check_range, marked
from dualdiffusion.config import Config
from dualdiffusion.controls import CurveControl
from dualdiffusion.data.facts import curve_at
from dualdiffusion.dsp.curves import interpolated

BRIGHTNESS = "brightness"


class Curve(nn.Module):
    """Tells each column a value."""

    class Config(Config):
        """Settings of a Curve."""

        fact: str = "loudness"
        """`loudness`, in dB above the track's mean; `brightness`, in octaves above 1 kHz; or another curve."""
        low: float = -24.0
        high: float = 12.0
        """The range; facts outside of it count as its nearer end."""
        label: str = ""
        """For people; empty: the fact's name."""
        unit: str = "dB"
        dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
        """Share of the samples that are not told it although it is known, beside those that are told nothing."""

        along_time: ClassVar[bool] = True
        along_rows: ClassVar[bool] = False
        of_latents: ClassVar[bool] = False

        @model_validator(mode="after")
        def _range(self) -> Curve.Config:
            check_range(self.low, self.high)
            return self

        @property
        def columns_told(self) -> int:
            """n, numbers told of each column."""
            return 1

        def fact_at(self, facts: Mapping[str, Any], span: Span) -> Tensor | None:
            """What is true of a part of a track: (n, columns); None where that is not known.

            Raises:
                KeyError, TypeError, ValueError: the fact is damaged.
            """
            if self.fact not in facts:
                return None
            values = curve_at(facts[self.fact], span.times())
            return self._told(values + math.log2(span.speed) if self.fact == BRIGHTNESS else values)

        def asked(self, value: float | Sequence[float], span: Span) -> Tensor:
            """A number for the whole clip, or values from its first to its last moment, evenly spaced: (n, columns).

            In a loop the last is followed by the first.
            """
            points = [float(one) for one in value] if isinstance(value, Sequence) else [float(value)]
            points = [*points, points[0]] if span.circular else points
            place = span.times() / (span.length or span.seconds) * (len(points) - 1)
            return self._told(interpolated(torch.tensor(points, dtype=torch.float64), place))

        def _told(self, values: Tensor) -> Tensor:
            """Values (columns,) at about unit variance: (1, columns)."""
            middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
            return (math.sqrt(3) * (values.clamp(self.low, self.high) - middle) / half).float()[None]

        def control(self, facts: Mapping[str, Sequence[Mapping[str, Any]]]) -> CurveControl:
            """What one may ask for."""
            return CurveControl(self.label or self.fact.capitalize(), self.unit, self.low, self.high)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    @property
    def channels(self) -> int:
        """Of what `forward` gives."""
        return 2

    def forward(self, values: Tensor, kept: Tensor) -> Tensor:
        """Values (B, 1, t) and whether they are told, (B,) -> (B, 2, t); the last channel says so."""
        return marked(values, kept)
