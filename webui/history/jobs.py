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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from webui.history.database import HistoryFile, is_damage
from webui.history.job import Clip, Job
from webui.history.search import MARK, Search, games_column, words_column
from webui.http.refusal import RefusedError

ACTIVE = ("queued", "running")
RETRIABLE = ("failed", "cancelled", "interrupted")
MAX_FAMILY = 500  # versions of a clip that are told; more would be no tree that one can see


class JobStore:
    """The database. Every method is one transaction, safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the database, and marks jobs that a dead server left running as interrupted.

        Raises:
            UserError: the file is not a history, or one of newer software.
        """
        self._lock = threading.Lock()
        self._file = HistoryFile(path)
        self._interrupt_running()
        self._fill_in()

    def _interrupt_running(self) -> None:
        with self._transaction() as db:
            db.execute(
                "UPDATE jobs SET status = 'interrupted', finished = ?, error = ? WHERE status = 'running'",
                (time.time(), "the server stopped while this was being made; try it again"),
            )

    def _fill_in(self) -> None:
        """Fills in what searches look at, where older software has written the row."""
        with self._transaction() as db:
            for row in db.execute("SELECT * FROM jobs WHERE words IS NULL").fetchall():
                _index(db, Job.from_row(row))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._present() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # A COMMIT may fail, too, on a full disk; what stays open would block all that follows.
                with suppress(sqlite3.Error):
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                raise

    @contextmanager
    def _present(self) -> Iterator[sqlite3.Connection]:
        """The database for this thread alone."""
        with self._lock:
            try:
                yield self._file.present()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._file.mend()
                raise sqlite3.DatabaseError("it was damaged, and has been mended; try again") from None

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._file.close()

    def add(
        self,
        request: dict[str, Any],
        limit: int,
        key: str | None = None,
        model: str | None = None,
        parent: str | None = None,
    ) -> tuple[Job, bool]:
        """Queues a request for a model; returns the job, and False where one with this idempotency key was there.

        Args:
            parent: id of the clip that this becomes a version of.

        Raises:
            RefusedError: 429, `limit` jobs wait or run.
        """
        with self._transaction() as db:
            known = db.execute("SELECT * FROM jobs WHERE idempotency_key = ?", (key,)).fetchone() if key else None
            if known:
                return Job.from_row(known), False
            self._check_room(db, limit)
            job_id = secrets.token_hex(8)
            db.execute(
                "INSERT INTO jobs (id, position, idempotency_key, status, request, created, model, parent) "
                "VALUES (?, (SELECT COALESCE(MAX(position), 0) + 1 FROM jobs), ?, 'queued', ?, ?, ?, ?)",
                (job_id, key, json.dumps(request), time.time(), model, parent),
            )
            return _indexed(db, job_id), True

    @staticmethod
    def _check_room(db: sqlite3.Connection, limit: int) -> None:
        if db.execute("SELECT COUNT(*) FROM jobs WHERE status IN (?, ?)", ACTIVE).fetchone()[0] >= limit:
            raise RefusedError(429, "the queue is full; wait for a job to end, or cancel some")

    def get(self, job_id: str) -> Job | None:
        """The job, or None where there is none."""
        with self._present() as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return Job.from_row(row) if row else None

    def family(self, job_id: str) -> list[Job]:
        """All versions of a clip, oldest first: what it was made from, and what was made from any of them."""
        with self._present() as db:
            # UNION drops what was seen before: rows of nonsense may name each other as parents.
            rows = db.execute(
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
        with self._present() as db:
            rows = db.execute("SELECT * FROM jobs WHERE status IN (?, ?) ORDER BY position", ACTIVE).fetchall()
        return [Job.from_row(row) for row in rows]

    def finished(
        self, search: Search | str = "all", before: int | None = None, limit: int = 50, offset: int = 0
    ) -> list[Job]:
        """One page of the history, newest first.

        Args:
            search: what is shown of it, or the name of a view.
            before: the position of the last job of the page above; None for the first page.
            offset: jobs to leave out at the beginning.
        """
        condition, values = (Search(search) if isinstance(search, str) else search).condition()
        place, bound = ("", []) if before is None else ("AND position < ? ", [before])
        with self._present() as db:
            # The inner search reads the index alone.
            rows = db.execute(
                f"SELECT * FROM jobs WHERE position IN (SELECT position FROM jobs WHERE {condition} {place}"
                "ORDER BY position DESC LIMIT ? OFFSET ?) ORDER BY position DESC",
                (*values, *bound, limit, offset),
            ).fetchall()
        return [Job.from_row(row) for row in rows]

    def count(self, search: Search) -> int:
        """How many jobs of the history a search finds."""
        condition, values = search.condition()
        with self._present() as db:
            return db.execute(f"SELECT COUNT(*) FROM jobs WHERE {condition}", values).fetchone()[0]

    def ids(self, search: Search) -> list[str]:
        """Of all jobs that a search finds, newest first."""
        condition, values = search.condition()
        with self._present() as db:
            rows = db.execute(f"SELECT id FROM jobs WHERE {condition} ORDER BY position DESC", values).fetchall()
        return [row["id"] for row in rows]

    def choices(self) -> dict[str, list[str]]:
        """What the history can be narrowed down to: {"games", "models"}, each sorted."""
        with self._present() as db:
            mixes = db.execute("SELECT DISTINCT games FROM jobs WHERE status NOT IN ('queued', 'running')").fetchall()
            models = db.execute("SELECT DISTINCT model FROM jobs WHERE model != ''").fetchall()
        games = {game for row in mixes for game in (row["games"] or "").split(MARK) if game}
        return {"games": sorted(games), "models": sorted(row["model"] for row in models)}

    def files(self) -> set[tuple[str, bool]]:
        """The names of all audio files that belong to a job, with whether they lie in the bin."""
        with self._present() as db:
            rows = db.execute("SELECT file, binned FROM jobs WHERE file IS NOT NULL").fetchall()
        return {(row["file"], row["binned"] is not None) for row in rows}

    def take_in(self, clips: list[Clip]) -> int:
        """Adds clips that were made elsewhere, the oldest first; returns how many of them were not there.

        Asked within the transaction: two who look at once both find the same clips.
        """
        now, count = time.time(), 0
        with self._transaction() as db:
            for clip in clips:
                known = "SELECT 1 FROM jobs WHERE file = ? AND (binned IS NOT NULL) = ?"
                if db.execute(known, (clip.file, clip.binned)).fetchone():
                    continue
                job_id = secrets.token_hex(8)
                count += 1
                db.execute(
                    "INSERT INTO jobs (id, position, status, request, created, finished, file, fingerprint, model, "
                    "binned) VALUES (?, (SELECT COALESCE(MAX(position), 0) + 1 FROM jobs), 'done', "
                    "?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(job_id, json.dumps(clip.request), clip.made, clip.made, clip.file, clip.fingerprint),
                        *(clip.model, now if clip.binned else None),
                    ),
                )
                _indexed(db, job_id)
        return count

    def next_queued(self) -> Job | None:
        """The job that is made next; None where nothing waits."""
        with self._present() as db:
            row = db.execute("SELECT * FROM jobs WHERE status = 'queued' ORDER BY position LIMIT 1").fetchone()
        return Job.from_row(row) if row else None

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
        finished: float | None = None,
    ) -> bool:
        """Ends the running job, at `finished` or now; False if it was not running."""
        with self._transaction() as db:
            # A clip may be taken in between the moment it is written and this one; then it had no start.
            db.execute(
                "DELETE FROM jobs WHERE file = ? AND binned IS NULL AND status = 'done' AND started IS NULL", (file,)
            )
            # A name can come back after its file was removed by hand; the older item must not claim the newer file.
            db.execute("UPDATE jobs SET file = NULL WHERE file = ? AND binned IS NULL", (file,))
            changed = db.execute(
                "UPDATE jobs SET status = ?, finished = ?, error = ?, file = ?, fingerprint = ? "
                "WHERE id = ? AND status = 'running'",
                (status, finished or time.time(), error, file, fingerprint, job_id),
            )
            if changed.rowcount == 1:
                _indexed(db, job_id)
            return changed.rowcount == 1

    def cancel_queued(self, job_id: str) -> bool:
        """Cancels a job that has not started; False if it has."""
        return self._update(
            "status = 'cancelled', finished = ? WHERE id = ? AND status = 'queued'", (time.time(), job_id)
        )

    def retry(self, job_id: str, limit: int) -> bool:
        """Puts a job that came to nothing at the end of the queue; False if it is no such job.

        Raises:
            RefusedError: 429, `limit` jobs wait or run.
        """
        with self._transaction() as db:
            self._check_room(db, limit)
            changed = db.execute(
                "UPDATE jobs SET status = 'queued', error = NULL, started = NULL, finished = NULL, binned = NULL, "
                "position = (SELECT MAX(position) + 1 FROM jobs) WHERE id = ? AND status IN (?, ?, ?)",
                (job_id, *RETRIABLE),
            )
            return changed.rowcount == 1

    def edit(
        self, job_ids: Sequence[str], *, title: str | None = None, notes: str | None = None, starred: bool | None = None
    ) -> None:
        """Changes jobs; None leaves as it is."""
        changes = {"title": title, "notes": notes, "starred": None if starred is None else int(starred)}
        with self._transaction() as db:
            for name, value in changes.items():
                if value is not None:
                    db.executemany(f"UPDATE jobs SET {name} = ? WHERE id = ?", [(value, job_id) for job_id in job_ids])
            if title is not None or notes is not None:
                for job_id in job_ids:
                    _indexed(db, job_id)

    def set_binned(self, files: dict[str, str | None], binned: bool) -> None:
        """Moves finished jobs between history and bin.

        Args:
            files: by id of the job, the name that its audio has there.
        """
        when = time.time() if binned else None
        with self._transaction() as db:
            db.executemany(
                "UPDATE jobs SET binned = ?, file = ? WHERE id = ? AND status NOT IN ('queued', 'running')",
                [(when, file, job_id) for job_id, file in files.items()],
            )

    def remove(self, job_ids: Sequence[str]) -> None:
        """Forgets jobs that are in the bin."""
        with self._transaction() as db:
            db.executemany("DELETE FROM jobs WHERE id = ? AND binned IS NOT NULL", [(job_id,) for job_id in job_ids])

    def _update(self, change: str, values: tuple[Any, ...]) -> bool:
        with self._transaction() as db:
            return db.execute(f"UPDATE jobs SET {change}", values).rowcount == 1


def _indexed(db: sqlite3.Connection, job_id: str) -> Job:
    """The job, after what searches look at was brought up to date."""
    job = Job.from_row(db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone())
    _index(db, job)
    return job


def _index(db: sqlite3.Connection, job: Job) -> None:
    words = words_column(job.request, job.title, job.notes, job.model, job.file)
    games = games_column(job.request["games"])
    db.execute("UPDATE jobs SET games = ?, words = ? WHERE id = ?", (games, words, job.id))
