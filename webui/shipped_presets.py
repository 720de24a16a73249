"""The presets that come with the program. They name no games, so that they suit every model."""

from __future__ import annotations

from typing import Any


def _preset(name: str, about: str, **request: Any) -> dict[str, Any]:
    return {"id": f"shipped-{name.lower().replace(' ', '-')}", "name": name, "about": about, "request": request}


SHIPPED: list[dict[str, Any]] = [
    _preset(
        "Sketch",
        "A quick idea: few steps of a fast solver.",
        sampler="dpmpp_2m",
        sampler_options={},
        steps=16,
    ),
    _preset(
        "Calm",
        "Much fresh noise at every step: slower, steadier and less surprising.",
        sampler="euler",
        sampler_options={"reinjection": 0.9},
        steps=80,
    ),
    _preset(
        "Game loop",
        "Sixteen seconds whose end goes on into the beginning.",
        loop=True,
        seconds=16.0,
    ),
    _preset(
        "Strange",
        "Strong guidance that may not get louder, held off while the piece takes shape: odd, but clean.",
        cfg_scale=5.0,
        guidance={"interval": [0.0, 8.0], "rescale": 0.3, "projected_parallel": 0.0, "projected_momentum": -0.5},
    ),
]
