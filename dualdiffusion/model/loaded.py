"""A whole model in memory: what `dualdiffusion.load` returns, and what sampling generates with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from dualdiffusion import programs
from dualdiffusion.contracts import Autoencoder, Format
from dualdiffusion.controls import AnyControl, read_controls
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module

if TYPE_CHECKING:
    from dualdiffusion.programs import Clip

T = TypeVar("T")
NO_GAMES: Mapping[str, float] = MappingProxyType({})
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
        fingerprint: identifies VAE, format and the denoiser's weights, as they were when they were read.
        window_columns: latent columns of the crops that the denoiser was trained on; None where that is not known.
        controls: what one may ask for beside games, by id.
    """

    folder: ModelFolder
    ema: str | None
    format: Format
    vae: Autoencoder
    denoiser: Denoiser
    labels: Labels
    fingerprint: str
    window_columns: int | None
    controls: Mapping[str, AnyControl] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the denoiser is, and format and VAE with it."""
        return self.denoiser.device

    def generate(self, games: Mapping[str, float] = NO_GAMES, **asked: Any) -> Clip:
        """Makes a clip, the same as the command line makes of the same request.

        Args:
            games: weight of each game in the mix; only ratios matter. An unconditional model takes none.
            asked: other fields of the request, such as `seconds=8, seed=1`; see docs/request.md. What is not asked for
                is as the model recommends, or else the default.

        Raises:
            UserError: what is asked makes no sense, or is nothing that this model can make.
        """
        return programs.generate(self, {"games": dict(games), **asked})


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
    (format, vae), of_vae = with_fingerprint(
        folder, "vae", None, lambda: [load_module(folder, name, device=device) for name in ("format", "vae")]
    )
    denoiser, of_denoiser = with_fingerprint(
        folder, "unet", ema, lambda: load_module(folder, "unet", ema=ema, device=device)
    )
    return LoadedModel(
        folder=folder,
        ema=ema,
        format=format,
        vae=vae,
        denoiser=denoiser,
        labels=labels,
        fingerprint=f"{of_vae}-{of_denoiser}",
        window_columns=trained_columns(folder, format, vae, denoiser),
        controls=read_controls(folder.module_entry("unet"), str(folder.index_path)),
    )


def with_fingerprint(folder: ModelFolder, name: str, ema: str | None, load: Callable[[], T]) -> tuple[T, str]:
    """What `load` reads of a module, and the module's fingerprint at that time.

    Training replaces weights by renaming while others load them: where the fingerprint is another one afterwards, what
    was read may be either, and is read again.
    """
    before = folder.fingerprint(name, ema)
    while True:
        loaded = load()
        after = folder.fingerprint(name, ema)
        if after == before:
            return loaded, after
        before = after


def trained_columns(folder: ModelFolder, format: Format, vae: Autoencoder, denoiser: Denoiser) -> int | None:
    """Latent columns of the crops that the UNet was trained on; None where neither the index nor its run tells.

    The index moves with the model and comes first; models trained before it told this have it in their run alone.
    """
    stored = folder.module_entry("unet").get(WINDOW_COLUMNS)
    if isinstance(stored, int):
        return stored
    try:
        seconds = float(read_json(folder.run_path("unet") / "config.json")["module_trainer"]["crop_seconds"])
    except (UserError, KeyError, TypeError, ValueError):
        return None
    columns = seconds * format.sample_rate / (format.hop_length * vae.downsampling)
    multiple = denoiser.size_multiple
    return max(1, round(columns / multiple)) * multiple
