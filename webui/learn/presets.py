"""How a generator can be made: one JSON file in config/generators/ for each way, found by listing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from dualdiffusion.config import Config, load_config
from dualdiffusion.errors import UserError


class Preset(Config):
    """One way to make a generator: the configs of its dataset, its VAE and its UNet."""

    title: str
    """What it is called on the page."""
    description: str = ""
    """A sentence or two: what it makes, what it needs, how long it takes."""
    needs_gpu: bool = False
    """Whether it would take for ever without a GPU."""
    rank: int = Field(0, ge=0)
    """The largest one that suits the machine is suggested."""
    starts_from: str | None = None
    """The shipped model whose weights it starts from, for people who read this: its training configs say so."""
    dataset: str
    """A dataset config whose fifth step is encode.Encode, such as config/dataset/demo.json."""
    vae: str
    """A training config of the VAE, such as config/train/vae_tiny.json."""
    unet: str
    """A training config of the UNet."""


def load_presets(folder: Path) -> dict[str, Preset]:
    """The presets by the names of their files, the highest rank first.

    Raises:
        UserError: there are none, or one is wrong.
    """
    presets = {path.stem: load_config(Preset, path) for path in sorted(folder.glob("*.json"))}
    if not presets:
        raise UserError(f"{folder}: holds no presets for generators")
    return dict(sorted(presets.items(), key=lambda item: -item[1].rank))


def judged(presets: dict[str, Preset], forecast: dict[str, Any]) -> list[dict[str, Any]]:
    """What the machine can do of each preset.

    Args:
        presets: by name, the highest rank first.
        forecast: what `python -m train preflight` says of their VAE and UNet configs, in this order.

    Returns:
        For each its "name", texts, "need" in bytes, and "problem", a sentence, or None where it can be done.
        The first without a problem is "suggested".
    """
    runs, shown, suggested = iter(forecast["runs"]), [], False
    for name, preset in presets.items():
        own = [next(runs), next(runs)]
        problem = _problem(preset, own, forecast)
        shown.append(
            {
                "name": name,
                "title": preset.title,
                "description": preset.description,
                "need": max((run.get("need", 0) for run in own), default=0),
                "problem": problem,
                "suggested": problem is None and not suggested,
            }
        )
        suggested = suggested or problem is None
    return shown


def _problem(preset: Preset, runs: list[dict[str, Any]], forecast: dict[str, Any]) -> str | None:
    if preset.needs_gpu and forecast["device"] == "cpu":
        return "needs a GPU"
    for run in runs:
        if "error" in run:
            return str(run["error"])
        if not run["fits"]:
            return f"is predicted to need {gib(run['need'])}, and {gib(forecast['room'])} are free"
    return None


def gib(count: float) -> str:
    """Bytes as people read them."""
    return f"{count / 2**20:.0f} MiB" if count < 2**29 else f"{count / 2**30:.1f} GiB"
