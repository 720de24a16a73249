"""Numbers of channels that a config leaves open: the format and the autoencoder say them."""

from __future__ import annotations

from typing import Any

from dualdiffusion.component import Component

OPEN = ("in_channels", "channels", "latent_channels")
"""Fields that are such a number; null: not said."""


def with_channels(part: Component, channels: int) -> Component:
    """The part, and networks and conditioners that it holds, with `channels` where a number of them is left open."""
    changes: dict[str, Any] = {}
    for name, value in part.config:
        if name in OPEN and value is None:
            changes[name] = channels
        elif isinstance(value, Component):
            changes[name] = with_channels(value, channels)
        elif isinstance(value, dict):
            changes[name] = {
                key: with_channels(item, channels) if isinstance(item, Component) else item
                for key, item in value.items()
            }
    return Component(part.cls, part.config.model_copy(update=changes))


def is_open(path: str, value: object) -> bool:
    """Whether a config leaves a number of channels open at a key path."""
    return value is None and path.rpartition(".")[2] in OPEN
