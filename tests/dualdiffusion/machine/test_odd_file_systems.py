"""File systems that lack links, flush no folders, set no permissions or map no files: another way, told once."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from dualdiffusion import tensor_files
from dualdiffusion.files import publish, write_json, write_tensors
from dualdiffusion.machine import notices
from dualdiffusion.machine.storage import copy_files

LINK_REFUSALS = [errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.EINVAL]


@pytest.mark.parametrize("refusal", LINK_REFUSALS, ids=errno.errorcode.get)
def test_whatever_a_file_system_without_links_says_names_are_given_and_it_is_told_once(
    refusal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(notices, "_told", set())
    for text in ("first", "second"):
        (tmp_path / "new").write_text(text)
        publish(tmp_path / "new", tmp_path / "a.flac")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.flac": "first", "a (2).flac": "second"}
    assert capsys.readouterr().err.count("has no hard links") == 1


@pytest.mark.parametrize("refusal", [errno.EINVAL, errno.EISDIR, errno.ENOTTY, errno.EACCES], ids=errno.errorcode.get)
def test_a_file_system_that_flushes_no_folders_is_told_of_once(
    refusal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flush = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(refusal, os.strerror(refusal))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(notices, "_told", set())
    for number in range(3):
        write_json(tmp_path / str(number) / "a.json", number)
    assert capsys.readouterr().err.count("does not flush folders") == 1


def test_a_helper_tells_nothing_that_its_main_process_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notices, "_told", set())
    monkeypatch.setattr(notices, "_quiet", False)
    notices.tell_once("lacks this")
    notices.tell_once("lacks this")
    notices.be_quiet()
    notices.tell_once("lacks that")
    assert capsys.readouterr().err == "lacks this\n"


def test_a_folder_is_copied_where_no_permissions_may_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    (tmp_path / "from" / "inner").mkdir(parents=True)
    (tmp_path / "from" / "inner" / "a").write_text("1")
    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    copy_files(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to" / "inner" / "a").read_text() == "1"


@pytest.mark.parametrize("text", ["No such device (os error 19)", "Invalid argument (os error 22)"])
def test_tensors_are_read_where_no_file_can_be_mapped(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(text)

    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1)}
    write_tensors(tmp_path / "x.safetensors", tensors, {"told": "so"})
    monkeypatch.setattr(tensor_files, "load_file", refuse)
    monkeypatch.setattr(tensor_files, "safe_open", refuse)
    monkeypatch.setattr(notices, "_told", set())
    whole = tensor_files.read_tensors(tmp_path / "x.safetensors")
    with tensor_files.open_tensors(tmp_path / "x.safetensors") as file:
        assert file.metadata() == {"told": "so"} and sorted(file.keys()) == ["a", "b"]
        assert file.get_slice("a").get_shape() == [2, 3] and torch.equal(file.get_tensor("a"), tensors["a"])
    assert all(torch.equal(whole[name], tensor) for name, tensor in tensors.items())
    assert capsys.readouterr().err.count("maps no files into memory") == 1
    (tmp_path / "x.safetensors").write_bytes(b"damaged")
    with pytest.raises(SafetensorError):
        tensor_files.read_tensors(tmp_path / "x.safetensors")
