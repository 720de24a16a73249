"""One job of the queue and the history, and a clip that comes from elsewhere."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, fields
from typing import Any

from webui.stored import stored_request


@dataclass(frozen=True)
class Job:
    """One row. Times are seconds since 1970; `file` is a name within the outputs folder, never a path."""

    id: str
    position: int
    status: str
    request: dict[str, Any]
    created: float
    started: float | None
    finished: float | None
    error: str | None
    file: str | None
    fingerprint: str | None
    title: str
    starred: bool
    binned: float | None
    model: str | None
    notes: str
    parent: str | None
    """Id of the clip that this is a version of."""

    @staticmethod
    def from_row(row: sqlite3.Row) -> Job:
        """A job as the database holds it."""
        values = {name: row[name] for name in COLUMNS}
        return Job(**{**values, "request": stored_request(row["request"]), "starred": bool(row["starred"])})


COLUMNS = tuple(column.name for column in fields(Job))


@dataclass(frozen=True)
class Clip:
    """An audio file that tells how it was made; `made` in seconds since 1970."""

    file: str
    request: dict[str, Any]
    made: float
    model: str | None
    fingerprint: str | None
    binned: bool = False
