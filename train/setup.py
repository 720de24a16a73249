"""What the first training command creates in a model folder, and what later ones check."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import torch

from dualdiffusion.component import Component
from dualdiffusion.data.manifest import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json
from dualdiffusion.labels import Game, Labels
from dualdiffusion.model_folder import RAW, ModelFolder
from dualdiffusion.module import (
    Module,
    config_differences,
    load_module,
    load_state,
    load_weights,
    registered_type,
)
from dualdiffusion.randomness import mix_seed


def check_labels(model: ModelFolder, dataset: DatasetFolder) -> Labels:
    """The model's games with their tracks in the dataset; for a new model those of the dataset. Writes nothing.

    Raises:
        UserError: the dataset has a game that the model does not know, or under another id.
    """
    of_dataset = dataset.labels()
    if not model.labels_path.exists():
        return of_dataset
    known = model.labels()
    ids = {game.name: game.id for game in known.games}
    for game in of_dataset.games:
        if ids.get(game.name, game.id if game.tracks == 0 else None) != game.id:
            raise UserError(
                f"{dataset.path}: game {game.name!r} has id {game.id}, but {model.labels_path} knows "
                f"{'it as ' + str(ids[game.name]) if game.name in ids else 'no such game'}; train a new model folder "
                "(--set model=...) on this dataset"
            )
    tracks = {game.name: game.tracks for game in of_dataset.games}
    return Labels(tuple(Game(game.id, game.name, tracks.get(game.name, 0)) for game in known.games))


def stored_part(model: ModelFolder, name: str, part: Component) -> Module | None:
    """The module as it lies in the model folder, or None where there is none.

    Raises:
        UserError: the model folder holds it with other settings.
    """
    if name not in model.module_names():
        return None
    _check_settings(model, name, part)
    return load_module(model, name)


def with_label_dim(part: Component, labels: Labels) -> Component:
    """The part with a `label_dim` of null replaced by the number of the model's games."""
    if getattr(part.config, "label_dim", 0) is not None:
        return part
    return Component(part.cls, part.config.model_copy(update={"label_dim": labels.dim}))


def build_module(model: ModelFolder, name: str, part: Component, seed: int) -> Module:
    """A module to train: with the weights in the model folder, or newly initialised from the seed.

    Raises:
        UserError: the model folder holds the module with other settings.
    """
    _check_settings(model, name, part)
    torch.manual_seed(mix_seed(seed, "init", name))
    module = part.build()
    if model.weights_path(name, RAW).exists():
        load_state(module, load_weights(model.weights_path(name, RAW)), model.weights_path(name, RAW))
    return module


def copy_modules(source: ModelFolder, target: ModelFolder, names: Sequence[str]) -> None:
    """Copies modules, with all their weights, from one model folder to another.

    Raises:
        UserError: the source lacks one of them.
    """
    entries = {name: source.module_entry(name) for name in names}
    for name, entry in entries.items():
        shutil.copytree(source.module_path(name), target.module_path(name), dirs_exist_ok=True)
        target.register(name, entry["type"], entry["ema"])


def _check_settings(model: ModelFolder, name: str, part: Component) -> None:
    path = model.config_path(name)
    if not path.exists():
        return
    stored = read_json(path)
    wanted = {"type": registered_type(part.cls), **part.config.to_json()}
    differences = config_differences({"type": stored["type"], **stored["config"]}, wanted)
    if differences:
        raise UserError(
            f"{path}: the model has other settings than the config ({'; '.join(differences[:3])}); choose another "
            "folder (--set model=...) or give the old settings"
        )
