"""`add`: more music for a dataset; copies only, nothing is overwritten, and no id ever moves."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from dataset_processing.__main__ import main
from dataset_processing.run import runner
from dataset_processing.run.run_config import select_steps
from dualdiffusion.errors import UserError
from dualdiffusion.files import folder_lock
from dualdiffusion.labels import Labels
from tests.dataset_processing.sounds import contents, make_config, make_source, tune, write
from tests.tiny import assert_one_line_error, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished dataset of one game, "game 0"; to be copied before it is changed."""
    folder = tmp_path_factory.mktemp("finished")
    config = make_config(make_source(folder / "source", games=1, tracks=2), folder / "dataset", processes=1)
    runner.run(config, select_steps(config, None))
    return folder


@pytest.fixture
def here(finished, tmp_path) -> Path:
    """A folder with config.json, source, dataset, and music that is not in the source yet."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    config = make_config(tmp_path / "source", tmp_path / "dataset", processes=1)
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    write(tmp_path / "music" / "A new game" / "disc 1" / "song.flac", tune(seed=50))
    write(tmp_path / "music" / "A new game" / "other.flac", tune(seed=51))
    (tmp_path / "music" / "A new game" / "cover.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path


def add(here: Path, *arguments: object) -> int:
    return main(["add", str(here / "config.json"), *map(str, arguments)])


def games(here: Path) -> dict[str, tuple[int, int]]:
    """Game -> (id, tracks for training and validation)."""
    data = json.loads((here / "dataset" / "dataset_info.json").read_text())
    return {game["name"]: (game["id"], game["tracks"] + game["validation_tracks"]) for game in data["games"]}


def test_a_folder_becomes_a_game_and_old_ids_stay(here, capsys):
    old = Labels.load(here / "dataset" / "dataset_info.json")
    assert add(here, here / "music" / "A new game") == 0
    # By name it comes before "game 0", but its id follows.
    assert games(here) == {"game 0": (0, 2), "A new game": (1, 2)}
    assert old.games[0].id == 0
    assert (here / "source" / "A new game" / "disc 1" / "song.flac").is_file()
    assert (here / "music" / "A new game" / "disc 1" / "song.flac").is_file()
    line = capsys.readouterr().out.splitlines()[0]
    assert line.endswith("2 files copied to the new game 'A new game'; 1 left out: not audio, or hidden")


def test_a_file_goes_into_the_game_that_is_named(here):
    track = write(here / "more.flac", tune(seed=60))
    add(here, track, "--game", "game 0")
    assert games(here) == {"game 0": (0, 3)}
    assert (here / "source" / "game 0" / "more.flac").read_bytes() == track.read_bytes()


def test_several_paths_may_come_at_once_and_a_name_gathers_them(here, capsys):
    write(here / "music" / "disc 2" / "other.flac", tune(seed=61))
    add(here, here / "music" / "A new game", here / "music" / "disc 2", "--game", "Both")
    assert games(here)["Both"] == (1, 3)
    names = {path.name for path in (here / "source" / "Both").rglob("*.flac")}
    assert names == {"song.flac", "other.flac", "other (2).flac"}
    assert "1 of them with a number in the name" in capsys.readouterr().out


def test_the_same_music_again_copies_nothing(here, capsys):
    add(here, here / "music" / "A new game")
    before = contents(here)
    capsys.readouterr()
    add(here, here / "music" / "A new game")
    out = capsys.readouterr().out
    assert "0 files copied to the game 'A new game'; 2 were there already" in out
    assert "nothing to do: everything is up to date" in out
    assert contents(here) == before


def test_a_file_that_is_there_is_never_overwritten(here):
    target = here / "source" / "game 0" / "track 0.flac"
    before = target.read_bytes()
    other = write(here / "track 0.flac", tune(seed=70))
    for _ in range(2):
        add(here, other, "--game", "game 0")
    assert target.read_bytes() == before
    assert (here / "source" / "game 0" / "track 0 (2).flac").read_bytes() == other.read_bytes()
    assert not (here / "source" / "game 0" / "track 0 (3).flac").exists()


def test_long_and_strange_names_are_copied(here):
    folder = here / "strange"
    write(here / "x.flac", tune(seed=80))
    folder.mkdir()
    names = ["n" * 250 + ".flac", "caf\udce9.flac", "-rf.flac", "#1 'a' \"b\".flac"]
    for number, name in enumerate(names):
        write(here / "x.flac", tune(seed=80 + number)).rename(folder / name)
    add(here, folder)
    changed = write(here / "y.flac", tune(seed=90)).rename(folder / names[0])
    add(here, folder)
    copied = os.listdir(here / "source" / "strange")
    assert set(names) < set(copied)
    assert len(copied) == len(names) + 1
    assert changed.read_bytes() in [(here / "source" / "strange" / name).read_bytes() for name in copied]
    assert games(here)["strange"][1] == len(names) + 1


def test_one_game_in_two_spellings_of_an_accent_stays_one_folder(here):
    write(here / "source" / "Caf\u00e9" / "a.flac", tune(seed=91))
    write(here / "Cafe\u0301" / "b.flac", tune(seed=92))
    add(here, here / "Cafe\u0301")
    assert sorted(path.name for path in (here / "source" / "Caf\u00e9").iterdir()) == ["a.flac", "b.flac"]
    assert not (here / "source" / "Cafe\u0301").exists()


def test_a_dry_run_says_what_would_be_copied_and_writes_nothing(here, capsys):
    before = contents(here)
    add(here, here / "music" / "A new game", "--dry-run")
    out = capsys.readouterr().out
    assert "2 files would be copied to the new game 'A new game'" in out
    assert re.search(r"scan\W+2\W+0\W+2\W", out)
    assert contents(here) == before


def test_a_dry_run_into_an_empty_source_counts_too(here, capsys):
    (here / "empty").mkdir()
    add(here, here / "music" / "A new game", "--dry-run", "--set", f"source={here / 'empty'}")
    assert "2 files would be copied" in capsys.readouterr().out
    assert list((here / "empty").iterdir()) == []


def test_steps_and_strict_mean_what_they_mean_for_run(here):
    (here / "music" / "A new game" / "bad.wav").write_bytes(b"no music at all")
    assert add(here, here / "music" / "A new game", "--steps", "scan") == 0
    assert games(here) == {"game 0": (0, 2)}
    assert add(here, here / "music" / "A new game", "--strict") == 1
    assert games(here)["A new game"] == (1, 2)


def test_what_a_killed_copy_left_is_removed(here):
    torn = here / "source" / "game 0" / ".tmp-1-2.flac"
    torn.write_bytes(b"half")
    add(here, write(here / "more.flac", tune(seed=60)), "--game", "game 0")
    assert not torn.exists()


def test_a_dataset_in_use_is_left_alone(here):
    with folder_lock(here / "dataset"), pytest.raises(UserError, match=r"process \d+ is already at work"):
        add(here, here / "music" / "A new game")
    assert not (here / "source" / "A new game").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["HERE/source"], "lies in the source folder"),
        (["HERE/source/game 0"], "lies in the source folder"),
        (["HERE/dataset/audio/game 0"], "lies in the dataset"),
        (["HERE"], "holds the source folder"),
        (["HERE/music/A new game/other.flac"], "is a file: say which game it is from with --game NAME"),
        (["HERE/music/A new game", "--game", "a/b"], "must not hold a slash"),
        (["HERE/music/A new game", "--game", ""], "a game needs a name"),
        (["HERE/music/A new game", "--game", " "], "a game needs a name"),
        (["HERE/music/A new game", "--game", ".."], "must not start with a dot"),
        (["HERE/music/A new game", "--game", "n" * 300], "255 bytes at most"),
        (["HERE/music/A new game", "--set", "source=nowhere"], "source nowhere: no such folder"),
        (["HERE/music/A new game", "--steps", "scna"], "no such step; nearest: scan"),
        ([], "PATH.*--help"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_copied(here, arguments, message):
    before = contents(here)
    with pytest.raises(UserError, match=message) as caught:
        add(here, *(argument.replace("HERE", str(here)) for argument in arguments))
    assert "\n" not in str(caught.value)
    assert contents(here) == before


def test_a_path_that_holds_the_dataset_is_refused(here):
    with pytest.raises(UserError, match="holds the dataset folder"):
        add(here, here / "music", "--set", f"dataset={here / 'music' / 'dataset'}")


def test_the_real_command_exits_with_2_for_a_mistake(here):
    assert_one_line_error(run("-m", "dataset_processing", "add", here / "config.json", here / "x"), "no such file")
