"""The built-in games. KIND FOLDER: add one as a file here, which holds a `Game` called GAME."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from dataset_processing.synth.records import Game


def list_games() -> tuple[Game, ...]:
    """The games of all files here, in the order of their places."""
    found = [import_module(f"{__name__}.{module.name}").GAME for module in pkgutil.iter_modules(__path__)]
    # By their own numbers, not by name: a new game must not change which ones `synth --games N` writes.
    return tuple(sorted(found, key=lambda game: (game.place, game.name)))


GAMES = list_games()


def find_game(name: str) -> Game:
    """The record of that name; ValueError lists the known ones."""
    for game in GAMES:
        if game.name == name:
            return game
    raise ValueError(f"game must be one of {', '.join(game.name for game in GAMES)}, got {name!r}")
