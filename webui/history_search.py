"""What the history is searched by: a column of words and one of games for each job, and the conditions on them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

VIEWS = {"all": "binned IS NULL", "starred": "binned IS NULL AND starred = 1", "bin": "binned IS NOT NULL"}
MARK = "\n"  # around each game in the column; no game has it in its name
MOST_WORDS = 20  # of a search; more make it slow, and find nothing


@dataclass(frozen=True)
class Search:
    """A part of the history: what is shown of it.

    Attributes:
        view: "all", "starred" or "bin".
        text: words that each must stand in name, notes, games, model, file or seed, as a whole or in part.
        game: a game of the mix; empty for any.
        model: the model that made it; empty for any.
    """

    view: str = "all"
    text: str = ""
    game: str = ""
    model: str = ""

    def condition(self) -> tuple[str, list[Any]]:
        """As SQL, with its values."""
        parts, values = ["status NOT IN ('queued', 'running')", VIEWS[self.view]], []
        if self.model:
            parts.append("model = ?")
            values.append(self.model)
        if self.game:
            parts.append("instr(games, ?) > 0")
            values.append(f"{MARK}{self.game}{MARK}")
        for word in self.text.casefold().split()[:MOST_WORDS]:
            parts.append("instr(words, ?) > 0")
            values.append(word)
        return " AND ".join(parts), values


def games_column(games: Iterable[str]) -> str:
    """The games of a mix, so that each can be found by itself."""
    return MARK + MARK.join(games) + MARK


def words_column(request: dict[str, Any], *more: str | None) -> str:
    """All that a search looks at, folded so that capitals do not matter."""
    seed = json.dumps(request.get("seed"))
    return "\n".join(filter(None, [*request["games"], seed, *more])).casefold()
