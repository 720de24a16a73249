"""What a clip's weights are known by: the fingerprints of VAE, UNet and weaker network, joined by hyphens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.loaded import with_fingerprint
from dualdiffusion.model.module import load_module
from dualdiffusion.model.shipped import find_model
from sampling.guidance import Guidance, load_weak
from sampling.request import Request


@dataclass(frozen=True)
class Weights:
    """A denoiser in memory, and the fingerprint that its files had when they were read."""

    denoiser: Denoiser
    fingerprint: str


def load_weights(folder: ModelFolder, ema: str | None, device: torch.device) -> Weights:
    """The UNet of a model folder.

    Args:
        ema: name of an EMA, `raw`, or None for the model's default.

    Raises:
        UserError: no such weights.
    """
    return Weights(*with_fingerprint(folder, "unet", ema, lambda: load_module(folder, "unet", ema=ema, device=device)))


def load_weak_weights(guidance: Guidance, folder: ModelFolder, device: torch.device) -> Weights | None:
    """The weaker network that guidance names, or None where it names none; see `sampling.guidance.load_weak`.

    Raises:
        UserError: no such network, or one that does not fit to the model.
    """
    if not names_weak(guidance):
        return None
    weak = _weak_folder(guidance, folder)
    return Weights(*with_fingerprint(weak, "unet", guidance.weak_ema, lambda: load_weak(guidance, folder, device)))


def names_weak(guidance: Guidance) -> bool:
    """Whether guidance names a weaker network."""
    return bool(guidance.weak_ema or guidance.weak_model)


def model_fingerprint(folder: ModelFolder, request: Request | None = None) -> str:
    """Identifies what a clip depends on as it lies on the disk: the VAE, its format, and the UNet's weights, also
    weaker ones. What is in memory may be older: that is `Generator.fingerprint_of`.

    Args:
        request: names the weights; None is the default ones.
    """
    parts = [folder.fingerprint("vae"), folder.fingerprint("unet", request.ema if request else None)]
    guidance = request.guidance if request else Guidance()
    if names_weak(guidance):
        parts.append(_weak_folder(guidance, folder).fingerprint("unet", guidance.weak_ema))
    return "-".join(parts)


def fingerprints(folder: ModelFolder) -> Callable[[Request], str]:
    """`model_fingerprint` of requests, which reads each file once."""
    known: dict[tuple[str | None, object, str | None], str] = {}

    def fingerprint_of(request: Request) -> str:
        key = (request.ema, request.guidance.weak_model, request.guidance.weak_ema)
        if key not in known:
            known[key] = model_fingerprint(folder, request)
        return known[key]

    return fingerprint_of


def _weak_folder(guidance: Guidance, folder: ModelFolder) -> ModelFolder:
    return find_model(guidance.weak_model) if guidance.weak_model else folder
