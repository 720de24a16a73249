"""The history's SQLite file: opened wherever it lies, brought to the present schema, and mended where it is damaged."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dualdiffusion.errors import UserError
from dualdiffusion.files import numbered_names
from dualdiffusion.machine.storage import replace
from webui.stored import REPAIRS

UPGRADES = (
    """
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
""",
    # games and words follow from the other columns (webui/history_search.py); NULL where they have yet to be filled in.
    # The index holds all that a search looks at, so that it reads no requests.
    """
ALTER TABLE jobs ADD COLUMN model TEXT;
ALTER TABLE jobs ADD COLUMN notes TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN games TEXT;
ALTER TABLE jobs ADD COLUMN words TEXT;
CREATE INDEX jobs_found ON jobs (position, status, binned, starred, model, games, words);
CREATE INDEX jobs_by_file ON jobs (file);
""",
    """
ALTER TABLE jobs ADD COLUMN parent TEXT;
CREATE INDEX jobs_by_parent ON jobs (parent);
""",
)
"""What brings the file from each version to the next, from an empty one on."""

# Ways to open the history, the best first: options of the address, and what is said before the first transaction. One
# server alone has the outputs folder (its lock sees to that), so that neither memory shared between processes nor
# SQLite's own locks are needed; shares of other machines have at times neither.
ALONE = ("PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=TRUNCATE")
WAYS = (("", ("PRAGMA journal_mode=WAL",)), ("", ALONE), ("?vfs=unix-none", ALONE), ("?nolock=1", ALONE))

MAGIC = b"SQLite format 3\x00"
MOST_UNREADABLE = 20_000  # rows in a row that are tried before the rest is given up


def open_history(path: Path) -> sqlite3.Connection:
    """Opens or creates the file, of the present schema and without damage.

    What of a damaged file can be read goes into a new one; the old one is kept beside it.

    Raises:
        UserError: the file is not a history, or one of newer software.
    """
    try:
        try:
            db = _open(path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error) and not (is_foreign(error) and path.read_bytes()[: len(MAGIC)] == MAGIC):
                raise
            db = None
        if db is None or _is_damaged(db):
            if db is not None:
                db.close()
            mend(path)
            db = _open(path)
        return db
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{path}: cannot be used as the history: {error}; move it away to start a new one, into which the clips "
            "that lie beside it are taken"
        ) from None


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file's content is what is wrong, and not the disk or another program."""
    return isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error)


def is_foreign(error: sqlite3.Error) -> bool:
    """Whether SQLite takes the file for none of its own, as it does where the first page is damaged."""
    return "not a database" in str(error)


def _open(path: Path) -> sqlite3.Connection:
    db = connect(path)
    try:
        db.row_factory = sqlite3.Row
        _upgrade(db, path)
        # A row of nonsense must neither hide the others nor stop new ones.
        db.execute("BEGIN IMMEDIATE")
        for repair in REPAIRS:
            db.execute(f"UPDATE jobs SET {repair}")
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def connect(path: Path) -> sqlite3.Connection:
    """Opens the file in the first of WAYS in which it can be written.

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


def _upgrade(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(UPGRADES):
        raise UserError(f"{path}: was written by newer software; update, or move it away to start a new history")
    for number in range(version, len(UPGRADES)):
        db.executescript(f"BEGIN; {UPGRADES[number]} PRAGMA user_version = {number + 1}; COMMIT;")


def _is_damaged(db: sqlite3.Connection) -> bool:
    try:
        return db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok"
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return True


def mend(path: Path) -> None:
    """Moves a damaged file aside and puts what can be read of it into a new one.

    Raises:
        sqlite3.Error, OSError: neither is possible, such as on a full disk.
    """
    rows = list(_readable_rows(path))
    stem = path.with_name(f"{path.stem}.damaged{path.suffix}")
    aside = next(name for name in numbered_names(stem) if not name.exists())
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            replace(Path(f"{path}{end}"), Path(f"{aside}{end}"))
    db = _open(path)
    with contextlib.closing(db):
        known = {column[1] for column in db.execute("PRAGMA table_info(jobs)")}
        db.execute("BEGIN IMMEDIATE")
        for row in rows:
            names = [name for name in row if name in known]
            db.execute(
                f"INSERT OR IGNORE INTO jobs ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
                [row[name] for name in names],
            )
        db.execute("COMMIT")
    when = time.strftime("%H:%M")
    print(
        f"{when} the history was damaged: {len(rows)} entries were saved, others come back from their clips without "
        f"stars and notes; the damaged file is kept as {aside}",
        file=sys.stderr,
        flush=True,
    )


def _readable_rows(path: Path) -> Iterator[dict[str, object]]:
    """The rows that can be read, each by itself; a damaged page takes only its own with it."""
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(connect(path)) as db:
        db.row_factory = sqlite3.Row
        last, unreadable = -1, 0
        while unreadable < MOST_UNREADABLE:
            try:
                row = db.execute("SELECT rowid AS row_number, * FROM jobs NOT INDEXED WHERE rowid > ? LIMIT 1", (last,))
                found = row.fetchone()
            except sqlite3.DatabaseError:
                last, unreadable = last + 1, unreadable + 1
                continue
            if found is None:
                return
            last, unreadable = found["row_number"], 0
            yield {name: found[name] for name in found.keys() if name != "row_number"}  # noqa: SIM118 (a Row is no dict)


class HistoryFile:
    """The open file. Where it was removed or replaced while it was open, or damaged, the next use sees to that."""

    def __init__(self, path: Path) -> None:
        """Raises:
        UserError: the file is not a history, or one of newer software.
        """
        self.path = path
        self._open()

    def _open(self) -> None:
        self.db = open_history(self.path)
        self._identity = self._found()

    def _found(self) -> tuple[int, int] | None:
        """Which file lies at the path, by device and number; None where there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def present(self) -> sqlite3.Connection:
        """The connection to the file that lies at the path now; a removed one is written again, with all rows.

        Raises:
            sqlite3.Error, OSError: it cannot be written.
        """
        found = self._found()
        if found is None:
            # What is removed can be read for as long as it is open.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path)) as copy:
                self.db.backup(copy)
            print(f"{self.path} was removed; it is written again", file=sys.stderr, flush=True)
        if found is None or found != self._identity:
            self.db.close()
            self._reopen()
        return self.db

    def mend(self) -> None:
        """Takes what can be read into a new file.

        Raises:
            sqlite3.Error, OSError: that is not possible.
        """
        self.db.close()
        self._reopen()

    def _reopen(self) -> None:
        try:
            self._open()
        except UserError as error:
            raise sqlite3.DatabaseError(str(error)) from None

    def close(self) -> None:
        """Closes the file."""
        self.db.close()
