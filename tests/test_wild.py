"""Cases of `tests/WILD.md` that concern every command: terminals, names and accounts of other people's machines."""

from __future__ import annotations

import builtins
import errno
import getpass
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from dualdiffusion.command_line import run_command
from dualdiffusion.labels import Game, Labels
from tests import commands, tiny
from tests.test_setup import load_script


def cp1252() -> None:
    """A terminal or log file of Western Windows."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="cp1252", errors="strict")


def ascii_only() -> None:
    """A terminal of the C locale, as under cron and in small containers."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="ascii", errors="surrogateescape")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose games have names of several scripts."""
    folder = tmp_path_factory.mktemp("wild")
    model = tiny.make_model(folder / "model")
    names = ("ゲーム", "Café", "🎮 Castle")
    Labels(tuple(Game(index, name, 2) for index, name in enumerate(names))).save(model.labels_path)
    return folder


@pytest.mark.parametrize("terminal", [cp1252, ascii_only])
def test_what_a_terminal_cannot_show_is_written_as_an_escape(folder: Path, terminal: object) -> None:
    words = ("-m", "sampling", "--model", folder / "model", "--game", "ゲーム", "--seconds", 1, "--set", "steps=2")
    result = commands.run([*words, "--out", folder / terminal.__name__], timeout=60, prepare=terminal)
    assert result.returncode == 0, result.stderr
    assert r"\u30b2\u30fc\u30e0-seed0.flac" in result.stdout
    assert (folder / terminal.__name__ / "ゲーム-seed0.flac").is_file()


def test_a_dataset_of_any_names_is_made_whatever_the_log_file_can_hold(folder: Path) -> None:
    dataset = tiny.make_dataset(folder / "source")
    (dataset / "audio" / "Castle").rename(dataset / "audio" / "ゲーム")
    words = ("-m", "dataset_processing", "run", "config/dataset/demo.json", "--steps", "scan,convert,filter,split")
    settings = (f"source={dataset / 'audio'}", f"dataset={folder / 'dataset'}", "steps.2.min_seconds=1")
    result = commands.run([*words, "--set", *settings], timeout=120, prepare=cp1252)
    assert result.returncode == 0, result.stderr
    assert r"\u30b2\u30fc\u30e0" in result.stdout


@pytest.mark.parametrize(
    "words", [("--game", "Caf\udce9=1"), ("--game", "Café", "--set", "source.path=/tmp/\udce9.wav")]
)
def test_bytes_that_are_no_text_are_told_as_such(folder: Path, words: tuple[str, ...]) -> None:
    """A shell hands on the bytes of a name, whatever they mean; in a request there is only text."""
    result = commands.run(("-m", "sampling", "--model", folder / "model", *words, "--out", folder / "none"), timeout=60)
    tiny.assert_one_line_error(result, "is not text in UTF-8", r"\udce9", "rename it in UTF-8")


def test_a_command_runs_under_an_account_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers under a number of their own: torch asks for the user's name when it makes an optimizer."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(pwd, "getpwuid", _no_such_user)
    with pytest.raises(KeyError):
        getpass.getuser()
    found: list[str] = []
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: found.append(getpass.getuser()))
    assert ended.value.code == 0 and found == [f"uid-{os.getuid()}"]


def _no_such_user(number: int) -> NoReturn:
    raise KeyError(f"getpwuid(): uid not found: {number}")


def test_a_model_that_cannot_be_written_to_is_played(folder: Path) -> None:
    """A read-only mount: nobody trains it meanwhile, so that no lock is needed in it."""
    words = ("-m", "sampling", "--model", folder / "model", "--each-game", "--seconds", 1, "--set", "steps=2")
    result = commands.run([*words, "--out", folder / "each"], timeout=60, prepare=read_only)
    assert result.returncode == 0, result.stderr
    assert len(list((folder / "each").glob("*.flac"))) == 3


def read_only() -> None:
    """What a read-only file system says of the model's folder, also to root."""
    access, make = os.access, open

    def refuse(path: object, mode: str = "r", *arguments: object, **options: object) -> object:
        if set(mode) & set("wax+") and Path(str(path)).parent.name == "model":
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return make(path, mode, *arguments, **options)

    os.access = lambda path, mode, **options: access(path, mode, **options) and Path(path).name != "model"
    builtins.open = refuse


def test_line_ends_are_those_of_the_repository_on_every_system(tmp_path: Path) -> None:
    """Git for Windows turns them around, and with a carriage return neither make nor a shell finds its words."""
    if not (tiny.ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs git, and a clone of the repository")
    files = ("Makefile", ".ci/run", "webui/static/js/main.js", "config/train/unet_tiny.json")
    git = ["git", "-c", "core.autocrlf=true", "checkout-index", f"--prefix={tmp_path}/", *files]
    subprocess.run(git, cwd=tiny.ROOT, check=True)
    for file in files:
        assert b"\r" not in (tmp_path / file).read_bytes()


def test_the_environment_of_a_project_that_was_moved_works_after_setup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment names its place in every script: `accelerate` and `activate` led to where it was made."""
    script = load_script()
    monkeypatch.setattr(script.Environment, "_whole", lambda self, requirements: 0)
    create = script.venv.create
    monkeypatch.setattr(script.venv, "create", lambda path, **_: create(path, with_pip=False))
    old, new = tmp_path / "old place", tmp_path / "new"
    for folder in (old, new):
        if folder == new:
            old.rename(new)
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        Path("requirements.txt").write_text("torch==2.11.0\n")
        assert script.Environment(Path(".venv"), 0).make(Path("requirements.txt"), whole=True) == 0
        if folder == old:
            _add_scripts(old / ".venv" / "bin")
    assert subprocess.run([new / ".venv/bin/tool"], capture_output=True, text=True).stdout == "works\n"
    shell = [shutil.which("sh"), "-c", ". .venv/bin/activate; command -v python"]
    assert subprocess.run(shell, capture_output=True, text=True).stdout == f"{new}/.venv/bin/python\n"
    assert bytes(old) in (new / ".venv/bin/compiled").read_bytes()  # not a script: left alone


def _add_scripts(folder: Path) -> None:
    """A tool as pip writes it where the path has a space, and a program that is no script."""
    start = ("#!/bin/sh", f"""'''exec' "{folder}/python" "$0" "$@\"""", "' '''", "print('works')", "")
    (folder / "tool").write_text("\n".join(start))
    (folder / "tool").chmod(0o755)
    (folder / "compiled").write_bytes(b"\x7fELF\0" + bytes(folder))


def test_the_table_names_tests_that_there_are_and_an_address_for_every_row() -> None:
    table = (tiny.ROOT / "tests" / "WILD.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| reported |")]
    assert len(rows) >= 20
    for row in rows:
        assert len(row.split(" | ")) == 4 and re.search(r"\]\(https://github\.com/[^)]+/(issues|pull)/\d+\)", row), row
        assert re.search(r"\| (fine|mended|the folder fine|left)\b[^|]*\|$", row), row
    for file, names in re.findall(r'`([\w/]+\.py)`((?:(?:,|:| and)+ "[^"]+")*)', table):
        text = (tiny.ROOT / "tests" / file).read_text()
        for name in re.findall(r'"([^"]+)"', names):
            assert re.search(rf"def test_\w*{name.replace(' ', '_')}", text), (file, name)
