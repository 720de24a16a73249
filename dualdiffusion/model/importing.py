"""`python -m dualdiffusion import dance-diffusion`: from a checkpoint of Dance Diffusion to a model folder that plays.

Read are a `.ckpt` of Harmonai or Stable Audio Tools (of Lightning, or its state dict alone), the same as safetensors,
and the folder of a diffusers pipeline or UNet1DModel. Nothing in a checkpoint is run: tensors are all that is loaded.
"""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from dualdiffusion.component import Component
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.diffusion.predictors import Velocity
from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import folder_lock, read_json, sync_folder, write_json
from dualdiffusion.formats.waveform import Waveform
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.foreign_names import Foreign, from_diffusers, from_nested
from dualdiffusion.model.loaded import WINDOW_COLUMNS
from dualdiffusion.model.module import load_state, save_module
from dualdiffusion.models.dance_diffusion import DanceDiffusion
from dualdiffusion.models.identity import Identity
from dualdiffusion.tensor_files import read_tensors

SAMPLE_SIZE = 65536  # samples of the crops that most published models were trained on
FEATURES = "timestep_embed.weight"  # in a nested state dict
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
UNREADABLE = (  # what torch lets through of a file that is none of its own, too
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    UnpicklingError,
    SafetensorError,
)
# The recipe that the authors sample with, as far as it has a place here.
RECOMMENDED = {"sampler": "dpmpp_2m", "schedule": "cosine", "steps": 100, "cfg_scale": 1.0}


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
        weights: which of a checkpoint's weights were taken.
        parameters: numbers that the network has learned.
    """

    path: Path
    weights: str
    sample_rate: int
    sample_size: int
    config: DanceDiffusion.Config
    parameters: int


def import_dance_diffusion(
    checkpoint: Path, out: Path, *, sample_rate: int | None = None, sample_size: int | None = None
) -> Imported:
    """Writes a model folder; what was there is never replaced.

    Args:
        checkpoint: a file or folder, see above.
        sample_rate: in Hz; None is what the checkpoint says, if it is of diffusers.
        sample_size: samples that the network was trained on; None is what the checkpoint says, or SAMPLE_SIZE.

    Raises:
        UserError: no such checkpoint, one of another network, no sample rate, or `out` is taken.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already; choose another folder")
    try:
        foreign, taken, says = _read(checkpoint)
        network = DanceDiffusion(foreign.config)
    except (KeyError, ValueError) as error:  # of its tensors, one is missing or of a size that cannot be
        raise UserError(f"{checkpoint}: is no Dance Diffusion network that is known ({one_line(error)})") from None
    sample_rate = sample_rate or says.get("sample_rate")
    if not sample_rate:
        raise UserError(f"{checkpoint}: does not say its sample rate; give it by --sample-rate, such as 48000 or 16000")
    load_state(network, foreign.weights, checkpoint)
    multiple = network.size_multiple
    size = max(1, round((sample_size or says.get("sample_size") or SAMPLE_SIZE) / multiple)) * multiple
    scratch = out.absolute().with_name(f".{out.name}.import")
    with folder_lock(scratch):
        try:
            shutil.rmtree(scratch / "new", ignore_errors=True)
            _write(ModelFolder(scratch / "new"), network, sample_rate, size)
            if out.exists():
                out.rmdir()  # which is empty
            (scratch / "new").rename(out)
            sync_folder(out.absolute().parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    count = sum(parameter.numel() for parameter in network.parameters())
    return Imported(out, taken, sample_rate, size, foreign.config, count)


def _write(folder: ModelFolder, network: DanceDiffusion, sample_rate: int, size: int) -> None:
    channels = network.in_channels
    part = Component(DanceDiffusion, network.config)
    # Such a network was trained on audio as it is, with noise of unit variance: of what it says nothing is scaled.
    velocity = Component(Velocity, Velocity.Config(input="time"))
    denoiser = Denoiser(Denoiser.Config(backbone=part, predictor=velocity, sigma_data=1.0))
    denoiser.backbone.load_state_dict(network.state_dict())
    torch.nn.init.zeros_(denoiser.uncertainty.weight)  # which has not been learned
    denoiser.index_notes = {WINDOW_COLUMNS: size}
    Labels(()).save(folder.labels_path)
    save_module(folder, "format", Waveform(Waveform.Config(sample_rate=sample_rate, num_channels=channels)))
    save_module(folder, "vae", Identity(Identity.Config(channels=channels)))
    save_module(folder, "unet", denoiser)
    write_json(folder.request_path, RECOMMENDED)


# Reading


def _read(checkpoint: Path) -> tuple[Foreign, str, Mapping[str, Any]]:
    """The network, which weights it has, and what the checkpoint says of its audio."""
    if not checkpoint.exists():
        raise UserError(f"{checkpoint}: no such file or folder")
    if checkpoint.is_dir():
        return _read_diffusers(checkpoint)
    tensors = _tensors(checkpoint)
    if "time_proj.weight" in tensors:
        if (checkpoint.parent / "config.json").is_file():
            return _read_diffusers(checkpoint.parent)
        raise UserError(f"{checkpoint}: are weights of diffusers without their config.json; give their folder")
    prefix = _chosen(tensors, checkpoint)
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not any(name.startswith("net.3.") for name in own):
        raise UserError(f"{checkpoint}: is no Dance Diffusion network; it lacks tensors named net.0.main.0.weight, ...")
    return from_nested(own, checkpoint), prefix.rstrip(".") or "the only ones", {}


def _chosen(tensors: Mapping[str, Tensor], checkpoint: Path) -> str:
    """What stands before the names of the network to take: of those that there are, an average if possible."""
    prefixes = [name.removesuffix(FEATURES) for name in tensors if name.endswith(FEATURES)]
    if not prefixes:
        raise UserError(f"{checkpoint}: is no Dance Diffusion checkpoint; no tensor in it is named {FEATURES}")

    def rank(prefix: str) -> tuple[bool, int]:
        return "ema" not in prefix or "online" in prefix, len(prefix)

    return min(prefixes, key=rank)


def _tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, of Lightning's those of its state dict."""
    try:
        if path.suffix == ".safetensors":
            return read_tensors(path)
        # Of settings, Lightning writes this class, which holds values alone.
        with torch.serialization.safe_globals([Namespace]):
            data = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = one_line(error).split(". ")[0]
        raise UserError(
            f"{path}: cannot be read as tensors ({reason}); if it is a checkpoint with other objects in it, save its "
            "state_dict alone"
        ) from None
    data = data.get("state_dict", data) if isinstance(data, dict) else {}
    pairs = data.items() if isinstance(data, dict) else ()
    return {name: value for name, value in pairs if isinstance(name, str) and isinstance(value, Tensor)}


def _read_diffusers(folder: Path) -> tuple[Foreign, str, Mapping[str, Any]]:
    """A pipeline's folder, or that of its network."""
    network = folder / "unet" if (folder / "unet").is_dir() else folder
    path = next((network / name for name in WEIGHTS if (network / name).is_file()), None)
    if path is None or not (network / "config.json").is_file():
        raise UserError(f"{folder}: is no folder of diffusers; it must hold config.json and {' or '.join(WEIGHTS)}")
    config, tensors = read_json(network / "config.json"), _tensors(path)
    if not isinstance(config, dict) or config.get("_class_name", "UNet1DModel") != "UNet1DModel":
        raise UserError(f"{network / 'config.json'}: does not describe a UNet1DModel")
    if config.get("use_timestep_embedding") or "time_proj.weight" not in tensors:
        raise UserError(f"{network}: is another UNet1DModel than those of Dance Diffusion, which has Fourier features")
    foreign = from_diffusers(tensors, path, cosines_first=bool(config.get("flip_sin_to_cos", True)))
    return foreign, path.name, config
