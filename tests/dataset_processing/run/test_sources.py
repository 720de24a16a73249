"""What lies among people's music: folders of systems are no games, and links lead neither round nor into copies."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from dataset_processing.__main__ import main
from dataset_processing.run import flow
from dataset_processing.run.names import Names
from dataset_processing.run.pool import run_one
from dataset_processing.run.sources import list_records
from dataset_processing.run.system_folders import why_left_out
from tests.dataset_processing.sounds import make_config, make_source, tune, write

SYSTEM_FOLDERS = {
    "snapshots": ["#snapshot", ".snapshot", "~snapshot", ".zfs", "@Recently-Snapshot", "@GMT-2026.01.01-00.00.00"],
    "deleted files": ["#recycle", "@Recycle", ".Trash-1000", ".Trashes", "$RECYCLE.BIN", "RECYCLER", "$Recycle.Bin"],
    "a bin": ["Recycle Bin", "Recycle Bin - Volume_1", "Network Recycle Bin 1", "RecycleBin.ffs_tmp"],
    "as they were": ["Previous Versions"],
    "media server": ["Plex Versions"],
    "previews": ["@eaDir", ".@__thumb", ".thumbnails", "@__thumb"],
    "a Mac": ["__MACOSX", ".AppleDouble", ".Spotlight-V100", ".fseventsd", ".TemporaryItems", "Temporary Items"],
    "Windows": ["System Volume Information", "FOUND.000"],
    "a disk check": ["lost+found", "LOST.DIR"],
    "copies or syncs": [".stfolder", ".stversions", ".sync", ".dropbox.cache", "_gsdata_", "#work_file"],
    "a program": [".git", "@tmp", "node_modules", "Automatically Add to Music.localized"],
}


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, names in SYSTEM_FOLDERS.items() for name in names])
def test_folders_of_systems_are_left_out_with_their_reason(what, name):
    assert what in why_left_out(name)


GAMES = [
    *("Castle", "Lost and Found", "#1", "@lice", "$ecret", "~ Tilde ~", "_Trash Panic", "Recycled", "Snapshot"),
    *("Found", "Trash", "Sync", "git", "tmp", "Thumbs Up", "Windows", "Recycle Hero", "Recycle Bingo", "Mac"),
]


@pytest.mark.parametrize("name", GAMES)
def test_folders_that_may_be_games_are_read(name):
    assert why_left_out(name) == ""


def listed(source: Path, dataset: Path | None = None) -> tuple[set[str], dict[str, str]]:
    """(Files that may be tracks; all others with their reason)."""
    records = list_records(source, Names(), dataset)
    kept = {record.file for record in records if record.kept}
    return kept, {record.file: record.reason for record in records if not record.kept}


def test_system_folders_are_found_at_any_depth_and_read_nowhere(tmp_path):
    for folder in ("#snapshot/monday/Castle", "Castle", "Castle/@eaDir", "Castle/disc 1", "Castle/disc 1/#recycle"):
        write(tmp_path / folder / "1.flac")
    kept, reasons = listed(tmp_path)
    assert kept == {"Castle/1.flac", "Castle/disc 1/1.flac"}
    assert set(reasons) == {"#snapshot", "Castle/@eaDir", "Castle/disc 1/#recycle"}


def test_a_mac_file_beside_a_track_is_no_track(tmp_path):
    write(tmp_path / "Castle" / "1.flac")
    (tmp_path / "Castle" / "._1.flac").write_bytes(b"\0\5\x16\7")
    kept, reasons = listed(tmp_path)
    assert kept == {"Castle/1.flac"}
    assert "what a Mac keeps" in reasons["Castle/._1.flac"]


def test_links_lead_neither_above_the_source_nor_into_the_dataset_nor_into_snapshots(tmp_path):
    source = tmp_path / "music"
    write(source / "Castle" / "1.flac")
    write(source / "#snapshot" / "monday" / "Castle" / "1.flac")
    write(tmp_path / "dataset" / "audio" / "Castle" / "1.flac")
    write(tmp_path / "elsewhere" / "1.flac")
    for name, target in {
        "above": "..",
        "itself": ".",
        "round": "round",
        "ping": "pong",
        "pong": "ping",
        "made": "../dataset",
        "monday": "#snapshot/monday",
        "gone": "/nowhere/at/all",
        "again": "Castle",
        "Cave": "../elsewhere",
    }.items():
        (source / name).symlink_to(target)
    kept, reasons = listed(source, tmp_path / "dataset")
    assert kept == {"Castle/1.flac", "Cave/1.flac"}
    assert "holds the source" in reasons["above"]
    assert "read already" in reasons["itself"]
    assert all("leads to itself" in reasons[name] for name in ("round", "ping", "pong"))
    assert "made from the source" in reasons["made"]
    assert "snapshots" in reasons["monday"]
    assert "a broken symbolic link (to '/nowhere/at/all')" in reasons["gone"]
    assert "read already" in reasons["again"]


def test_a_run_says_what_it_left_out_in_the_terminal_and_in_the_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(flow, "run_pool", lambda step, records, _: map(partial(run_one, step), records))
    config = make_config(make_source(tmp_path / "source", games=1), tmp_path / "dataset", processes=1)
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    write(tmp_path / "source" / "#snapshot" / "game 0" / "track 0.flac", tune(seed=0))
    write(tmp_path / "source" / "game 0" / "@eaDir" / "x.flac")
    assert main(["run", str(tmp_path / "config.json"), "--strict"]) == 0
    out = capsys.readouterr().out
    assert "#snapshot: left out with all that is in it: snapshots" in out
    assert "game 0/@eaDir: left out with all that is in it: previews" in out
    assert "3 tracks kept" in out
    assert "left out with all that is in it: snapshots" in (tmp_path / "dataset" / "report.html").read_text()
