"""What is written is whole or not there, and a folder has one owner."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dualdiffusion.errors import UserError
from dualdiffusion.files import (
    TEMPORARY_MARK,
    atomic_path,
    folder_lock,
    numbered_names,
    publish,
    read_json,
    sha256_of,
    sweep,
    write_json,
)
from tests.tiny import ROOT


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, 1)
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_removes_what_killed_processes_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_MARK}123.flac").touch()
    (tmp_path / "kept.flac").touch()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.flac"]


def test_names_that_are_not_utf8_survive_json(tmp_path: Path) -> None:
    name = b"caf\xe9.ogg".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "names.json", [name, "ゲーム"])
    assert read_json(tmp_path / "names.json") == [name, "ゲーム"]


def test_a_second_process_is_refused_with_the_first_ones_id(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from dualdiffusion.files import folder_lock\n"
        f"with folder_lock(Path({str(tmp_path)!r})): print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {other.pid} "), folder_lock(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with folder_lock(tmp_path):  # the kernel has let go of a killed process's lock
        pass


def without_links(source: Path, target: Path) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_publishing_takes_the_first_free_name_and_replaces_nothing(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", without_links)
    for text in ("first", "second", "third"):
        (tmp_path / "new").write_text(text)
        publish(tmp_path / "new", tmp_path / "a.flac")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"a.flac": "first", "a (2).flac": "second", "a (3).flac": "third"}


def test_numbered_names_fit_into_a_folder_however_long_the_name_was() -> None:
    names = list(itertools.islice(numbered_names(Path("ä" * 125 + ".flac")), 3))
    assert [len(os.fsencode(path.name)) for path in names] == [255, 255, 255]
    assert [path.suffix for path in names] == [".flac"] * 3 and names[1].stem.endswith(" (2)")


def test_a_files_sha256_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # the first example of FIPS 180-2
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
