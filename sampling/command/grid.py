"""Many requests from one: all combinations of some values, and of seeds.

Imports no torch: everything is validated before anything is loaded.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from dualdiffusion.config import nearest, split_values, validate
from dualdiffusion.errors import UserError
from sampling.recommended import Asked, Recommended
from sampling.request import Request

MOST_CLIPS = 1000
GAME, SEED = "game", "seed"


@dataclass(frozen=True)
class Axis:
    """What varies.

    Attributes:
        key: of the request, dotted where it lies deeper; `game` stands for a mix of that game alone.
        values: JSON values.
    """

    key: str
    values: tuple[JsonValue, ...]

    def label(self, index: int) -> str:
        """A value as text, such as `Castle 0.7, Cave 0.3`."""
        value = self.values[index]
        if isinstance(value, dict):
            return ", ".join(f"{name} {_text(weight)}" for name, weight in value.items())
        return _text(value)


@dataclass(frozen=True)
class Cell:
    """One combination: its request, and for each axis the value's text."""

    labels: tuple[str, ...]
    request: Request


def parse_seeds(text: str) -> Axis:
    """The axis of `1-16` or `3,7,9-12`; what is named twice counts once.

    Raises:
        UserError: not such a list, a range that falls, or absurdly many.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,16})\s*(?:-\s*(\d{1,16})\s*)?", part, re.ASCII)
        if not match:
            raise UserError(f"--seeds {text}: must be whole numbers and ranges, such as 1-16 or 3,7,9-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"--seeds {text}: the range {part.strip()} falls; write {last}-{first}")
        check_count(last - first + 1 + len(seeds), f"--seeds {text}")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return Axis(SEED, tuple(seeds))


def parse_grid(options: Iterable[str]) -> list[Axis]:
    """The axes of `KEY=VALUE,VALUE,...` options.

    Raises:
        UserError: not such an option, an unknown key (the message gives the nearest), a key or value given twice.
    """
    axes: list[Axis] = []
    for option in options:
        key, separator, text = (part.strip() for part in option.partition("="))
        if not separator or not text:
            raise UserError(f"--grid {option}: must be KEY=VALUE,VALUE,... such as cfg_scale=1,2,4")
        known = [*Request.model_fields, GAME]
        if key.partition(".")[0] not in known:
            hint = nearest(key, known)
            raise UserError(f"--grid {key}: unknown key; " + (f"did you mean {hint[0]}?" if hint else ", ".join(known)))
        if any(axis.key == key for axis in axes):
            raise UserError(f"--grid {key}: is given twice; give all its values at once: {key}=VALUE,VALUE")
        axes.append(Axis(key, tuple(_value(value, key) for value in split_values(text))))
    return axes


def combinations(asked: Asked, axes: Sequence[Axis], source: str, recommended: Recommended) -> list[Cell]:
    """All combinations of the axes' values with what else is asked, the last axis varying fastest.

    Args:
        source: where the request comes from, for errors.
        recommended: what holds where neither says anything; what belongs to a sampler, only beside that one.

    Raises:
        UserError: a combination that is no valid request, two that are the same, or absurdly many.
    """
    check_count(math.prod(len(axis.values) for axis in axes), "the grid")
    cells: dict[str, Cell] = {}
    for indices in itertools.product(*(range(len(axis.values)) for axis in axes)):
        labels = tuple(axis.label(index) for axis, index in zip(axes, indices, strict=True))
        here = asked
        for axis, index in zip(axes, indices, strict=True):
            here = _with_value(here, axis.key, axis.values[index])
        data = here.over(recommended)
        varied = ", ".join(f"{axis.key}={label}" for axis, label in zip(axes, labels, strict=True) if axis.key != SEED)
        where = f"{source} with {varied}" if varied else source
        if "games" not in data:
            raise UserError('no game is asked for; give one or more: --game "Castle=0.7"')
        cell = Cell(labels, validate(Request, data, where))
        text = json.dumps(cell.request.to_json(), sort_keys=True)
        if text in cells:
            raise UserError(f"{where}: is the same request as another of the grid; give no value twice")
        cells[text] = cell
    return list(cells.values())


def check_count(count: int, what: str) -> None:
    """Refuses what can only be a slip of the keyboard."""
    if count > MOST_CLIPS:
        raise UserError(f"{what}: would be {count:,} clips, more than {MOST_CLIPS:,}; ask for fewer at a time")


def _with_value(asked: Asked, key: str, value: JsonValue) -> Asked:
    if key == GAME:
        return asked.and_field("games", {str(value): 1.0})
    if "." not in key:  # whole, where an override would lay an object over the old one
        return asked.and_field(key, value)
    return asked.and_override(f"{key}={json.dumps(value)}")


def _value(text: str, key: str) -> JsonValue:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text.strip()
    return value if key != GAME or isinstance(value, str) else text.strip()  # a game may be called 1.50


def _text(value: JsonValue) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
