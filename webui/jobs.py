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
MIGRATIONS = (
    SCHEMA,
    """
    ALTER TABLE jobs ADD COLUMN parent TEXT;
    CREATE INDEX jobs_by_parent ON jobs (parent);
    """,
)
"""What brings a history from each version to the next; version 0 is an empty file."""
SCHEMA_VERSION = len(MIGRATIONS)
MAX_FAMILY = 500  # versions of a clip that are told; more would be no tree that one can see
ACTIVE = ("queued", "running")
RETRIABLE = ("failed", "cancelled", "interrupted")
VIEWS = {"all": "binned IS NULL", "starred": "binned IS NULL AND starred = 1", "bin": "binned IS NOT NULL"}

# Ways to open the history, the best first: options of the address, and what is said before the first transaction. One
# server alone has the outputs folder (its lock sees to that), so that neither memory shared between processes nor
# SQLite's own locks are needed; shares of other machines have at times neither.
ALONE = ("PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=TRUNCATE")
WAYS = (("", ("PRAGMA journal_mode=WAL",)), ("", ALONE), ("?vfs=unix-none", ALONE), ("?nolock=1", ALONE))


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
    parent: str | None = None
    """Id of the clip that this is a version of."""

    @staticmethod
    def from_row(row: sqlite3.Row) -> Job:
        """A job as the database holds it."""
        values = {key: row[key] for key in row.keys() if key != "idempotency_key"}  # noqa: SIM118 (a Row is no dict)
        return Job(**{**values, "request": stored_request(row["request"]), "starred": bool(row["starred"])})


def _connect(path: Path) -> sqlite3.Connection:
    """Opens the database in the first of WAYS in which it can be written.

    Raises:
        sqlite3.DatabaseError: in none; what went wrong with the first.
    """
    errors: list[sqlite3.OperationalError] = []
    for options, words in WAYS:
        address = path.absolute().as_uri() + options
        db = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
        try:
            # With FULL, what was committed survives a power cut. The transaction shows whether there are locks.
            for statement in (*words, "PRAGMA synchronous=FULL", "BEGIN IMMEDIATE", "COMMIT"):
                db.execute(statement)
            return db
        except sqlite3.OperationalError as error:
            errors.append(error)
            db.close()
        except BaseException:
            db.close()
            raise
    raise errors[0]


class JobStore:
    """The database. Every method is one transaction, safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the database, and marks jobs that a dead server left running as interrupted.

        Raises:
            UserError: the file is not a history, or one of newer software.
        """
        self._lock = threading.Lock()
        try:
            self._db = _connect(path)
            self._db.row_factory = sqlite3.Row
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
        for number in range(version, SCHEMA_VERSION):
            self._db.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")

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

    def add(
        self, request: dict[str, Any], limit: int, key: str | None = None, parent: str | None = None
    ) -> tuple[Job, bool]:
        """Queues a request; returns the job, and False where a job with this idempotency key was there already.

        Args:
            parent: id of the clip that this becomes a version of.

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
                "INSERT INTO jobs (id, position, idempotency_key, status, request, created, parent) "
                "VALUES (?, (SELECT COALESCE(MAX(position), 0) + 1 FROM jobs), ?, 'queued', ?, ?, ?)",
                (job_id, key, json.dumps(request), time.time(), parent),
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

    def family(self, job_id: str) -> list[Job]:
        """All versions of a clip, oldest first: what it was made from, and what was made from any of them."""
        with self._lock:
            # UNION drops what was seen before: rows of nonsense may name each other as parents.
            rows = self._db.execute(
                """
                WITH RECURSIVE
                up(id, parent) AS (
                    SELECT id, parent FROM jobs WHERE id = ?
                    UNION SELECT jobs.id, jobs.parent FROM jobs JOIN up ON jobs.id = up.parent
                ),
                down(id) AS (
                    SELECT id FROM up UNION SELECT jobs.id FROM jobs JOIN down ON jobs.parent = down.id
                )
                SELECT * FROM jobs WHERE id IN (SELECT id FROM down) ORDER BY created, position LIMIT ?
                """,
                (job_id, MAX_FAMILY),
            ).fetchall()
        return [Job.from_row(row) for row in rows]

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
