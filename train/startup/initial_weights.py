"""Starting a new model from another one's weights: `init` in a training config.

What the new model lacks is taken from there: the format with its constants, the VAE with the statistics of its latents,
the UNet. The games are the new dataset's; those of a name that the other model knows keep what it knows of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dualdiffusion.component import Component, type_name
from dualdiffusion.config import load_config
from dualdiffusion.errors import UserError
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.label_growth import find_label_dim, label_weights, relabelled, set_label_dim
from dualdiffusion.model.module import (
    Module,
    differing_keys,
    load_module,
    module_component,
)
from dualdiffusion.model.shipped import find_model, reference
from dualdiffusion.randomness import mix_seed
from train.startup.channels import is_open
from train.train_config import TrainConfig


def load_train_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A module config whose networks, where it leaves them to `init` or the model folder, are filled in.

    Raises:
        UserError: as `load_config`; networks that are nowhere to be found; no such model as `init` says, or one with
            other networks than the config.
    """
    config = load_config(TrainConfig, path, overrides)
    part = config.module_trainer
    completed = part.cls.completed(part.config, Source(ModelFolder(config.model), init_of(config), config.init))
    return config.model_copy(update={"module_trainer": Component(part.cls, completed)})


@dataclass(frozen=True)
class Source:
    """Where a config that does not say its networks has them from.

    Attributes:
        model: the model that is trained.
        init: the model that it starts from; None where it starts from nothing, or goes on with what it has.
        name: what the config says of `init`, whether that counts or not.
    """

    model: ModelFolder
    init: ModelFolder | None
    name: Path | None

    def part(self, module: str, given: Component | None, key: str) -> Component:
        """The settings of a module: those that the config gives, or else those that are stored.

        Args:
            key: where in the config they are given.

        Raises:
            UserError: there are none at all; or the config gives others than the model has that the run starts from.
        """
        if given is None:
            return self._stored(module, key)
        if self.init is not None:
            self._check(module, given, key)
        return given

    def _stored(self, module: str, key: str) -> Component:
        if self.init is None and module not in self.model.module_names():
            raise UserError(
                f"{key}: is null, which takes it from init or from the model folder, but init is null and "
                f"{self.model.path} has no module {module!r}; name a model (--set init=...), or give the settings"
            )
        part = module_component(self.init or self.model, module)
        settings = part.config.to_json()
        # Room for any number of games, where there is any.
        settings = set_label_dim(settings, None) if find_label_dim(settings) else settings
        return Component(part.cls, part.cls.Config.from_json(settings))

    def _check(self, module: str, given: Component, key: str) -> None:
        part = module_component(self.init, module)
        there, here = ({"type": type_name(p.cls), **p.config.to_json()} for p in (part, given))
        if find_label_dim(there) and find_label_dim(here) != 0:  # room is made for other games
            there, here = set_label_dim(there, None), set_label_dim(here, None)
        for path, theirs, ours in differing_keys(there, here):
            if is_open(path, ours):  # and is filled in with what the parts have
                continue
            raise UserError(
                f"{key}.{path}: is {json.dumps(ours)}, but {reference(self.init)}, from which init starts, "
                f"has {json.dumps(theirs)}; give that, or set {key} to null, which takes all of its settings"
            )


def init_of(config: TrainConfig) -> ModelFolder | None:
    """The model that this run starts from; None where it starts from nothing, or goes on with what it has.

    Raises:
        UserError: there is no such model, or it lacks the module.
    """
    name = config.module_trainer.cls.module_name
    if config.init is None or name in ModelFolder(config.model).module_names():
        return None
    try:
        folder = find_model(config.init)
        modules = folder.module_names()
    except UserError as error:
        raise UserError(f"init: {error}") from None
    if name not in modules:
        has = ", ".join(modules) or "nothing"
        raise UserError(
            f"init: {config.init}: has no module {name!r} to start from (it has: {has}); name another model, or null"
        )
    return folder


def started_weights(init: ModelFolder, name: str, module: Module, labels: Labels, seed: int) -> dict[str, Tensor]:
    """The weights of a module of `init`, as it plays by default, for a module that knows other games.

    Args:
        module: with the same settings but for its games.
        labels: the games of `module`.
        seed: of the vectors of new games.
    """
    source = load_module(init, name)
    state = {key: tensor.contiguous() for key, tensor in source.state_dict().items()}
    known = {game.name: game.id for game in init.labels().games if game.id < source.label_dim}
    for key in label_weights(module):
        columns = {game.id: known[game.name] for game in labels.games if game.name in known}
        generator = torch.Generator().manual_seed(mix_seed(seed, "init games", key))
        state[key] = relabelled(state[key], columns, module.label_dim, generator)
    return state


def tell_start(init: ModelFolder, name: str, module: Module, labels: Labels) -> None:
    """One line: what the training starts from, and which games are known there."""
    told = f"{name}: starts from {reference(init)} ({init.chosen_ema(name)})"
    if not label_weights(module):
        print(told)
        return
    known = {game.name for game in init.labels().games}
    old = [game.name for game in labels.games if game.name in known]
    new = [game.name for game in labels.games if game.name not in known]
    parts = [f"{what}: {', '.join(names)}" for what, names in (("games it knows", old), ("new games", new)) if names]
    print("; ".join([told, *parts]))
