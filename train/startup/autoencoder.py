"""Format and autoencoder of a model that has no VAE to train: made from the dataset when its UNet's training begins."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dualdiffusion.codec import Codec
from dualdiffusion.component import Component
from dualdiffusion.contracts import Autoencoder, Format
from dualdiffusion.data.audio_crops import AudioCrops, long_enough
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import save_module
from train.startup.channels import OPEN, ROW_BANDS, with_channels
from train.startup.setup import stored_part

MEASURED_CROPS = 64
"""That the constants of format and latents are measured on."""


def is_trained(part: Component) -> bool:
    """Whether an autoencoder has weights to train."""
    with torch.device("meta"):
        return next(part.build().parameters(), None) is not None


def make_autoencoder(
    model: ModelFolder, format_part: Component, vae_part: Component, dataset: DatasetFolder, seconds: float
) -> None:
    """Puts format and autoencoder into the model folder where it has none; what is there must have these settings.

    Args:
        seconds: length of the crops that their constants are measured on.

    Raises:
        UserError: parts that do not fit together, other settings than the model has, or no track that is long enough.
    """
    vae_part = of_format(vae_part, format_part.build())
    has_vae = stored_part(model, "vae", vae_part) is not None
    format = stored_part(model, "format", format_part)
    if has_vae and format is not None:
        return
    is_new, format = format is None, format or format_part.build()
    vae = vae_part.build()
    check_autoencoder(format, vae)
    step = format.num_samples(vae.downsampling)
    samples = max(1, round(seconds * format.sample_rate / step)) * step
    tracks = long_enough(dataset.tracks("train"), samples / format.sample_rate, dataset.path)
    crops = AudioCrops(tracks, samples, sample_rate=format.sample_rate, channels=format.num_channels, seed=0)
    clips = [crops[index].data for index in range(MEASURED_CROPS)]
    if is_new:
        format.fit(clips)
    codec = Codec(format, vae)
    with torch.no_grad():
        latents = torch.cat([codec.mode(codec.spectrogram(clip))[0].flatten(1) for clip in clips], dim=1)
    vae.latents_mean.copy_(latents.mean(dim=1))
    vae.latents_std.copy_(latents.std(dim=1).clamp(min=1e-4))  # of a channel that is always the same
    save_module(model, "format", format)
    save_module(model, "vae", vae)


def of_format(vae_part: Component, format: Format) -> Component:
    """The autoencoder with as many channels as the format has, where its config leaves that open."""
    return with_channels(vae_part, format.sample_shape(1)[0])


def check_autoencoder(format: Format, vae: Autoencoder) -> None:
    """
    Raises:
        UserError: the two do not fit together.
    """
    shape = format.sample_shape(vae.downsampling)
    if shape[0] != vae.in_channels:
        raise UserError(
            f"module_trainer.vae.channels: is {vae.in_channels}, but the format has {shape[0]}; leave it out, or set "
            f"it to {shape[0]}"
        )
    if format.rows == 1 and vae.downsampling > 1:
        raise UserError(
            f"module_trainer.vae.patch: is {vae.downsampling}, but module_trainer.format.type: {type(format).__name__} "
            "has no frequency axis to fold; set it to 1, and the format's own patch instead"
        )
    if shape[1] % vae.downsampling:
        raise UserError(
            f"module_trainer.vae.patch: {vae.downsampling} does not divide the format's {shape[1]} rows; take a "
            "smaller one"
        )


def check_fit(denoiser: Denoiser, format: Format, vae: Autoencoder) -> None:
    """
    Raises:
        UserError: the denoiser cannot take the latents.
    """
    if denoiser.in_channels != vae.latent_channels:
        key = _key_of(denoiser.network, OPEN, "in_channels")
        raise UserError(
            f"module_trainer.denoiser.{key}: is {denoiser.in_channels}, but the VAE has {vae.latent_channels} latent "
            f"channels; leave it out, or set it to {vae.latent_channels}"
        )
    for name, told in denoiser.told.items():
        if told.of_latents and told.columns_told != vae.latent_channels + 1:
            raise UserError(
                f"module_trainer.denoiser.backbone.conditioners.{name}.latent_channels: is {told.columns_told - 1}, "
                f"but the VAE has {vae.latent_channels} latent channels; leave it out"
            )
    rows = format.rows // vae.downsampling
    for name, told in denoiser.told.items():
        bands = getattr(told, ROW_BANDS, None)
        if bands is not None and len(bands) != rows:
            raise UserError(
                f"module_trainer.denoiser.backbone.conditioners.{name}.{ROW_BANDS}: has {len(bands)} rows, but the VAE "
                f"gives {rows}; leave it out"
            )
    if rows == 1 and denoiser.row_multiple > 1:
        raise UserError(
            f"module_trainer.denoiser.backbone.type: works on a frequency axis, which {type(format).__name__} lacks; "
            "take a network in one dimension, such as unet_1d.UNet1D"
        )
    if denoiser.rows not in (None, rows) or rows % denoiser.row_multiple:
        needed = f"{denoiser.rows}" if denoiser.rows else f"a multiple of {denoiser.row_multiple}"
        key = _key_of(denoiser.network, ROWS_KEYS, "type")
        raise UserError(
            f"module_trainer.denoiser.{key}: takes {needed} latent rows, but the VAE gives {rows}; choose another"
        )


ROWS_KEYS = ("channel_mult", "rows", "patch", "patch_size")
"""By which of its keys a network says how many rows it takes: levels that halve them, or patches."""


def _key_of(backbone: Component, names: Sequence[str], usual: str, path: str = "backbone") -> str:
    """Where the config of a network, or of the one inside it, has one of these keys."""
    inner = getattr(backbone.config, "backbone", None)
    if isinstance(inner, Component):
        return _key_of(inner, names, usual, f"{path}.backbone")
    return f"{path}.{next((name for name in names if name in type(backbone.config).model_fields), usual)}"
