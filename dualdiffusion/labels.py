"""The games: class ids, names, and weighted mixes of them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from dualdiffusion.config import nearest
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json


def normal_form(name: str) -> str:
    """A game's name in the one form in which names are compared (Unicode NFC): an accent may be a character of its own.

    Macs write names of files with combining accents, and most keyboards write them without.
    """
    return unicodedata.normalize("NFC", name)


# Marks that keyboards, word processors and web pages give in several forms.
_MARKS = {
    **dict.fromkeys(map(ord, "\u2018\u2019\u02bc"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d"), '"'),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-"),
}


def typed_form(name: str) -> str:
    """A name as most keyboards would write it. Names that look the same to people have the same typed form.

    Plain spaces, quotes and hyphens, characters of one width (Unicode NFKC), and nothing invisible.
    """
    plain = unicodedata.normalize("NFKC", name.translate(_MARKS)).translate(_MARKS)
    return " ".join("".join(c for c in plain if unicodedata.category(c) != "Cf").split())


@dataclass(frozen=True)
class Game:
    """One class. `tracks` is how many training tracks the dataset holds of it; 0 for a game no longer in the data."""

    id: int
    name: str
    tracks: int


@dataclass(frozen=True)
class Labels:
    """The games that a model or dataset knows, ordered by id. Ids start at 0 and never change."""

    games: tuple[Game, ...]

    @property
    def names(self) -> list[str]:
        """The games' names, ordered by id."""
        return [game.name for game in self.games]

    @property
    def dim(self) -> int:
        """Length of a label vector: one more than the largest id."""
        # Not their number: ids of games that left the dataset stay taken.
        return max((game.id for game in self.games), default=-1) + 1

    def id_of(self, name: str) -> int:
        """The id of a game; see `find`."""
        return self.find(name).id

    def find(self, name: str) -> Game:
        """The game of that very name, or the only one whose name looks the same.

        Raises:
            UserError: no game has this name; the message gives the nearest names.
        """
        wanted = normal_form(name)
        for game in self.games:
            if game.name == wanted:
                return game
        typed = typed_form(name)
        alike = [game for game in self.games if typed_form(game.name) == typed]
        if len(alike) == 1:
            return alike[0]
        hint = nearest(name, self.names, count=3) or self.names[:5]
        raise UserError(f"unknown game {name!r}; nearest: {', '.join(hint)}")

    def named(self, mix: Mapping[str, float]) -> dict[str, float]:
        """A mix with the games' names as they stand here.

        Raises:
            UserError: an unknown game.
        """
        named: dict[str, float] = {}
        for name, weight in mix.items():
            own = self.find(name).name
            named[own] = named.get(own, 0.0) + weight
        return named

    def vector(self, weights: Mapping[str, float]) -> list[float]:
        """The label vector of a weighted mix, scaled to unit length; negative weights push away from a game.

        Scaling makes 2:1 and 200:100 the same mix, and gives every mix the magnitude of a single game's one-hot
        vector, which is what the network was trained on.

        Raises:
            UserError: an unknown game, or no weight other than zero.
        """
        vector = [0.0] * self.dim
        for name, weight in weights.items():
            vector[self.id_of(name)] += weight
        length = math.sqrt(sum(value * value for value in vector))
        if length == 0:
            raise UserError("games: at least one game needs a weight other than 0")
        return [value / length for value in vector]

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"games": [{"id": game.id, "name": game.name, "tracks": game.tracks} for game in self.games]}

    @staticmethod
    def from_json(data: JsonValue, source: Path) -> Labels:
        """Reads the `games` list of labels.json or dataset_info.json; other keys of a game are ignored.

        Raises:
            UserError: the list is missing or malformed.
        """
        try:
            games = tuple(
                Game(int(game["id"]), normal_form(str(game["name"])), int(game["tracks"])) for game in data["games"]
            )
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{source}: games: must be a list of objects with id, name and tracks") from None
        return Labels(tuple(sorted(games, key=lambda game: game.id)))

    @staticmethod
    def load(path: Path) -> Labels:
        """Reads a model's labels.json or a dataset's dataset_info.json.

        Raises:
            UserError: no such file, or not of this kind.
        """
        return Labels.from_json(read_json(path), path)

    def save(self, path: Path) -> None:
        """Writes labels.json, atomically."""
        write_json(path, self.to_json())
