"""Generators that were removed: their folders lie in `<work>/generators/.bin` until somebody empties that by hand.

<work>/generators/.bin/<name>.<when>/           what lay in <work>/generators/<name>; nanoseconds since 1970
<work>/generators/.bin/<name>.<when>/dataset/   its dataset

The model stays where it is: clips were made with it, and the page may be playing it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from webui.http.refusal import RefusedError
from webui.learn.generator import Generator

DATASET = "dataset"


def remove(generator: Generator) -> None:
    """Moves a generator of which nothing runs into the bin.

    Raises:
        RefusedError: 503, it cannot be moved, and lies where it lay.
    """
    name = generator.chosen.name
    place = _bin(generator.work) / f"{name}.{time.time_ns()}"
    with _told(name):
        place.parent.mkdir(parents=True, exist_ok=True)
        generator.folder.rename(place)
        try:
            if generator.dataset.exists():
                generator.dataset.rename(place / DATASET)
        except OSError:
            place.rename(generator.folder)
            raise


def restore(work: Path, name: str) -> None:
    """Brings back the generator of this name that was removed last.

    Raises:
        RefusedError: 404, there is none in the bin; 409, its name was taken meanwhile; 503, it cannot be moved.
    """
    folder, dataset = work / "generators" / name, work / "datasets" / name
    removed = {int(path.suffix[1:]): path for path in _bin(work).glob(f"{name}.*") if path.suffix[1:].isdecimal()}
    if not removed:
        raise RefusedError(404, "no generator of this name was removed", "name")
    if folder.exists() or dataset.exists():
        raise RefusedError(409, f"name: there is something called {name!r} already; remove that first", "name")
    place = removed[max(removed)]
    with_it = place / DATASET
    with _told(name):
        if with_it.exists():
            dataset.parent.mkdir(parents=True, exist_ok=True)
            with_it.rename(dataset)
        try:
            place.rename(folder)
        except OSError:
            if dataset.exists():
                dataset.rename(with_it)
            raise


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RefusedError(503, f"{name} cannot be moved: {error.strerror or error}") from None


def _bin(work: Path) -> Path:
    return work / "generators" / ".bin"
