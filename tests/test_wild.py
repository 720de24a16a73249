"""Cases of `tests/WILD.md` that concern every command: terminals, names and accounts of other people's machines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dualdiffusion.labels import Game, Labels
from tests import commands, tiny


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
