"""What a run removes from a dataset: nothing without a word, and much of a game only with --prune."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest

from dataset_processing.__main__ import main
from dataset_processing.run import flow, runner
from dataset_processing.run.pool import run_one
from dataset_processing.run.removal import Loss, check, find_losses
from dataset_processing.run.run_config import select_steps
from dataset_processing.step import Record
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_jsonl
from tests.dataset_processing.sounds import contents, make_config, make_source, tune, write


def run(config, steps=None, **settings):
    return runner.run(config, select_steps(config, steps), **settings)


@pytest.fixture(scope="module", autouse=True)
def in_this_process():
    """What is looked at here does not depend on worker processes, which take seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "run_pool", lambda step, records, _: map(partial(run_one, step), records))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished dataset: "game 0" of three tracks in the source, and "game 1", a link to a drive."""
    folder = tmp_path_factory.mktemp("finished")
    make_source(folder / "source")
    run(make_config(folder / "source", folder / "dataset"))
    return folder


@pytest.fixture
def config(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "drive").mkdir()
    (tmp_path / "source" / "game 1").rename(tmp_path / "drive" / "game 1")
    (tmp_path / "source" / "game 1").symlink_to(tmp_path / "drive" / "game 1")
    config = make_config(tmp_path / "source", tmp_path / "dataset", processes=1)
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    return config


def out(capsys) -> str:
    return capsys.readouterr().out


def tracks(config) -> set[str]:
    lines = read_jsonl(config.dataset / "train.jsonl") + read_jsonl(config.dataset / "validation.jsonl")
    assert all((config.dataset / line["file_name"]).is_file() for line in lines)
    return {line["source_file"] for line in lines}


def test_a_drive_that_is_away_costs_nothing_and_comes_back(config):
    before = contents(config.dataset)
    drive = config.source.parent / "drive"
    drive.rename(drive.with_name("unplugged"))
    with pytest.raises(UserError, match=r"lost 3 of 3 tracks of 'game 1'.*broken symbolic link.*--prune.*nothing was"):
        run(config)
    assert contents(config.dataset) == before
    drive.with_name("unplugged").rename(drive)
    assert {count.step: count.done for count in run(config).steps if count.done} == {}
    assert contents(config.dataset) == before


def test_with_prune_it_goes_and_the_run_says_so(config, capsys):
    shutil.rmtree(config.source.parent / "drive")
    assert main(["run", str(config.source.parent / "config.json"), "--prune"]) == 0
    assert "removed from the dataset, as the source has it no more: 3 of 3 tracks of 'game 1'" in out(capsys)
    assert tracks(config) == {f"game 0/track {number}.flac" for number in range(3)}
    assert not (config.dataset / "audio" / "game 1").exists()


def test_a_folder_that_is_empty_where_a_share_is_not_mounted_needs_prune(config):
    (config.source / "game 1").unlink()
    (config.source / "game 1").mkdir()
    with pytest.raises(UserError, match="3 of 3 tracks of 'game 1'"):
        run(config)
    assert len(tracks(config)) == 6


def test_a_source_with_nothing_but_its_system_folders_needs_prune(config):
    for path in config.source.iterdir():
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
    (config.source / "lost+found").mkdir()
    with pytest.raises(UserError, match=r"'game 0'.*'game 1'"):
        run(config)
    assert len(tracks(config)) == 6


def test_one_track_of_several_goes_with_a_word(config, capsys):
    (config.source / "game 0" / "track 1.flac").unlink()
    assert main(["run", str(config.source.parent / "config.json")]) == 0
    assert "1 of 3 tracks of 'game 0' (such as game 0/track 1.flac)" in out(capsys)
    assert len(tracks(config)) == 5


def test_a_single_track_on_a_drive_that_is_away_stays(config):
    path = config.source / "game 0" / "track 1.flac"
    path.unlink()
    path.symlink_to("/a drive/track 1.flac")
    with pytest.raises(UserError, match=r"1 of 3 tracks of 'game 0' \(game 0/track 1.flac: a broken symbolic link"):
        run(config)
    assert len(tracks(config)) == 6


def test_files_that_a_cloud_folder_has_emptied_are_not_removed(config):
    for path in (config.source / "game 0").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"3 of 3 tracks of 'game 0' \(game 0/track 0.flac: empty file\)"):
        run(config)
    assert len(tracks(config)) == 6


def test_renamed_and_moved_music_is_not_lost(config):
    (config.source / "game 0").rename(config.source / "Castle")
    assert run(config).losses == []
    assert {line.split("/")[0] for line in tracks(config)} == {"Castle", "game 1"}


def test_a_copy_that_was_there_before_does_not_make_up_for_a_game_that_is_away(config):
    shutil.copytree(config.source.parent / "drive" / "game 1", config.source / "game 2")
    run(config)
    (config.source.parent / "drive").rename(config.source.parent / "unplugged")
    with pytest.raises(UserError, match="3 of 3 tracks of 'game 1'"):
        run(config)
    (config.source / "game 1").unlink()
    with pytest.raises(UserError, match="3 of 3 tracks of 'game 1'"):
        run(config)


def test_what_a_setting_refuses_needs_no_prune(config):
    assert run(make_config(config.source, config.dataset, filter={"max_seconds": 1})).losses == []
    assert tracks(config) == set()


def test_single_steps_and_dry_runs_remove_nothing_and_a_dry_run_says_what_would_go(config, capsys):
    (config.source.parent / "drive").rename(config.source.parent / "unplugged")
    before = contents(config.dataset)
    assert main(["run", str(config.source.parent / "config.json"), "--dry-run"]) == 0
    assert re.search(r"would be removed.*3 of 3 tracks of 'game 1'.*--prune", out(capsys))
    assert contents(config.dataset) == before
    with pytest.raises(UserError, match="--prune"):
        run(config, ["split"])
    assert len(tracks(config)) == 6


def test_adding_music_while_a_drive_is_away_removes_nothing(config, tmp_path):
    (config.source.parent / "drive").rename(config.source.parent / "unplugged")
    write(tmp_path / "more" / "one.flac", tune(seed=50))
    arguments = ["add", str(config.source.parent / "config.json"), str(tmp_path / "more")]
    with pytest.raises(UserError, match="3 of 3 tracks of 'game 1'"):
        main(arguments)
    assert len(tracks(config)) == 6
    with pytest.raises(UserError, match="is a link to what is not there; is a drive away"):
        main([*arguments, "--game", "game 1"])
    assert main([*arguments, "--prune"]) == 0
    assert len(tracks(config)) == 4


@pytest.mark.parametrize("name", ["#recycle", "@eaDir", "lost+found"])
def test_no_game_is_added_under_a_name_that_is_never_read(config, tmp_path, name):
    write(tmp_path / "more" / "one.flac", tune(seed=50))
    with pytest.raises(UserError, match="systems call folders so"):
        main(["add", str(config.source.parent / "config.json"), str(tmp_path / "more"), "--game", name])


@pytest.mark.parametrize(
    ("gone", "total", "large"),
    [(1, 1, True), (1, 2, False), (2, 2, True), (2, 3, True), (2, 8, False), (3, 8, True), (25, 100, False)],
)
def test_a_single_track_of_several_and_a_quarter_of_a_game_may_go(gone, total, large):
    files = [f"g/{number}" for number in range(total)]
    losses = find_losses(files, [Record(file) for file in files[gone:]], {})
    assert losses[0].large == large
    if large:
        with pytest.raises(UserError, match="--prune"):
            check(losses, 1000, prune=False)
    check(losses, 1000, prune=True)


def test_a_little_of_every_game_is_much_of_the_whole():
    losses = [Loss(f"game {number}", (f"game {number}/1",), 3) for number in range(5)]
    with pytest.raises(UserError, match="and of 2 more games"):
        check(losses, 15, prune=False)
