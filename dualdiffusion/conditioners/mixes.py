"""Mixes: names with weights, such as composers, chips or keys; negative weights push away."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from dualdiffusion.conditioning import Span
from dualdiffusion.config import Config, nearest
from dualdiffusion.contracts import ConditionerConfig
from dualdiffusion.controls import MixControl
from dualdiffusion.dsp.key import KEYS, transposed

LEAST_KEY_CLARITY = 0.02
"""A key that fits hardly better than the next one is not told."""


class Mix(nn.Module):
    """Tells a mix of names as a row of unit length, or that there is none, by one number for each and one more.

    It is what `LabelEmbedding` embeds: the layer behind it sees a mix as the mix of what it makes of the names.
    """

    class Config(Config):
        """Settings of a Mix."""

        fact: str = "composer"
        """Name of a fact that is a text, or several with ";" between; `game` is the game."""
        names: tuple[str, ...] | None = None
        """That may be told; null: those of the training tracks when the model is created. Later ones are not told."""
        label: str = ""
        """For people; empty: the fact's name."""
        dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
        """Share of the samples that are not told it although it is known, beside those that are told nothing."""

        along_time: ClassVar[bool] = False
        along_rows: ClassVar[bool] = False
        of_latents: ClassVar[bool] = False

        def settled(self, tracks: Iterable[Mapping[str, Any]], before: ConditionerConfig | None = None) -> Self:
            """With the names that some tracks' facts have, where `names` is null.

            Args:
                before: the same conditioner in a network that exists, whose names stay: it has learned no others.
            """
            if self.names is not None:
                return self
            if isinstance(before, type(self)) and before.fact == self.fact:
                return self.model_copy(update={"names": before.names})
            return self.model_copy(
                update={"names": tuple(sorted({n for facts in tracks for n in self.names_of(facts)}))}
            )

        @property
        def columns_told(self) -> int:
            """n, numbers told of each column.

            Raises:
                ValueError: `names` is still null.
            """
            if self.names is None:
                raise ValueError("names: null is no list yet")
            return len(self.names)

        def names_of(self, facts: Mapping[str, Any], span: Span | None = None) -> list[str]:
            """What a track's facts name; none where that is not known."""
            return [name.strip() for name in str(facts.get(self.fact, "")).split(";") if name.strip()]

        def fact_at(self, facts: Mapping[str, Any], span: Span) -> Tensor | None:
            """What is true of a part of a track: (n, columns); None where that is not known."""
            names = [name for name in self.names_of(facts, span) if name in self.names]
            return self.asked(dict.fromkeys(names, 1.0), span) if names else None

        def asked(self, value: str | Mapping[str, float], span: Span) -> Tensor:
            """A name, or weights of names, told of every column: (n, columns). Only the weights' ratios matter."""
            weights = {value: 1.0} if isinstance(value, str) else value
            row = torch.tensor([float(weights.get(name, 0.0)) for name in self.names])
            return (row / row.norm().clamp(min=1e-12))[:, None].expand(-1, span.columns)

        def control(self, facts: Mapping[str, Sequence[Mapping[str, Any]]]) -> MixControl:
            """What one may ask for."""
            return MixControl(self.label or self.fact.capitalize(), self.names or ())

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.names = config, config.columns_told

    @property
    def channels(self) -> int:
        """Of what `forward` gives."""
        return self.names + 1

    def forward(self, values: Tensor, kept: Tensor) -> Tensor:
        """Values (B, n, t) and whether they are told, (B,) -> (B, n + 1, t), at the magnitude that layers expect."""
        kept = kept.to(values)[:, None, None]
        mix = torch.cat([values * kept, (1 - kept).expand(-1, -1, values.shape[-1])], dim=1)
        return mix * math.sqrt(self.channels)


class Key(Mix):
    """Tells the key; a track that is played higher is in another one."""

    class Config(Mix.Config):
        """Settings of a Key."""

        fact: str = "key"
        names: tuple[str, ...] | None = KEYS
        label: str = "Key"

        @field_validator("names")
        @classmethod
        def _are_keys(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
            wrong = [name for name in names or () if name not in KEYS]
            if wrong:
                raise ValueError(f"{wrong[0]!r} is no key; nearest: {', '.join(nearest(wrong[0], KEYS)) or KEYS[0]}")
            return names

        def names_of(self, facts: Mapping[str, Any], span: Span | None = None) -> list[str]:
            """The key, if it is clear; none where a part is played between two keys."""
            key = facts.get("key")
            if key is None or float(key["clarity"]) < LEAST_KEY_CLARITY:
                return []
            semitones = 12 * math.log2(span.speed) if span else 0.0
            return [] if abs(semitones - round(semitones)) > 0.25 else [transposed(key["name"], round(semitones))]
