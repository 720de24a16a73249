"""What a dry run tells of music that nobody has read yet, and how a run says how far it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataset_processing.__main__ import main
from dataset_processing.report.outlook import _with_estimates, outlook, stated_seconds
from dataset_processing.run import runner
from dataset_processing.run.progress_file import ProgressFile
from dataset_processing.run.run_config import RunConfig
from dataset_processing.step import Record
from tests.dataset_processing import modules
from tests.dataset_processing.sounds import make_config, make_source, tune, write
from tests.dataset_processing.test_game_music import GME, needs


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    source = make_source(tmp_path / "source", games=2, tracks=2, seconds=2)
    write(source / "game 1" / "track 2.ogg", tune(3))
    (source / "game 1" / "broken.wav").write_bytes(b"RIFF, and then nothing")
    (source / "game 1" / "cover.txt").write_text("a picture")
    (source / "loose.flac").write_bytes((source / "game 0" / "track 0.flac").read_bytes())
    return make_config(source, tmp_path / "dataset", processes=1)


def look(config: RunConfig, **settings: float) -> dict:
    names = ["scan", "convert", "filter", "split"]
    return outlook(runner.plan(config, names), config, **settings)


def test_games_hours_and_refusals_are_told_before_anything_is_read(config: RunConfig) -> None:
    told = look(config)
    assert [(g["game"], g["tracks"], g["refused"]) for g in told["games"]] == [("game 0", 2, 0), ("game 1", 3, 1)]
    assert told["hours"] == pytest.approx((4 * 2 + 3) / 3600, abs=1e-3)
    assert {file["file"] for file in told["refused_files"]} == {"game 1/broken.wav", "loose.flac"}
    assert told["not_audio"] == 1
    assert told["steps"][0] == {"step": "scan", "done": 6, "changed": 0, "up_to_date": 0}
    assert not told["estimated"]
    assert not config.dataset.exists()


def test_without_time_hours_are_estimated_from_what_is_known(config: RunConfig) -> None:
    told = look(config, patience=0)
    assert told["looked_into"] == 0 and told["estimated"]
    assert sum(game["tracks"] for game in told["games"]) == 6  # the broken one is found later


def test_game_music_is_as_long_as_it_is_played_whatever_its_bytes(tmp_path: Path) -> None:
    needs(GME)
    game = tmp_path / "source" / "Castle"
    game.mkdir(parents=True)
    (game / "hall.spc").write_bytes(modules.spc(seconds=20, fade=4000))
    (game / "castle.nsf").write_bytes(modules.nsf((440, 330, 220)))  # states no length
    config = make_config(tmp_path / "source", tmp_path / "out", processes=1, scan={"chip_seconds": 100})
    told = look(config)
    assert told["kept"] == 4 and told["looked_into"] == 2
    assert told["hours"] == pytest.approx((20 + 4 + 3 * (100 + 8)) / 3600, abs=1e-3)
    assert told["estimated"]  # a song without a length ends where it falls silent
    unseen = look(config, patience=0)
    assert unseen["hours"] == pytest.approx(2 * (100 + 8) / 3600, abs=1e-3)


def test_recordings_that_nobody_looked_into_are_as_long_for_their_bytes_as_others_of_their_kind() -> None:
    def record(file: str, size: int, **measured: float) -> Record:
        return Record(file, identity=(size, 0), measured=measured)

    known = [record("a/1.wav", 1000, seconds=10), record("a/1.mp3", 100, seconds=10)]
    records, estimated = _with_estimates([*known, record("a/2.wav", 2000), record("a/2.mp3", 200)], 158.0)
    assert estimated
    assert [r.measured["seconds"] for r in records] == [10, 10, 20, 20]


def test_the_command_answers_in_json_and_only_for_a_dry_run(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dualdiffusion.errors import UserError

    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_json()))
    assert main(["run", str(path), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 5
    with pytest.raises(UserError, match="--json: goes with --dry-run"):
        main(["run", str(path), "--json"])


def test_lengths_are_read_from_heads_of_files(tmp_path: Path) -> None:
    assert stated_seconds(write(tmp_path / "a.flac", tune(2))) == pytest.approx(2)
    (tmp_path / "a.txt").write_text("no sound")
    assert stated_seconds(tmp_path / "a.txt") is None


class Shown:
    """A view that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def start(self, step: str, total: int) -> None:
        self.told.append((step, total))

    def advance(self) -> None:
        self.told.append("advance")


def test_a_run_says_in_a_file_how_far_it_is(tmp_path: Path) -> None:
    path, shown = tmp_path / "progress.json", Shown()
    view = ProgressFile(path, ["scan", "convert"], shown)
    assert json.loads(path.read_text())["step"] == ""
    view.start("scan", 2)
    view.advance()
    view.advance()
    told = json.loads(path.read_text())
    assert (told["steps"], told["step"], told["done"], told["total"]) == (["scan", "convert"], "scan", 2, 2)
    assert told["started"] <= told["time"]
    assert shown.told == [("scan", 2), "advance", "advance"]


def test_a_run_goes_on_where_its_progress_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    view = ProgressFile(tmp_path / "file" / "progress.json", ["scan"], Shown())
    view.start("scan", 1)
    view.advance()
