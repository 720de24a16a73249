"""The queue and the history: every job that was ever accepted, in one SQLite file that survives being killed.

queued -> running -> done | failed | cancelled
                  -> interrupted   (found running when the server starts)
queued -> cancelled
failed | cancelled | interrupted -> queued   (retry)
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualdiffusion.errors import UserError
from webui.stored import REPAIRS, stored_request

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    position INTEGER NOT NULL UNIQUE,
    idempotency_key TEXT UNIQUE,
    status TEXT NOT NULL,
    request TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    error TEXT,
    file TEXT,
    fingerprint TEXT,
    title TEXT NOT NULL DEFAULT '',
    starred INTEGER NOT NULL DEFAULT 0,
    binned REAL
);
CREATE INDEX jobs_by_status ON jobs (status, position);
"""
ACTIVE = ("queued", "running")
RETRIABLE = ("failed", "cancelled", "interrupted")
VIEWS = {"all": "binned IS NULL", "starred": "binned IS NULL AND starred = 1", "bin": "binned IS NOT NULL"}


class QueueFullError(Exception):
    """As many jobs wait as the queue admits."""


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

    @staticmethod
    def from_row(row: sqlite3.Row) -> Job:
        """A job as the database holds it."""
        values = {key: row[key] for key in row.keys() if key != "idempotency_key"}  # noqa: SIM118 (a Row is no dict)
        return Job(**{**values, "request": stored_request(row["request"]), "starred": bool(row["starred"])})


class JobStore:
    """The database. Every method is one transaction, safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the database, and marks jobs that a dead server left running as interrupted.

        Raises:
            UserError: the file is not a history, or one of newer software.
        """
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._migrate(path)
            self._repair()
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{path}: cannot be used as the history: {error}; move it away to start a new one"
            ) from None
        self._interrupt_running()

    def _migrate(self, path: Path) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise UserError(f"{path}: was written by newer software; update, or move it away to start a new history")
        if version == 0:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def _repair(self) -> None:
        """A row of nonsense must neither hide the others nor stop new ones."""
        with self._transaction() as db:
            for repair in REPAIRS:
                db.execute(f"UPDATE jobs SET {repair}")

    def _interrupt_running(self) -> None:
        with self._transaction() as db:
            db.execute(
                "UPDATE jobs SET status = 'interrupted', finished = ?, error = ? WHERE status = 'running'",
                (time.time(), "the server stopped while this was being made; try it again"),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._db.close()

    def add(self, request: dict[str, Any], limit: int, key: str | None = None) -> tuple[Job, bool]:
        """Queues a request; returns the job, and False where a job with this idempotency key was there already.

        Raises:
            QueueFullError: `limit` jobs wait or run.
        """
        with self._transaction() as db:
            known = db.execute("SELECT * FROM jobs WHERE idempotency_key = ?", (key,)).fetchone() if key else None
            if known:
                return Job.from_row(known), False
            self._check_room(db, limit)
            job_id = secrets.token_hex(8)
            db.execute(
                "INSERT INTO jobs (id, position, idempotency_key, status, request, created) "
                "VALUES (?, (SELECT COALESCE(MAX(position), 0) + 1 FROM jobs), ?, 'queued', ?, ?)",
                (job_id, key, json.dumps(request), time.time()),
            )
            return Job.from_row(db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()), True

    @staticmethod
    def _check_room(db: sqlite3.Connection, limit: int) -> None:
        if db.execute("SELECT COUNT(*) FROM jobs WHERE status IN (?, ?)", ACTIVE).fetchone()[0] >= limit:
            raise QueueFullError

    def get(self, job_id: str) -> Job | None:
        """The job, or None where there is none."""
        with self._lock:
            row = self._db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return Job.from_row(row) if row else None

    def active(self) -> list[Job]:
        """Running and queued jobs in the order in which they are made."""
        with self._lock:
            rows = self._db.execute("SELECT * FROM jobs WHERE status IN (?, ?) ORDER BY position", ACTIVE).fetchall()
        return [Job.from_row(row) for row in rows]

    def finished(self, view: str = "all", before: int | None = None, limit: int = 50) -> list[Job]:
        """One page of the history, newest first; `before` is the position of the last job of the page above."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT * FROM jobs WHERE status NOT IN (?, ?) AND {VIEWS[view]} AND position < ? "
                "ORDER BY position DESC LIMIT ?",
                (*ACTIVE, before if before is not None else 2**62, limit),
            ).fetchall()
        return [Job.from_row(row) for row in rows]

    def claim_next(self) -> Job | None:
        """Turns the first queued job into the running one."""
        with self._transaction() as db:
            row = db.execute("SELECT id FROM jobs WHERE status = 'queued' ORDER BY position LIMIT 1").fetchone()
            if row is None:
                return None
            db.execute("UPDATE jobs SET status = 'running', started = ? WHERE id = ?", (time.time(), row["id"]))
            return Job.from_row(db.execute("SELECT * FROM jobs WHERE id = ?", (row["id"],)).fetchone())

    def finish(
        self,
        job_id: str,
        status: str,
        *,
        error: str | None = None,
        file: str | None = None,
        fingerprint: str | None = None,
    ) -> bool:
        """Ends the running job; False if it was not running."""
        with self._transaction() as db:
            # A name can come back after its file was removed by hand; the older item must not claim the newer file.
            db.execute("UPDATE jobs SET file = NULL WHERE file = ? AND binned IS NULL", (file,))
            changed = db.execute(
                "UPDATE jobs SET status = ?, finished = ?, error = ?, file = ?, fingerprint = ? "
                "WHERE id = ? AND status = 'running'",
                (status, time.time(), error, file, fingerprint, job_id),
            )
            return changed.rowcount == 1

    def cancel_queued(self, job_id: str) -> bool:
        """Cancels a job that has not started; False if it has."""
        return self._update(
            "status = 'cancelled', finished = ? WHERE id = ? AND status = 'queued'", (time.time(), job_id)
        )

    def retry(self, job_id: str, limit: int) -> bool:
        """Puts a job that came to nothing at the end of the queue; False if it is no such job.

        Raises:
            QueueFullError: `limit` jobs wait or run.
        """
        with self._transaction() as db:
            self._check_room(db, limit)
            changed = db.execute(
                "UPDATE jobs SET status = 'queued', error = NULL, started = NULL, finished = NULL, binned = NULL, "
                "position = (SELECT MAX(position) + 1 FROM jobs) WHERE id = ? AND status IN (?, ?, ?)",
                (job_id, *RETRIABLE),
            )
            return changed.rowcount == 1

    def set_title(self, job_id: str, title: str) -> bool:
        """Gives a job another title."""
        return self._update("title = ? WHERE id = ?", (title, job_id))

    def set_starred(self, job_id: str, starred: bool) -> bool:
        """Stars a job, or takes the star away."""
        return self._update("starred = ? WHERE id = ?", (int(starred), job_id))

    def set_binned(self, job_id: str, binned: bool, file: str | None) -> bool:
        """Moves a finished job between history and bin; `file` is the name that its audio has there."""
        return self._update(
            "binned = ?, file = ? WHERE id = ? AND status NOT IN (?, ?)",
            (time.time() if binned else None, file, job_id, *ACTIVE),
        )

    def _update(self, change: str, values: tuple[Any, ...]) -> bool:
        with self._transaction() as db:
            return db.execute(f"UPDATE jobs SET {change}", values).rowcount == 1
