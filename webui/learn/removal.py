"""Generators that were removed: their folders lie in a bin until it is emptied.

<work>/generators/.bin/<name>.<when>/   what lay in <work>/generators/<name>; nanoseconds since 1970
<work>/datasets/.bin/<name>.<when>/     its dataset: beside the others, as another disk may hold them
<work>/generators/.bin/<name>.<when>/dataset/   the dataset of one that an earlier version has removed

The model stays where it is: clips were made with it, and the page may be playing it.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json
from webui.http.refusal import RefusedError

BIN = ".bin"
FORMER_DATASET = "dataset"


def remove(work: Path, name: str) -> None:
    """Moves a generator of which nothing runs into the bin; its file may be damaged.

    Raises:
        RefusedError: 503, it cannot be moved, and lies where it lay.
    """
    entry = f"{name}.{time.time_ns()}"
    with _told(name):
        _move_both(
            (work / "generators" / name, work / "generators" / BIN / entry),
            (work / "datasets" / name, work / "datasets" / BIN / entry),
        )


def restore(work: Path, name: str) -> None:
    """Brings back the generator of this name that was removed last.

    Raises:
        RefusedError: 404, there is none in the bin; 409, its name was taken meanwhile; 503, it cannot be moved.
    """
    folder, dataset = work / "generators" / name, work / "datasets" / name
    place = _newest(work).get(name)
    if place is None:
        raise RefusedError(404, "no generator of this name was removed", "name")
    if folder.exists() or dataset.exists():
        raise RefusedError(409, f"name: there is something called {name!r} already; remove that first", "name")
    former = place / FORMER_DATASET
    with_it = former if former.exists() else work / "datasets" / BIN / place.name
    with _told(name):
        _move_both((with_it, dataset), (place, folder))


def removed(work: Path) -> list[dict[str, Any]]:
    """What can be brought back, the last one first: [{"name", "label", "removed": seconds since 1970}]."""
    found = sorted(_newest(work).items(), key=lambda item: -_when(item[1]))
    return [{"name": name, "label": _label(place) or name, "removed": _when(place) / 1e9} for name, place in found]


def empty(work: Path) -> None:
    """Deletes for good what lies in the bin; models stay.

    Raises:
        RefusedError: 503, some of it cannot be deleted, and is still there.
    """
    with _told("the bin"):
        for place in (work / "datasets" / BIN, work / "generators" / BIN):
            if place.exists():
                shutil.rmtree(place)


def _move_both(first: tuple[Path, Path], second: tuple[Path, Path]) -> None:
    """Renames two folders, or none; one that is not there stays so."""
    done: list[tuple[Path, Path]] = []
    try:
        for origin, goal in (first, second):
            if origin.exists():
                goal.parent.mkdir(parents=True, exist_ok=True)
                origin.rename(goal)
                done.append((origin, goal))
    except OSError:
        for origin, goal in reversed(done):
            goal.rename(origin)
        raise


def _newest(work: Path) -> dict[str, Path]:
    """Of each name in the bin, the folder that was removed last."""
    places = [path for path in (work / "generators" / BIN).glob("*.*") if path.suffix[1:].isdecimal()]
    return {path.stem: path for path in sorted(places, key=_when)}


def _when(place: Path) -> int:
    return int(place.suffix[1:])


def _label(place: Path) -> str:
    """What the page called it; empty where it had no name but that of its folder, or its file is damaged."""
    try:
        chosen = read_json(place / "generator.json")
    except UserError:
        return ""
    label = chosen.get("label") if isinstance(chosen, dict) else None
    return label if isinstance(label, str) else ""


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RefusedError(503, f"{name} cannot be moved: {error.strerror or error}") from None
