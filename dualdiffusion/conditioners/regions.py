"""Regions: which columns of the latents are known, and what they are, for in-painting that is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from dualdiffusion.conditioning import Span
from dualdiffusion.config import Config
from dualdiffusion.controls import SourceControl

SHARES = (0.4, 0.6, 0.8)
"""Of the samples: up to the first, the middle is unknown; up to the second, the end; up to the third, the beginning;
the others know nothing."""


class Known(nn.Module):
    """Tells the latents where they are known, and where that is. Nothing known is told as untold."""

    class Config(Config):
        """Settings of Known."""

        latent_channels: PositiveInt | None = None
        """Z of the latents; null: those of the autoencoder that it is trained with (4 without one)."""
        dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
        """Share of the samples that are not told it, beside those of which nothing is known."""

        along_time: ClassVar[bool] = True
        along_rows: ClassVar[bool] = True
        of_latents: ClassVar[bool] = True

        @property
        def columns_told(self) -> int:
            """n, numbers told of each column and row."""
            return (self.latent_channels or 4) + 1

        def fact_at(self, facts: Mapping[str, Any], span: Span) -> None:
            """Nothing: the latents themselves are known, see `drawn`."""

        def asked(self, value: float, span: Span) -> Tensor:
            """
            Raises:
                ValueError: always, as a source says it.
            """
            raise ValueError("the source says which parts are known")

        def told(self, latents: Tensor, known: Tensor) -> Tensor:
            """Latents (B, Z, F, T), and 1 where they are known, (B or 1, T) -> (B, Z + 1, F, T)."""
            mask = known.to(latents)[:, None, None].expand(len(latents), 1, latents.shape[2], -1)
            return torch.cat([latents * mask, mask], dim=1)

        def drawn(self, latents: Tensor, kind: Tensor, first: Tensor, second: Tensor) -> Tensor:
            """What training samples know, drawn at random: latents (B, Z, F, T) -> (B, Z + 1, F, T).

            Args:
                kind, first, second: (B,), each uniform in [0, 1).
            """
            columns = latents.shape[-1]
            low, high = (edge * columns for edge in torch.stack([first, second]).sort(dim=0).values)
            low = torch.where((kind >= SHARES[1]) & (kind < SHARES[2]), 0.0, low)
            high = torch.where((kind >= SHARES[0]) & (kind < SHARES[1]), float(columns), high)
            place = torch.arange(columns, device=latents.device) + 0.5
            low, high, kind = (value.to(latents.device)[:, None] for value in (low, high, kind))
            known = ((place < low) | (place > high)) & (kind < SHARES[2])
            return self.told(latents, known)

        def control(self, facts: Mapping[str, Sequence[Mapping[str, Any]]]) -> SourceControl:
            """That it can be left untold."""
            return SourceControl("Known parts")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    @property
    def channels(self) -> int:
        """Of what `forward` gives."""
        return self.config.columns_told

    def forward(self, values: Tensor, kept: Tensor) -> Tensor:
        """Values (B, Z + 1, F, T) and whether they are told, (B,) -> (B, Z + 1, F, T); the last channel says where."""
        return values * kept.to(values)[:, None, None, None]
