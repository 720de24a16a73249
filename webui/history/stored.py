"""Stored values that may be nonsense: each is taken by itself, and what cannot be used is left out.

They come from other versions of this software, from other models, and from what editors and broken disks make of files:
settings that a browser remembers or a clip was made with, rows of the history, and a model's recommendation.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

from dualdiffusion.controls import AnyControl, read_controls
from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import read_json
from dualdiffusion.model.folder import ModelFolder
from sampling.recommended import Recommended, check_recommended, read_recommended
from sampling.request import Request
from webui.http.refusal import RefusedError

_LAST_POSITION = 2**50  # far below 2^53, up to which a browser counts exactly
_LAST_TIME = 1e11  # seconds since 1970; a browser's dates end soon after
_GOOD_POSITION = f"typeof(position) = 'integer' AND position BETWEEN 0 AND {_LAST_POSITION}"
_STATUSES = "'queued', 'running', 'done', 'failed', 'cancelled', 'interrupted'"
REPAIRS = (
    "id = lower(hex(randomblob(8))) WHERE typeof(id) != 'text' OR length(id) != 16 OR id GLOB '*[^0-9a-f]*'",
    f"position = rowid + (SELECT COALESCE(MAX(position), 0) FROM jobs WHERE {_GOOD_POSITION}) "
    f"WHERE NOT ({_GOOD_POSITION})",
    f"status = 'interrupted' WHERE status NOT IN ({_STATUSES})",
    *(
        f"{time} = 0 WHERE {time} IS NOT NULL AND "
        f"NOT (typeof({time}) IN ('real', 'integer') AND {time} BETWEEN 0 AND {_LAST_TIME})"
        for time in ("created", "started", "finished", "binned")
    ),
    *(
        f"{text} = NULL WHERE {text} IS NOT NULL AND typeof({text}) != 'text'"
        for text in ("error", "file", "fingerprint", "model", "games", "words", "parent")
    ),
    "title = '' WHERE typeof(title) != 'text'",
    "notes = '' WHERE typeof(notes) != 'text'",
    "request = '{}' WHERE typeof(request) != 'text'",
)
"""Updates of the history's table. SQLite takes any type in any column; what the page cannot use is replaced."""
MAX_WEIGHT = 100.0  # of a game in a mix; see sampling/request.py


def usable(
    said: dict[str, Any], games: Iterable[str], parse: Callable[[bytes], Request]
) -> tuple[dict[str, Any], dict[str, str]]:
    """What of a request's fields can be asked for, and of the rest why not.

    Args:
        said: some fields of a request, unchecked.
        games: the names that the model knows.
        parse: checks a whole request; raises RefusedError, which names the field.

    Returns:
        The fields that make a request together, and a sentence for each that was left out; a game is
        `games.<name>`.
    """
    known = list(games)
    kept = {name: value for name, value in said.items() if name in Request.model_fields}
    dropped = {name: f"{name}: no request has this" for name in said if name not in kept}
    for name in ("games", "games_end"):
        if name == "games_end" and kept.get(name, 0) is None:  # a mix that stays
            del kept[name]
        if name in kept:
            kept[name] = _known_games(kept[name], name, known, dropped)
            if not kept[name]:
                del kept[name]
    stand_in = {"games": dict.fromkeys(known[:1], 1.0)}

    def check(fields: dict[str, Any]) -> None:
        parse(json.dumps({**stand_in, **fields}).encode())

    kept, refused = _without_refused(kept, check)
    return kept, dropped | refused


def _without_refused(
    fields: dict[str, Any], check: Callable[[dict[str, Any]], Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Leaves out what `check` refuses, one field after another, until it takes the rest."""
    kept, refused = dict(fields), {}
    while True:
        try:
            check(kept)
            return kept, refused
        except RefusedError as refusal:
            blamed = _blamed(refusal, kept) or list(kept)
            if not blamed:
                return {}, refused  # not even the empty request will do: what is wrong was not said here
            for name in blamed:
                del kept[name]
                refused[name] = refusal.error


def _known_games(mix: object, field: str, known: list[str], dropped: dict[str, str]) -> dict[str, float]:
    if not isinstance(mix, dict):
        dropped[field] = f"{field}: must be an object of games and weights"
        return {}
    kept = {}
    for name, weight in mix.items():
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool) and abs(weight) <= MAX_WEIGHT
        if name not in known:
            dropped[f"{field}.{name}"] = f"{field}: this model does not know {name!r}"
        elif not is_number:
            dropped[f"{field}.{name}"] = f"{field}: the weight of {name!r} must be a number"
        else:
            kept[name] = weight
    return kept if any(kept.values()) else {}


def _blamed(refusal: RefusedError, kept: dict[str, Any]) -> list[str]:
    """The fields that a refusal is about: the one it names, or those at the beginning of its sentence."""
    names = [refusal.field.partition(".")[0]] if refusal.field else []
    subject = refusal.error.removeprefix("the body: ").partition(":")[0]
    names += [part.partition(".")[0] for part in subject.split(", ")]
    return [name for name in dict.fromkeys(names) if name in kept]


def finite(value: object) -> Any:
    """The value with null for numbers that JSON does not have, which would make an answer unreadable."""
    if isinstance(value, dict):
        return {str(name): finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def stored_request(text: object) -> dict[str, Any]:
    """The request in a row of the history as far as it can be read, with a mix of numbers in any case.

    Clips of the command line tell the path of their source, which is no page's business.
    """
    try:
        request = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        request = None
    request = finite(request) if isinstance(request, dict) else {}
    if isinstance(source := request.get("source"), dict):
        request["source"] = {name: value for name, value in source.items() if name != "path"}
    games = request.get("games")
    weights = games.items() if isinstance(games, dict) else ()
    return {**request, "games": {name: weight for name, weight in weights if isinstance(weight, int | float)}}


def usable_recommendation(folder: ModelFolder) -> Recommended:
    """What a model recommends; a field that cannot be used is left out and told in the terminal.

    A command refuses a damaged `request.json`; the page plays on, as a model plays without one, too.
    """
    source = str(folder.request_path)

    def check(fields: dict[str, Any]) -> None:
        try:
            check_recommended(fields, source)
        except UserError as error:
            raise RefusedError(422, str(error).removeprefix(f"{source}: ")) from None

    try:
        return read_recommended(folder)
    except UserError as error:
        print(f"{one_line(error)}; what cannot be used of it is left out", file=sys.stderr, flush=True)
    with contextlib.suppress(UserError, OSError):
        fields = read_json(folder.request_path)
        if isinstance(fields, dict):
            return Recommended(_without_refused(fields, check)[0])
    return Recommended()


def usable_controls(folder: ModelFolder) -> dict[str, AnyControl]:
    """What one may ask of a model beside games, by id; damaged ones are left out and told in the terminal.

    A model without a denoiser, which a page may be shown before there is one, has none.
    """
    try:
        entry = folder.read_index()["modules"].get("unet", {})
        return read_controls(entry, str(folder.index_path))
    except (UserError, KeyError, AttributeError) as error:
        print(f"{one_line(error)}; left out", file=sys.stderr, flush=True)
        return {}
