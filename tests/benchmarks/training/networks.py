"""Our UNet, and the U-Net of diffusers that it is compared with: of equal parameter count and the same plan.

The peer has as many levels, whose widths grow as ours do, as many layers per level, and attention with heads of the
same width at the same levels; its first width is the multiple of 4 that gives our parameter count most nearly.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dualdiffusion.component import component_from_json
from dualdiffusion.config import read_config
from dualdiffusion.errors import UserError
from dualdiffusion.models.unet_edm2 import UNet

ROOT = Path(__file__).resolve().parents[3]
PRESETS = ("tiny", "small", "base")
NETWORKS = ("ours", "peer")
GAMES = 16
MISSING = "diffusers is not installed; install it: pip install -r tests/benchmarks/requirements.txt"


def latent_channels(preset: str) -> int:
    """C of the latents that a preset is for."""
    return read_config(ROOT / "config" / "models" / f"vae_{preset}.json")["latent_channels"]


def build_ours(preset: str) -> UNet:
    """Our UNet, for GAMES games."""
    config = read_config(ROOT / "config" / "models" / f"unet_{preset}.json")
    told = {"label_dim": GAMES, "in_channels": latent_channels(preset)}
    return component_from_json("dualdiffusion.models", {**config, **told}).build()


def peer_settings(config: UNet.Config, first_width: int) -> dict[str, Any]:
    """What UNet2DModel is made with, so that it has our plan: widths from `first_width` on, in steps of 4 channels."""
    widths = [4 * round(first_width * multiple / config.channel_mult[0] / 4) for multiple in config.channel_mult]
    kinds = ["Attn" if level in config.attn_levels else "" for level in range(len(widths))]
    return {
        "block_out_channels": widths,
        "layers_per_block": config.num_layers_per_block,
        "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
        "attention_head_dim": config.channels_per_head,
        "norm_num_groups": max(groups for groups in (1, 2, 4, 8, 16, 32) if all(_fits(groups, w) for w in widths)),
    }


def _fits(groups: int, width: int) -> bool:
    """Whether channels can be normalised in so many groups; fewer than 4 in each would lose what they say together."""
    return width % groups == 0 and width // groups >= 4


def build_peer(config: UNet.Config, first_width: int) -> nn.Module:
    """diffusers' UNet of our plan, for GAMES games, and else by its default."""
    from diffusers import UNet2DModel

    channels = {"in_channels": config.in_channels, "out_channels": config.in_channels}
    return UNet2DModel(**channels, **peer_settings(config, first_width), num_class_embeds=GAMES + 1)


def parameters(network: nn.Module) -> int:
    """How many it has."""
    return sum(parameter.numel() for parameter in network.parameters())


def nearest_width(wanted: int, build: Callable[[int], nn.Module]) -> int:
    """The first width, a multiple of 4, with which what `build` makes of it has `wanted` parameters most nearly."""

    def count(width: int) -> int:
        with torch.device("meta"):
            return parameters(build(width))

    # Parameters grow with the square of the width, very nearly.
    nearest = round(64 * (wanted / count(64)) ** 0.5 / 4)
    return 4 * min(range(max(1, nearest - 2), nearest + 3), key=lambda quarter: abs(count(4 * quarter) - wanted))


def peer_width(config: UNet.Config, wanted: int) -> int:
    """The first width of the peer that has `wanted` parameters most nearly."""
    return nearest_width(wanted, lambda width: build_peer(config, width))


def find_diffusers() -> None:
    """Checks that diffusers can be imported.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec("diffusers") is None:
        raise UserError(MISSING)
