"""A file of several songs in a dataset: a track for each, under names that stay, and nothing is done twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dataset_processing.run import runner
from dataset_processing.run.result import Result
from dataset_processing.run.run_config import RunConfig, select_steps
from dualdiffusion.audio import read_tags
from dualdiffusion.files import read_json, read_jsonl
from tests.dataset_processing import modules
from tests.dataset_processing.sounds import contents, make_config, write
from tests.dataset_processing.test_game_music import GME, needs

SONGS = (440, 330, 440, modules.PAUSE)


def settings(folder: Path, **scan: float) -> RunConfig:
    return make_config(
        folder / "source",
        folder / "dataset",
        processes=1,
        scan={"chip_seconds": 3, "fade_seconds": 1, **scan},
        filter={"near_duplicate_share": None},
    )


def run(config: RunConfig, *, prune: bool = False) -> Result:
    return runner.run(config, select_steps(config, None), prune=prune)


def done(result: Result) -> dict[str, int]:
    return {count.step: count.done for count in result.steps if count.done}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished dataset of a file with four songs, one with one, and a recording."""
    needs(GME)
    folder = tmp_path_factory.mktemp("finished")
    write(folder / "source" / "Castle" / "recording.flac")
    (folder / "source" / "Castle" / "castle.nsf").write_bytes(modules.nsf(SONGS))
    (folder / "source" / "Castle" / "hall.spc").write_bytes(modules.spc())
    assert done(run(settings(folder))) == {"scan": 6, "convert": 5}
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def audio(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "dataset" / "audio" / "Castle").iterdir()}


def test_every_song_is_a_track_and_a_single_one_keeps_the_name_of_its_file(finished):
    assert sorted(audio(finished)) == ["castle #01.flac", "castle #02.flac", "hall.flac", "recording.flac"]
    tracks = read_jsonl(finished / "dataset" / "train.jsonl") + read_jsonl(finished / "dataset" / "validation.jsonl")
    lines = {track["file_name"].rpartition("/")[2]: track for track in tracks}
    assert [lines[f"castle #0{number}.flac"]["source_song"] for number in (1, 2)] == [1, 2]
    assert lines["castle #01.flac"]["source_file"] == lines["castle #02.flac"]["source_file"] == "Castle/castle.nsf"
    assert lines["castle #01.flac"]["seconds"] == pytest.approx(4, abs=0.01)
    assert lines["hall.flac"]["source_file"] == "Castle/hall.spc"
    assert "source_song" not in lines["hall.flac"]
    assert (lines["castle #02.flac"]["title"], lines["hall.flac"]["title"]) == ("castle #02", "Hall")


def test_the_tags_of_a_song_are_those_of_its_track(finished):
    tags = read_tags(finished / "dataset" / "audio" / "Castle" / "castle #02.flac")
    assert (
        tags.items()
        >= {
            "artist": "Composer",
            "album": "Castle",
            "date": "1990",
            "tracknumber": "2/4",
            "game": "Castle",
        }.items()
    )


def test_the_report_names_each_song_and_links_to_its_file(finished):
    report = read_json(finished / "dataset" / "report.json")
    reasons = {file["file"]: file["reason"] for file in report["files"]}
    assert reasons["Castle/castle.nsf/#03"] == "a duplicate: its samples equal those of Castle/castle.nsf/#01"
    assert reasons["Castle/castle.nsf/#04"] == "silent: every sample is zero"
    assert "Castle/castle.nsf" not in reasons
    page = (finished / "dataset" / "report.html").read_text()
    assert 'href="../source/Castle/castle.nsf"' in page
    assert "castle.nsf/%23" not in page


def test_a_second_run_does_nothing_and_a_plan_says_so(folder):
    before = contents(folder / "dataset")
    plan = runner.plan(settings(folder), ["scan", "convert"])
    assert [(count.step, count.done, count.up_to_date) for count in plan.steps if count.step == "scan"] == [
        ("scan", 0, 6)
    ]
    result = run(settings(folder))
    assert (done(result), result.changed_files) == ({}, [])
    assert contents(folder / "dataset") == before


def test_another_length_is_played_by_the_songs_that_state_none_and_by_no_other(folder):
    before = audio(folder)
    assert done(run(settings(folder, loops=3))) == {}
    assert done(run(settings(folder, chip_seconds=2))) == {"scan": 4, "convert": 3}
    after = audio(folder)
    assert before.keys() == after.keys()
    assert {name for name in after if after[name] != before[name]} == {"castle #01.flac", "castle #02.flac"}


@pytest.mark.slow
def test_songs_keep_their_names_when_their_file_and_what_lies_beside_it_change(folder):
    before = audio(folder)
    source = folder / "source" / "Castle"
    write(source / "castle #01.flac")
    write(source / "castle.flac")
    (source / "castle.nsf").write_bytes(modules.nsf((*SONGS, 262)))
    assert done(run(settings(folder)))["scan"] == 5 + 2
    report = read_json(folder / "dataset" / "report.json")
    outputs = {file["file"]: file["output"] for file in report["files"]}
    assert outputs["Castle/castle.nsf/#01"] == "audio/Castle/castle #01.flac"
    assert outputs["Castle/castle.nsf/#05"] == "audio/Castle/castle #05.flac"
    assert outputs["Castle/castle #01.flac"].startswith("audio/Castle/castle #01~")
    assert audio(folder)["hall.flac"] == before["hall.flac"]
    os.utime(source / "castle.nsf")
    assert done(run(settings(folder))) == {"scan": 5}


def test_the_tracks_of_a_file_that_is_gone_go_with_it(folder):
    (folder / "source" / "Castle" / "castle.nsf").unlink()
    run(settings(folder), prune=True)
    assert sorted(audio(folder)) == ["hall.flac", "recording.flac"]
    assert not any("castle" in name for name in read_json(folder / "dataset" / ".state" / "names.json")["tracks"])
