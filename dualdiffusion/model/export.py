"""`python -m dualdiffusion export`: from a trained model folder to one that holds what playing needs, and no more.

<out>/model_index.json    modules, what they were exported from, and the window of sampling
<out>/labels.json         the games
<out>/<module>/           config and weights, those of matrices and kernels as float16
<out>/request.json        the recommended request, if the model has one
<out>/README.md           the model card
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dualdiffusion import __version__
from dualdiffusion.controls import controls_to_json
from dualdiffusion.errors import UserError
from dualdiffusion.files import folder_lock, read_json, sync_folder, write_json, write_text
from dualdiffusion.model.card import CardNotes, model_card
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.loaded import WINDOW_COLUMNS, LoadedModel, load_model
from dualdiffusion.model.module import Module, load_module, save_module, save_weights

MODULES = ("format", "vae", "unet")
CARD, REQUEST, EXPORTED = "README.md", "request.json", "exported"
MAX_MEGABYTES = 24.0  # what a repository should hold of a model
MEGABYTE = 1e6


@dataclass(frozen=True)
class Export:
    """A finished export: its folder, and the bytes of its files by their name."""

    path: Path
    sizes: dict[str, int]

    @property
    def megabytes(self) -> float:
        """Of all files, in 10^6 bytes."""
        return sum(self.sizes.values()) / MEGABYTE


def export(source: ModelFolder, out: Path, *, ema: str | None = None, notes: CardNotes | None = None) -> Export:
    """Writes a model folder for playing. What was there is replaced at the end, by renaming.

    Args:
        ema: the UNet's weights: an EMA's name, its width as text, `raw`, or None for those of the recommended request,
            else the model's default. The VAE's are always its default, which the UNet's latents are of.
        notes: what the card says and no file knows.

    Raises:
        UserError: not a whole model, no such weights, or `out` is something else than an earlier export.
    """
    check_target(source, out)
    request = recommended_request(source)
    model = load_model(source, ema=ema_named(source, ema or request.get("ema")), device="cpu")
    # Beside the target, so that renaming suffices, and behind a lock: two at a time would mix their files.
    scratch = out.absolute().with_name(f".{out.name}.export")
    new, old = scratch / "new", scratch / "old"
    with folder_lock(scratch):
        try:
            shutil.rmtree(new, ignore_errors=True)
            _write(model, ModelFolder(new), out.absolute().name, request, notes or CardNotes())
            check_target(source, out)
            shutil.rmtree(old, ignore_errors=True)
            if out.exists():
                out.rename(old)
            new.rename(out)
            sync_folder(out.absolute().parent)
        finally:
            if old.exists() and not out.exists():  # stopped between the two renames
                old.rename(out)
            shutil.rmtree(scratch, ignore_errors=True)
    return Export(out, {str(path.relative_to(out)): path.stat().st_size for path in _files(out)})


def check_target(source: ModelFolder, out: Path) -> None:
    """Refuses to write over anything but an earlier export.

    Raises:
        UserError: `out` is the model itself, a file, or a folder with anything else in it.
    """
    if out.resolve() == source.path.resolve():
        raise UserError(f"{out}: is the model itself; choose another folder")
    if out.exists() and not (out.is_dir() and _is_export(out)):
        raise UserError(f"{out}: is not an earlier export, or holds more than one; choose another folder")


def ema_named(model: ModelFolder, ema: str | None) -> str | None:
    """The name of the UNet's weights that `--ema` means: a name, or a width such as 0.1.

    Raises:
        UserError: there are no such weights.
    """
    if ema is None:
        return None
    try:
        name = f"ema_{float(ema):.3f}"
    except ValueError:
        name = ema
    return model.chosen_ema("unet", name if name in model.emas("unet") else ema)


def recommended_request(model: ModelFolder) -> dict[str, Any]:
    """The request that a model is to be played with when nothing is said; empty where it has none.

    Raises:
        UserError: the file is not a JSON object.
    """
    path = model.path / REQUEST
    request = read_json(path) if path.is_file() else {}
    if not isinstance(request, dict):
        raise UserError(f"{path}: must hold a JSON object, a request")
    return request


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _is_export(folder: Path) -> bool:
    """Whether a folder holds what an export writes, and nothing else: a model trained on since then has its runs."""
    index = folder / "model_index.json"
    if not index.is_file() or EXPORTED not in read_json(index):
        return not any(folder.iterdir())
    own = rf"model_index\.json|labels\.json|{CARD}|{REQUEST}|({'|'.join(MODULES)})/[^/]+\.(json|safetensors)"
    return all(re.fullmatch(own, str(path.relative_to(folder))) for path in _files(folder))


def _write(model: LoadedModel, target: ModelFolder, name: str, request: dict[str, Any], notes: CardNotes) -> None:
    source = model.folder
    weights = {"vae": source.chosen_ema("vae"), "unet": source.chosen_ema("unet", model.ema)}
    for module, part in zip(MODULES, (model.format, model.vae, model.denoiser), strict=True):
        if module == "unet":
            part.index_notes = {WINDOW_COLUMNS: model.window_columns, **controls_to_json(model.controls)}
        save_module(target, module, halved(part))
    model.labels.save(target.labels_path)
    if request:
        _write_request(request, source, target)
    index = target.read_index()
    fingerprints = {module: source.fingerprint(module, weights[module]) for module in weights}
    index[EXPORTED] = {"software": __version__, "weights": weights, "fingerprints": fingerprints}
    write_json(target.index_path, index)
    write_text(target.path / CARD, model_card(model, name, weights, notes))


def _write_request(request: dict[str, Any], source: ModelFolder, target: ModelFolder) -> None:
    """The recommended request, as there is one set of weights now, and those of the weaker network it is guided by."""
    write_json(target.path / REQUEST, {**request, "ema": None} if "ema" in request else request)
    weak = (request.get("guidance") or {}).get("weak_ema")
    if weak:
        network = load_module(source, "unet", ema=weak)
        save_weights(target.weights_path("unet", weak), halved(network).state_dict())


@torch.no_grad()
def halved(module: Module) -> Module:
    """The module with its matrices and kernels in float16; vectors and single numbers, which cost nothing, stay whole.

    Rounding moves each weight by at most 1/2048 of itself, and unit filters stay unit to a few parts in a million.
    """
    for parameter in module.parameters():
        if parameter.ndim >= 2:
            parameter.data = parameter.data.half()
    return module
