"""A whole model in memory: what `dualdiffusion.load` returns, and what sampling generates with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module

WINDOW_COLUMNS = "window_columns"  # in the index entry of a denoiser


@dataclass(frozen=True)
class LoadedModel:
    """Format, VAE and denoiser of one model folder, in evaluation mode, in float32.

    Attributes:
        folder: where it comes from.
        ema: the denoiser's weights, where they were chosen: the name of an EMA or `raw`. None: the folder's default.
        format: audio <-> spectrogram, of dualdiffusion/formats.
        vae: spectrogram <-> latents, of dualdiffusion/models.
        denoiser: D(x; sigma) on normalised latents.
        labels: the games.
        fingerprint: identifies VAE, format and the denoiser's weights, as they lie in the folder.
        window_columns: latent columns of the crops that the denoiser was trained on; None where that is not known.
    """

    folder: ModelFolder
    ema: str | None
    format: Any
    vae: Any
    denoiser: Denoiser
    labels: Labels
    fingerprint: str
    window_columns: int | None

    @property
    def device(self) -> torch.device:
        """Where the denoiser is, and format and VAE with it."""
        return self.denoiser.device


def load_model(folder: ModelFolder, *, ema: str | None = None, device: torch.device | str | None = None) -> LoadedModel:
    """Loads a model folder.

    Args:
        ema: the denoiser's weights: the name of an EMA, `raw`, or None for the model's default.
        device: None is a GPU where there is one.

    Raises:
        UserError: the folder is not a whole model, or has no such weights.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    labels = folder.labels()
    format, vae = (load_module(folder, name, device=device) for name in ("format", "vae"))
    denoiser: Denoiser = load_module(folder, "unet", ema=ema, device=device)
    return LoadedModel(
        folder=folder,
        ema=ema,
        format=format,
        vae=vae,
        denoiser=denoiser,
        labels=labels,
        fingerprint=f"{folder.fingerprint('vae')}-{folder.fingerprint('unet', ema)}",
        window_columns=trained_columns(folder, format, vae, denoiser),
    )


def trained_columns(folder: ModelFolder, format: Any, vae: Any, denoiser: Denoiser) -> int | None:
    """Latent columns of the crops that the UNet was trained on; None where neither the index nor its run tells.

    An exported model has no run: there the index says it.
    """
    stored = folder.module_entry("unet").get(WINDOW_COLUMNS)
    if isinstance(stored, int):
        return stored
    try:
        seconds = float(read_json(folder.run_path("unet") / "config.json")["module_trainer"]["crop_seconds"])
    except (UserError, KeyError, TypeError, ValueError):
        return None
    columns = seconds * format.config.sample_rate / (format.config.hop_length * vae.downsampling)
    multiple = denoiser.backbone.size_multiple
    return max(1, round(columns / multiple)) * multiple
