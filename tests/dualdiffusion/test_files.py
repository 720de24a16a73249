"""What is written is whole or not there, and a folder has one owner."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from dualdiffusion.errors import UserError
from dualdiffusion.files import (
    TEMPORARY_MARK,
    atomic_path,
    folder_lock,
    from_home,
    numbered_names,
    publish,
    read_json,
    read_jsonl,
    sha256_of,
    sweep,
    write_json,
)
from dualdiffusion.machine import locks, system
from tests import commands


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


# flock works, or says why it does not: on file systems without it, and where there is no such call, as on Windows.
WITHOUT_LOCKS = [None, errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, "no fcntl"]


def without_locks(reason: int | str | None) -> None:
    """Makes this process one on such a file system."""
    if isinstance(reason, str):
        system.fcntl = None
    elif reason is not None:

        def refuse(*_: object) -> None:
            raise OSError(reason, os.strerror(reason))

        system.fcntl.flock = refuse


@pytest.mark.parametrize("reason", WITHOUT_LOCKS)
def test_a_second_process_is_refused_with_the_first_ones_id(
    reason: int | str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "fcntl", system.fcntl)  # put back at the end
    monkeypatch.setattr(system.fcntl, "flock", system.fcntl.flock)
    without_locks(reason)
    commands.start_server()
    context = multiprocessing.get_context("forkserver")
    held = context.Event()
    other = context.Process(target=hold, args=(tmp_path, reason, held), daemon=True)
    other.start()
    try:
        assert held.wait(240)
        with pytest.raises(UserError, match=f"process {other.pid} "), folder_lock(tmp_path):
            pass
    finally:
        other.kill()
        other.join()
    with folder_lock(tmp_path):  # a killed process's lock counts for nothing
        pass
    with folder_lock(tmp_path):  # and one that was let go of neither
        pass


def hold(folder: Path, reason: int | str | None, held: Event) -> None:
    """What the other process does, until it is killed."""
    without_locks(reason)
    with folder_lock(folder):
        held.set()
        time.sleep(300)


def test_a_lock_of_another_machine_is_never_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "fcntl", None)
    mark = tmp_path / f".lock{locks.MARK_SUFFIX}"
    write_json(mark, {"process": 7, "started": 0.0, "host": "elsewhere"})
    with pytest.raises(UserError, match=r"process 7 on elsewhere \(if that has ended: remove"), folder_lock(tmp_path):
        pass
    mark.write_text("{half")  # its writer was killed
    with folder_lock(tmp_path):
        assert mark.exists()
    assert not mark.exists()


@pytest.mark.parametrize("reason", [errno.EPERM, errno.EROFS, errno.EXDEV, errno.EIO, errno.EREMOTEIO, errno.ESTALE])
def test_whatever_else_a_lock_says_a_second_file_stands_for_it(
    reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system.fcntl, "flock", system.fcntl.flock)
    without_locks(reason)
    with folder_lock(tmp_path):
        assert (tmp_path / f".lock{locks.MARK_SUFFIX}").exists()


def test_a_lock_that_may_be_another_machines_is_never_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system.fcntl, "flock", system.fcntl.flock)
    without_locks(errno.EACCES)
    with pytest.raises(UserError, match=r"another process .*take a folder on another disk"), folder_lock(tmp_path):
        pass


@pytest.mark.parametrize("refusal", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EROFS])
def test_a_file_system_that_syncs_nothing_is_written_to_all_the_same(
    refusal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "fsync", refuse)
    write_json(tmp_path / "a.json", 1)
    assert read_json(tmp_path / "a.json") == 1


LOST = ("EIO", "ENOSPC", "EDQUOT", "EFBIG", "ESTALE", "ENODEV", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EREMOTEIO")


@pytest.mark.parametrize("name", LOST)
def test_a_disk_or_share_that_is_full_failing_or_away_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = getattr(errno, name)

    def fail(descriptor: int) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(reason)):
        write_json(tmp_path / "a.json", 1)
    assert not (tmp_path / "a.json").exists()


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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{\u201cgames\u201d: 1}", "straight"),
        ('{"a": \u201cx\u201d}', "straight"),
        ("{'a': 1}", "double quotes"),
        ("{a: 1}", "double quotes"),
        ('{"a": ~/music}', "double quotes"),
        ('{"a": 1,}', "comma before"),
        ('{"a": [1, 2, ]}', "comma before"),
        ('{\n// comment\n"a": 1}', "no comments"),
        ('{"a": 1} # comment', "no comments"),
        ('{"a": True}', "true, false or null"),
        ('{"a":\u00a01}', "no plain one"),
        ('{"a"\uff1a 1}', "marks of JSON"),
        ('{"a": "C:\\music"}', "two"),
        ('{"a": 1}\0', "zero bytes"),
        ('{"a": 1', "its end is missing"),
        ("", "it is empty"),
    ],
)
def test_what_editors_write_for_json_is_told_with_what_to_write(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"a.json: not valid JSON: .*line .*; .*{told}"):
        read_json(path)


def test_a_variable_at_the_beginning_of_a_path_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSIC", "/secret")
    for home in ("$HOME/Castle", "${HOME}/Castle", "%USERPROFILE%/Castle"):
        assert from_home(Path(home)) == Path.home() / "Castle"
    for as_it_is in ("a/$HOME", "$HOME.BIN/a", "$/a", "", "100%/a"):
        assert from_home(Path(as_it_is)) == Path(as_it_is)
    with pytest.raises(ValueError, match=r"^\$MUSIC/a: \$MUSIC is replaced by shells alone; write the whole path$"):
        from_home(Path("$MUSIC/a"))
    (tmp_path / "$MUSIC").mkdir()
    assert from_home(Path("$MUSIC/a")) == Path("$MUSIC/a")
