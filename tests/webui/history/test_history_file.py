"""The history's file: searched, brought up to date, mended, and written again where it was removed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.webui.conftest import REQUEST
from tests.webui.many import fill
from webui.history.database import UPGRADES
from webui.history.jobs import JobStore
from webui.history.search import Search


def ended(store: JobStore, file: str, **request: Any) -> str:
    """The id of a job that was made."""
    job, _ = store.add({**REQUEST, **request}, limit=99, model="demo")
    store.claim_next()
    assert store.finish(job.id, "done", file=file)
    return job.id


def test_words_are_found_in_names_notes_games_models_files_and_seeds(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "h.sqlite3")
    first = ended(store, "first.flac", seed=4711, games={"Castle": 1})
    second = ended(store, "second.flac", games={"Sky Ruins": 0.5, "Castle": -0.5})
    store.edit([first], title="Menü Theme", notes="the bridge is good")

    def found(text: str = "", **more: str) -> list[str]:
        search = Search(text=text, **more)
        jobs = [job.id for job in store.finished(search)]
        assert store.count(search) == len(jobs) and store.ids(search) == jobs
        return jobs

    assert found() == found("castle") == found("FLAC demo") == [second, first]
    assert found("menü") == found("THEME bridge") == found("4711") == found("first.fl") == [first]
    assert found("ruins castle") == found(game="Sky Ruins") == [second]
    assert found("nowhere") == found(game="Sky") == found(model="other") == found("100%") == []
    store.edit([first], notes="", starred=True)
    assert found("bridge") == [] and found(view="starred") == [first]
    assert store.choices() == {"games": ["Castle", "Sky Ruins"], "models": ["demo"]}


def test_searches_of_a_long_history_read_an_index_alone(tmp_path: Path) -> None:
    fill(tmp_path, 500)
    store = JobStore(tmp_path / "history.sqlite3")
    condition, values = Search(text="moss", game="Castle", model="demo").condition()
    plan = store._file.db.execute(f"EXPLAIN QUERY PLAN SELECT position FROM jobs WHERE {condition}", values).fetchall()
    assert [row["detail"] for row in plan] == ["SCAN jobs USING COVERING INDEX jobs_found"]
    assert [job.request["seed"] for job in store.finished(limit=2, offset=497)] == [2, 1]


def test_a_history_of_older_software_is_searched_too(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite3"
    db = sqlite3.connect(path)
    db.executescript(f"{UPGRADES[0]} PRAGMA user_version = 1;")
    request = '{"games": {"Cave": 1}, "seed": 77}'
    db.execute(
        "INSERT INTO jobs (id, position, status, request, created) VALUES (?, 1, 'done', ?, 5)", ("a" * 16, request)
    )
    db.commit()
    db.close()
    assert [job.notes for job in JobStore(path).finished(Search(text="cave 77"))] == [""]


def test_a_damaged_page_takes_its_rows_alone_and_the_damaged_file_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, 400)
    path = tmp_path / "history.sqlite3"
    pages = bytearray(path.read_bytes())
    leaves = [at for at in range(4096, len(pages), 4096) if pages[at] == 0x0D and b'"heun"' in pages[at : at + 4096]]
    at = leaves[len(leaves) // 2]
    pages[at : at + 4096] = b"\xff" * 4096
    path.write_bytes(pages)
    store = JobStore(path)
    assert 360 < store.count(Search()) < 400
    assert "history.damaged.sqlite3" in capsys.readouterr().err
    assert (tmp_path / "history.damaged.sqlite3").read_bytes() == pages
    ended(store, "new.flac")


def test_damage_while_the_server_runs_is_mended_by_the_next_use(tmp_path: Path) -> None:
    fill(tmp_path, 50)
    store = JobStore(tmp_path / "history.sqlite3")

    class Damaged:
        def __init__(self, db: sqlite3.Connection) -> None:
            self.db, self.close = db, db.close

        def execute(self, *_: object) -> None:
            raise sqlite3.DatabaseError("database disk image is malformed")

    store._file.db = Damaged(store._file.db)  # type: ignore[assignment]
    with pytest.raises(sqlite3.DatabaseError, match="has been mended; try again"):
        store.count(Search())
    assert store.count(Search()) == 50


def test_a_history_that_was_removed_while_it_is_open_is_written_again(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    fill(outputs, 20)
    store = JobStore(outputs / "history.sqlite3")
    new = ended(store, "new.flac")
    for path in outputs.iterdir():
        path.unlink()
    outputs.rmdir()
    store.edit([new], title="still here")
    store.close()
    again = JobStore(outputs / "history.sqlite3")
    assert again.count(Search()) == 21 and [job.id for job in again.finished(Search(text="still"))] == [new]


def test_a_commit_that_fails_blocks_nothing_that_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk, where SQLite may say so at the last moment."""
    store = JobStore(tmp_path / "h.sqlite3")

    class Full:
        is_full = True

        def __init__(self, db: sqlite3.Connection) -> None:
            self.db = db

        def __getattr__(self, name: str) -> Any:
            return getattr(self.db, name)

        def execute(self, sql: str, *values: Any) -> Any:
            if sql == "COMMIT" and self.is_full:
                raise sqlite3.OperationalError("database or disk is full")
            return self.db.execute(sql, *values)

    full = Full(store._file.db)
    store._file.db = full  # type: ignore[assignment]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.add(REQUEST, limit=9)
    full.is_full = False
    store.add(REQUEST, limit=9)
    assert len(store.active()) == 1
