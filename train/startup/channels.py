"""What a config leaves open of channels and rows: the format and the autoencoder say it."""

from __future__ import annotations

from typing import Any

from dualdiffusion.component import Component
from dualdiffusion.contracts import Autoencoder, Format, SpectrogramFormat

OPEN = ("in_channels", "channels", "latent_channels")
"""Fields that are a number of channels; null: not said."""
ROW_BANDS = "row_bands"
"""The field that is what `bands_of_rows` gives; null: not said."""


def bands_of_rows(format: Format, vae: Autoencoder) -> tuple[tuple[float, ...], ...]:
    """Centre frequencies in Hz of the format's bands that each latent row stands for; ((0,),) without frequencies."""
    if not isinstance(format, SpectrogramFormat):
        return ((0.0,),)
    rows = format.centers().view(-1, vae.downsampling)
    return tuple(tuple(round(value, 3) for value in row) for row in rows.tolist())


def with_channels(part: Component, channels: int, row_bands: tuple[tuple[float, ...], ...] | None = None) -> Component:
    """The part, and networks and conditioners that it holds, with `channels` where a number of them is left open, and
    with the bands of latent rows where they are."""
    changes: dict[str, Any] = {}
    for name, value in part.config:
        if name in OPEN and value is None:
            changes[name] = channels
        elif name == ROW_BANDS and value is None:
            changes[name] = row_bands
        elif isinstance(value, Component):
            changes[name] = with_channels(value, channels, row_bands)
        elif isinstance(value, dict):
            changes[name] = {
                key: with_channels(item, channels, row_bands) if isinstance(item, Component) else item
                for key, item in value.items()
            }
    return Component(part.cls, part.config.model_copy(update=changes))


def is_open(path: str, value: object) -> bool:
    """Whether a config leaves channels or rows open at a key path."""
    return value is None and path.rpartition(".")[2] in (*OPEN, ROW_BANDS)
