"""What the first training command creates in a model folder, and what later ones check."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dualdiffusion.component import Component
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.labels import Game, Labels
from dualdiffusion.machine.storage import copy_files
from dualdiffusion.model.folder import RAW, ModelFolder
from dualdiffusion.model.label_growth import find_label_dim, grown_weights, label_weights, set_label_dim
from dualdiffusion.model.module import (
    Module,
    difference,
    differing_keys,
    load_module,
    load_state,
    load_weights,
    module_component,
    registered_type,
)
from dualdiffusion.randomness import mix_seed
from train.startup.channels import is_open
from train.startup.initial_weights import started_weights, tell_start


def check_labels(model: ModelFolder, dataset: DatasetFolder) -> Labels:
    """The model's games with their tracks in the dataset, then the dataset's new games. Writes nothing.

    For a new model these are the dataset's games.

    Raises:
        UserError: the dataset has a game that the model knows under another id, or a new one whose id does not follow
            the model's ids without a gap.
    """
    of_dataset = dataset.labels()
    if not model.labels_path.exists():
        return of_dataset
    known = model.labels()
    ids = {game.name: game.id for game in known.games}
    new: list[Game] = []
    for game in of_dataset.games:
        follows = game.id == known.dim + len(new)
        if game.name not in ids and follows:
            new.append(game)
        elif ids.get(game.name, game.id if game.tracks == 0 and game.id < known.dim else None) != game.id:
            free = known.dim + len(new)
            knows = f"knows it as {ids[game.name]}" if game.name in ids else f"gives a new game the id {free}"
            raise UserError(
                f"{dataset.path}: game {game.name!r} has id {game.id}, but {model.labels_path} {knows}; take a dataset "
                "that grew from the one of this model, or train a new model folder (--set model=...)"
            )
    tracks = {game.name: game.tracks for game in of_dataset.games}
    return Labels((*(Game(game.id, game.name, tracks.get(game.name, 0)) for game in known.games), *new))


def new_games(model: ModelFolder, labels: Labels) -> list[str]:
    """Names of the games for which training makes room in an existing model; none in one that is yet to be made."""
    known = model.labels().names if model.labels_path.exists() else labels.names
    return [name for name in labels.names if name not in known]


def save_labels(model: ModelFolder, labels: Labels) -> None:
    """Writes labels.json, if it says something else."""
    if not model.labels_path.exists() or model.labels() != labels:
        labels.save(model.labels_path)


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
    """The part with a `label_dim` of null replaced by the number of the model's games.

    Raises:
        UserError: a number that is neither 0 nor enough for the games with tracks.
    """
    inner = getattr(part.config, "backbone", None)
    if isinstance(inner, Component):  # an adapter around a network
        return Component(part.cls, part.config.model_copy(update={"backbone": with_label_dim(inner, labels)}))
    given = getattr(part.config, "label_dim", 0)
    if given is None:
        return Component(part.cls, part.config.model_copy(update={"label_dim": labels.dim}))
    needed = max((game.id + 1 for game in labels.games if game.tracks), default=0)
    if 0 < given < needed:
        raise UserError(f"{part.name}: label_dim: is {given}, but the dataset needs {needed}; null makes room for all")
    return part


def build_module(
    model: ModelFolder, name: str, part: Component, labels: Labels, seed: int, init: ModelFolder | None = None
) -> Module:
    """A module to train: with the weights in the model folder, or else of `init`, or newly initialised from the seed.

    Weights that know fewer games than the part get columns for the new ones, in memory.

    Raises:
        UserError: the model folder holds the module with other settings.
    """
    _check_settings(model, name, part)
    torch.manual_seed(mix_seed(seed, "init", name))
    module = part.build()
    path = model.weights_path(name, RAW)
    if path.exists():
        stored = load_weights(path)
        state = grown_weights(stored, module, seed)
        load_state(module, state, path)
        for key in label_weights(module):
            _tell_new_games(name, labels, stored[key].shape[1] - 1, module.label_dim)
    elif init is not None:
        load_state(module, started_weights(init, name, module, labels, seed), init.weights_path(name))
        tell_start(init, name, module, labels)
    return module


def _tell_new_games(module: str, labels: Labels, known: int, wanted: int) -> None:
    if known == wanted:
        return
    games = ", ".join(game.name for game in labels.games if known <= game.id < wanted)
    count = f"{wanted - known} new game{'s' if wanted - known > 1 else ''}"
    print(f"{module}: room for {count} ({games}), learned from here on; raise total_samples if they are reached")


def copy_modules(source: ModelFolder, target: ModelFolder, names: Sequence[str]) -> None:
    """Copies modules, with all their weights, from one model folder to another.

    Raises:
        UserError: the source lacks one of them.
    """
    entries = {name: source.module_entry(name) for name in names}
    for name, entry in entries.items():
        copy_files(source.module_path(name), target.module_path(name))
        target.register(name, entry["type"], entry["ema"])


def _check_settings(model: ModelFolder, name: str, part: Component) -> None:
    path = model.config_path(name)
    if not path.exists():
        return
    # Read as a config, so that a field that the class has gained since then has its default.
    stored = {"type": model.module_entry(name)["type"], "config": module_component(model, name).config.to_json()}
    config = part.config.to_json()
    known, games = find_label_dim(stored["config"]), find_label_dim(config)
    if known and games and known < games:  # which is not another setting: room is made
        config = set_label_dim(config, known)
    wanted = {"type": registered_type(part.cls), **config}
    # A module that was made without them, by a script, has its class's own numbers of channels.
    changed = differing_keys({"type": stored["type"], **stored["config"]}, wanted)
    differences = [difference(*each) for each in changed if not is_open(each[0], each[1])]
    if differences:
        last = model.run_path(name) / "config.json"  # presets change: with it, what was begun by an older one goes on
        old = f"train on by the old settings (train.py {last})" if last.is_file() else "give the old settings"
        raise UserError(
            f"{path}: the model has other settings than the config ({'; '.join(differences[:3])}); choose another "
            f"folder (--set model=...) or {old}"
        )
