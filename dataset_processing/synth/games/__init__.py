"""The built-in games, one record in a file each: add one as a file here, and to the list below."""

from __future__ import annotations

from dataset_processing.synth.games.castle import CASTLE
from dataset_processing.synth.games.cave import CAVE
from dataset_processing.synth.games.circuit import CIRCUIT
from dataset_processing.synth.games.foundry import FOUNDRY
from dataset_processing.synth.games.harbor import HARBOR
from dataset_processing.synth.games.meadow import MEADOW
from dataset_processing.synth.games.orbit import ORBIT
from dataset_processing.synth.games.temple import TEMPLE
from dataset_processing.synth.records import Game

GAMES: tuple[Game, ...] = (CASTLE, CAVE, CIRCUIT, HARBOR, ORBIT, TEMPLE, MEADOW, FOUNDRY)


def find_game(name: str) -> Game:
    """The record of that name; ValueError lists the known ones."""
    for game in GAMES:
        if game.name == name:
            return game
    raise ValueError(f"game must be one of {', '.join(game.name for game in GAMES)}, got {name!r}")
