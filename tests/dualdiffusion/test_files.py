"""What is written is whole or not there, and a folder has one owner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dualdiffusion.errors import UserError
from dualdiffusion.files import TEMPORARY_MARK, atomic_path, folder_lock, read_json, read_jsonl, sweep, write_json
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_text_is_read_as_editors_of_all_systems_save_it(encoding: str, line_end: str, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_bytes(f'{{"game": "Pok\u00e9mon",{line_end} "seconds": 1}}{line_end}'.encode(encoding))
    assert read_json(path) == {"game": "Pok\u00e9mon", "seconds": 1}
    path.write_bytes(f'{{"a": 1}}{line_end}{line_end}{{"a": "\u2028"}}{line_end}'.encode(encoding))
    assert read_jsonl(path) == [{"a": 1}, {"a": "\u2028"}]


@pytest.mark.parametrize("data", [b"\x80abc", b"\xff\xfea", b"\xef\xbb\xbf\xff"])
def test_what_is_not_text_is_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(UserError, match="is not text"):
        read_json(tmp_path / "a.json")
