"""The denoiser that a UNet trainer's config means, and what its training would do, before anything is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dualdiffusion.component import Component
from dualdiffusion.conditioning import GAMES, Conditioning
from dualdiffusion.contracts import Autoencoder, Format
from dualdiffusion.data.audio_crops import Batch
from dualdiffusion.diffusion.loss import denoising_loss
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.errors import UserError
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import module_component
from dualdiffusion.model.shipped import find_model
from sampling.recommended import read_recommended
from train.denoiser.latent_source import EncodedLatents
from train.denoiser.telling import conditioners_of, settled
from train.module_trainer import Plan
from train.startup.autoencoder import check_autoencoder, check_fit, of_format
from train.startup.channels import bands_of_rows, with_channels
from train.startup.setup import with_label_dim

if TYPE_CHECKING:
    from train.module_trainers.unet import UNetTrainer


def settled_denoiser(
    config: UNetTrainer.Config,
    labels: Labels,
    model: ModelFolder,
    parts: tuple[Format, Autoencoder] | None,
    facts: Iterable[Mapping[str, Any]] = (),
) -> Component:
    """With what hangs on the model and the dataset: channels and rows of the latents, the number of games, and the
    names that the facts of its tracks have.

    Names that the model's network has been told stay as they are.

    Args:
        parts: format and autoencoder; None where they are not known yet.

    Raises:
        UserError: a conditioner that has the name of the games.
    """
    made = module_component(model, "unet").config.backbone if "unet" in model.module_names() else None
    known = conditioners_of(made) if made else {}
    if made is None and GAMES in conditioners_of(config.denoiser.backbone):
        raise UserError(
            f"module_trainer.denoiser.backbone.conditioners: {GAMES!r} is the name of the labels; give it another name"
        )
    backbone = settled(with_label_dim(config.denoiser.backbone, labels), list(facts), known)
    if parts is not None:
        backbone = with_channels(backbone, parts[1].latent_channels, bands_of_rows(*parts))
    return Component(Denoiser, config.denoiser.model_copy(update={"backbone": backbone}))


def recommended_by(init: ModelFolder | None) -> dict[str, Any]:
    """What the model that training starts from recommends to ask of it; nothing that only its own weights can do."""
    fields = {} if init is None else read_recommended(init).fields
    if (fields.get("guidance") or {}).get("weak_ema"):
        # Weights that the new model does not have; the scale of the other guidance was chosen beside them.
        fields = {name: value for name, value in fields.items() if name not in ("guidance", "cfg_scale")}
    return fields


def plan(config: UNetTrainer.Config, *, model: ModelFolder, labels: Labels, batch_size: int) -> Plan:
    """See `ModuleTrainer.plan`."""
    source = model if "vae" in model.module_names() or not config.autoencoder else find_model(config.autoencoder)
    parts = _stored_autoencoder(source, config)
    if config.vae is not None:
        check_autoencoder(*(parts[name].build() for name in ("format", "vae")))
    rows, columns = _latent_size(parts, config)
    format = [parts["format"].build()] if "format" in parts else []
    with torch.device("meta"):
        vae = [parts["vae"].build()] if "vae" in parts else []
    settled_part = settled_denoiser(config, labels, model, (*format, *vae) if format and vae else None)
    with torch.device("meta"):
        denoiser = settled_part.build()
        multiple = denoiser.size_multiple
        columns = max(1, round(columns / multiple)) * multiple
        shape = (batch_size, denoiser.in_channels, rows, columns)
        sigma, position = torch.ones(batch_size), torch.zeros(rows)
    if format and vae:
        check_fit(denoiser, *format, *vae)

    encoded, shapes = None, {"latents": shape}
    if not config.pre_encoded and vae and format:
        encoded = EncodedLatents(None, format[0].to("meta"), vae[0], columns, {})
        shapes = {"audio": (batch_size, format[0].num_channels, encoded.excerpt.samples), **shapes}

    def forward() -> Tensor:
        latents = torch.zeros(shape, device="meta") if encoded is None else _encoded(encoded, shapes["audio"])
        noise = torch.zeros(shape, device="meta")
        conditioning = Conditioning()
        if denoiser.label_dim:
            conditioning = Conditioning(torch.zeros(batch_size, denoiser.label_dim, device="meta"), sigma)
        return denoising_loss(denoiser, latents, noise, sigma, conditioning, position=position).learned.sum()

    return Plan(denoiser, shapes, forward, (*vae, *format))


def _encoded(source: EncodedLatents, shape: tuple[int, ...]) -> Tensor:
    """Latents of audio of a shape (B, C, N) on the meta device."""
    games = torch.zeros(shape[0], dtype=torch.long, device="meta")
    batch = Batch(torch.zeros(shape, device="meta"), games, games, skips=(0,) * shape[0])
    return source(batch, None).data


def _stored_autoencoder(model: ModelFolder, config: UNetTrainer.Config) -> dict[str, Component]:
    """Format and VAE as far as a model has them, or else as the config says them."""
    said = {name: part for name in ("format", "vae") if (part := getattr(config, name)) is not None}
    if config.vae is not None:
        said["vae"] = of_format(config.vae, config.format.build())
    stored = {name: module_component(model, name) for name in ("format", "vae") if name in model.module_names()}
    return {**said, **stored}


def _latent_size(parts: Mapping[str, Component], config: UNetTrainer.Config) -> tuple[int, float]:
    """Rows and columns of a training sample; of the reference format (32 kHz) where the model does not exist yet."""
    if {"format", "vae"} <= set(parts):
        format = parts["format"].build()
        with torch.device("meta"):
            factor = parts["vae"].build().downsampling
        return format.rows // factor, config.crop_seconds * format.frames_per_second / factor
    return 32, config.crop_seconds * 1000 / 8 / 8
