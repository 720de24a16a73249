"""The runner: it does what is missing or changed, and nothing else; a kill at any moment leaves no trace."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dataset_processing.run import runner
from dataset_processing.run.result import Ranks, StepCount
from dataset_processing.run.run_config import RunConfig, select_steps, settled, step_name
from dataset_processing.step import CollectiveStep, Record
from dualdiffusion.component import Component
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, read_jsonl
from dualdiffusion.labels import Labels
from tests.dataset_processing.sounds import contents, make_config, make_source, tune, write


def run(config, steps=None, **settings):
    return runner.run(config, select_steps(config, steps), **settings)


def done(result) -> dict[str, int]:
    return {count.step: count.done for count in result.steps if count.done}


def modified(folder) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished dataset of two games with three tracks each; to be copied before it is changed."""
    folder = tmp_path_factory.mktemp("finished")
    make_source(folder / "source")
    run(make_config(folder / "source", folder / "dataset"))
    return folder


@pytest.fixture
def config(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return make_config(tmp_path / "source", tmp_path / "dataset")


def test_the_dataset_is_written_as_specified(config):
    tracks = read_jsonl(config.dataset / "train.jsonl") + read_jsonl(config.dataset / "validation.jsonl")
    assert len(tracks) == 6
    wanted = "file_name game game_id title artist seconds sample_rate channels loudness_lufs peak source_sha256"
    for track in tracks:
        assert set(wanted.split()) <= set(track)
        assert (config.dataset / track["file_name"]).is_file()
    assert sorted(track["file_name"] for track in tracks)[:2] == [
        "audio/game 0/track 0.flac",
        "audio/game 0/track 1.flac",
    ]
    labels = Labels.load(config.dataset / "dataset_info.json")
    assert [(game.id, game.name, game.tracks) for game in labels.games] == [(0, "game 0", 2), (1, "game 1", 2)]
    report = read_json(config.dataset / "report.json")
    assert report["summary"]["kept"] == 6
    assert {"file", "game", "verdict", "reason", "notes", "measured"} <= set(report["files"][0])


def test_a_second_run_does_nothing(config):
    before = modified(config.dataset)
    result = run(config)
    assert done(result) == {}
    assert result.changed_files == []
    assert modified(config.dataset) == before


def test_a_changed_file_redoes_only_its_own(config):
    audio = config.dataset / "audio"
    before = modified(audio)
    write(config.source / "game 0" / "track 1.flac", tune(seed=77))
    assert done(run(config)) == {"scan": 1, "convert": 1}
    after = modified(audio)
    changed = {path for path in before if after[path] != before[path] and path.endswith(".flac")}
    assert changed == {str(audio / "game 0" / "track 1.flac")}


def test_a_touched_file_is_scanned_but_not_converted_again(config):
    os.utime(config.source / "game 0" / "track 1.flac")
    assert done(run(config)) == {"scan": 1}


def test_another_setting_redoes_its_step_and_what_follows(config):
    changed = make_config(config.source, config.dataset, convert={"sample_rate": 8000})
    assert done(run(changed)) == {"convert": 6}
    assert done(run(make_config(config.source, config.dataset, filter={"min_seconds": 1}))) == {"convert": 6}


def test_the_outputs_of_a_removed_file_are_removed_and_nothing_else(config):
    (config.source / "game 1" / "track 2.flac").unlink()
    (config.dataset / "audio" / "game 1" / "my notes.txt").write_text("mine")
    run(config)
    assert sorted(path.name for path in (config.dataset / "audio" / "game 1").iterdir()) == [
        "my notes.txt",
        "track 0.flac",
        "track 1.flac",
    ]


def test_a_deleted_output_is_made_again(config):
    before = contents(config.dataset)
    (config.dataset / "audio" / "game 0" / "track 0.flac").unlink()
    assert done(run(config))["convert"] == 1
    assert contents(config.dataset) == before


def test_a_duplicate_is_refused_by_name_and_leaves_no_file(config):
    shutil.copy(config.source / "game 0" / "track 0.flac", config.source / "game 1" / "track 0 again.flac")
    (config.source / "game 1" / "link.flac").symlink_to(config.source / "game 0" / "track 0.flac")
    for _ in range(2):
        result = run(config)
        reasons = {record.file: record.reason for record in result.failures}
        assert reasons == dict.fromkeys(
            ["game 1/link.flac", "game 1/track 0 again.flac"],
            "a duplicate: its samples equal those of game 0/track 0.flac",
        )
    assert done(result) == {}
    assert not (config.dataset / "audio" / "game 1" / "track 0 again.flac").exists()


def test_ids_stay_when_games_come_and_go(config):
    write(config.source / "a new game" / "one.flac", tune(seed=50))
    run(config)
    shutil.rmtree(config.source / "game 0")
    run(config, prune=True)
    games = read_json(config.dataset / "dataset_info.json")["games"]
    assert [(game["id"], game["name"], game["tracks"]) for game in games] == [
        (0, "game 0", 0),
        (1, "game 1", 2),
        (2, "a new game", 1),
    ]
    write(config.source / "game 0" / "back.flac", tune(seed=51))
    run(config)
    assert read_json(config.dataset / "dataset_info.json")["games"][0]["tracks"] == 1


def test_the_number_of_processes_and_the_order_do_not_matter(config, tmp_path):
    alone = make_config(config.source, tmp_path / "alone", processes=1)
    run(alone)
    assert contents(alone.dataset) == contents(config.dataset)


def test_single_steps_reach_the_same_dataset(config, tmp_path):
    stepwise = make_config(config.source, tmp_path / "stepwise")
    with pytest.raises(UserError, match="not up to date for scan"):
        run(stepwise, ["convert"])
    result = run(stepwise, ["scan"])
    assert (result.complete, result.waiting_for) == (False, "convert")
    assert not (stepwise.dataset / "train.jsonl").exists()
    run(stepwise, ["convert"])
    run(stepwise, ["filter", "split"])
    assert contents(stepwise.dataset) == contents(config.dataset)


def test_a_dry_run_counts_and_writes_nothing(config):
    write(config.source / "game 0" / "new.flac", tune(seed=60))
    write(config.source / "game 0" / "track 1.flac", tune(seed=61))
    before = modified(config.dataset)
    counts = {count.step: count for count in runner.plan(config, ["scan", "convert", "filter", "split"]).steps}
    assert counts["scan"] == StepCount("scan", done=1, changed=1, up_to_date=5)
    assert counts["convert"] == StepCount("convert", done=1, changed=1, up_to_date=5)
    assert modified(config.dataset) == before


def test_a_torn_journal_line_is_ignored(config):
    before = contents(config.dataset)
    journal = config.dataset / ".state" / "scan.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    assert done(run(config)) == {"scan": 1}
    assert contents(config.dataset) == before


def test_a_damaged_dataset_info_stops_the_run_before_ids_can_move(config):
    (config.dataset / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match=r"dataset_info\.json: not valid JSON"):
        run(config)


@pytest.mark.kills
@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGINT])
def test_a_run_stopped_at_any_moment_goes_on_to_the_same_dataset(tmp_path, sig):
    make_source(tmp_path / "source", games=2, tracks=6, seconds=4)
    config = make_config(tmp_path / "source", tmp_path / "undisturbed")
    run(config)
    config = config.model_copy(update={"dataset": tmp_path / "stopped"})
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    command = [sys.executable, "-m", "dataset_processing", "run", str(tmp_path / "config.json")]
    moments = random.Random(sig)
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        time.sleep(moments.uniform(0.6, 1.8))
        os.kill(process.pid, sig)
        _, errors = process.communicate(timeout=20)
        assert process.returncode in ((-9, 0) if sig == signal.SIGKILL else (130, -2, 0)), errors
    time.sleep(0.5)
    run(config)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "undisturbed")


class Mark(CollectiveStep):
    """Stands for a heavy step such as encode: writes a file per record."""

    optional = True

    def run_all(self, records, work):
        return work.each(records, self.mark)

    def mark(self, record: Record) -> Record:
        output = f"latents/{record.folder}/{record.track}.txt"
        path = self.paths.dataset / output
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.fields["split"])
        return record.adding(fields={"latents_file_name": output}, outputs={output: path.stat().st_size})


def test_a_heavy_collective_step_does_each_record_once_and_reports_its_outputs(config):
    marked = config.model_copy(update={"steps": (*config.steps, Component(Mark, Mark.Config()))})
    name = step_name(marked.steps[-1])
    assert done(run(marked)) == {name: 6}
    assert read_jsonl(config.dataset / "train.jsonl")[0]["latents_file_name"].startswith("latents/")
    assert done(run(marked)) == {}
    (config.dataset / "latents" / "game 0" / "track 0.txt").unlink()
    assert done(run(marked, [name])) == {name: 1}
    (config.source / "game 0" / "track 0.flac").unlink()
    run(marked, ["scan", "convert"])
    assert not (config.dataset / "latents" / "game 0" / "track 0.txt").exists()
    tracks = read_jsonl(config.dataset / "train.jsonl") + read_jsonl(config.dataset / "validation.jsonl")
    assert all("latents_file_name" in track for track in tracks)


class Broken(Mark):
    """Stands for encode without a trained model."""

    distributed = True

    def identity(self):
        raise UserError("models/demo: no such folder")

    @classmethod
    def needs(cls, config):
        raise UserError("models/demo: no such folder")


def test_a_missing_model_costs_nothing_but_the_latents(tmp_path):
    plain = make_config(make_source(tmp_path / "source"), tmp_path / "dataset")
    broken = plain.model_copy(update={"steps": (*plain.steps, Component(Broken, Broken.Config()))})
    with pytest.raises(UserError, match="models/demo"):
        run(broken)
    assert len(read_jsonl(plain.dataset / "train.jsonl")) == 4
    assert done(run(broken, ["scan", "convert", "filter", "split"])) == {}


class Needs(Mark):
    """Stands for encode with a model of 16 kHz."""

    optional = True

    @classmethod
    def needs(cls, config) -> dict[str, int]:
        return {"sample_rate": 16000, "channels": 1}


def before(step: type, **convert: int | None) -> RunConfig:
    """The usual steps and another one behind them."""
    config = make_config(Path("source"), Path("dataset"), convert={"sample_rate": None, **convert})
    return config.model_copy(update={"steps": (*config.steps, Component(step, step.Config()))})


def settings_of_convert(config: RunConfig, selected: list[str]) -> tuple[int, int]:
    convert = settled(config, selected).steps[1].config
    return convert.sample_rate, convert.channels


def test_what_convert_leaves_open_is_what_the_models_format_takes():
    assert settings_of_convert(before(Needs), ["convert", step_name(before(Needs).steps[-1])]) == (16000, 1)
    assert settings_of_convert(before(Needs), ["convert"]) == (16000, 1)
    assert settings_of_convert(before(Mark), ["convert"]) == (32000, 2)
    assert settings_of_convert(before(Broken), ["convert"]) == (32000, 2)


def test_without_the_model_convert_leaves_what_a_dataset_has(config):
    run(config)
    mistyped = config.model_copy(update={"steps": before(Broken).steps})
    assert settings_of_convert(mistyped, ["convert"]) == (16000, 2)
    with pytest.raises(UserError, match="models/demo"):
        run(mistyped)
    assert done(run(config)) == {}


def test_another_rate_than_the_models_is_told_before_a_track_is_lost(config):
    run(config)
    kept = contents(config.dataset)
    conflict = config.model_copy(update={"steps": before(Needs, sample_rate=32000).steps})
    with pytest.raises(UserError, match=r"steps.1.sample_rate: is 32000, but .* needs 16000; leave sample_rate out"):
        run(conflict)
    assert contents(config.dataset) == kept
    # Where that step is not asked for, its model may be another one yet.
    assert settings_of_convert(conflict, ["scan", "convert"]) == (32000, 1)


class Refuse(Mark):
    """Stands for encode where it refuses a track."""

    distributed = True

    def mark(self, record: Record) -> Record:
        return record.refused("too short for the model")


def test_what_a_distributed_step_refuses_is_not_converted_again_and_again(config):
    refusing = config.model_copy(update={"steps": (*config.steps, Component(Refuse, Refuse.Config()))})
    assert len(run(refusing).failures) == 6
    assert done(run(refusing)) == {}
    assert (config.dataset / "train.jsonl").read_text() == ""


def test_launched_processes_share_a_distributed_step(config):
    """Two ranks in turn: each does its share, and the first sees the results of both."""

    class Shared(Mark):
        distributed = True

    Shared.__module__ = Mark.__module__
    shared = config.model_copy(update={"steps": (*config.steps, Component(Shared, Shared.Config()))})
    selected = select_steps(shared, None)
    second = runner.run(shared, selected, ranks=Ranks(1, 2))
    assert sum("latents_file_name" in record.fields for record in second.records) == 3
    first = runner.run(shared, selected, ranks=Ranks(0, 2))
    assert sum("latents_file_name" in record.fields for record in first.records) == 6
    assert not list((config.dataset / ".state").glob("*.rank*"))


def test_what_another_process_could_not_read_is_told_by_the_first_and_tried_again(config):
    class Unlucky(Mark):
        distributed = True
        broken = True

        def mark(self, record):
            if self.broken:
                raise OSError(5, "Input/output error")
            return super().mark(record)

    Unlucky.__module__ = Mark.__module__
    shared = config.model_copy(update={"steps": (*config.steps, Component(Unlucky, Unlucky.Config()))})
    selected = select_steps(shared, None)
    for again in (False, True):
        Unlucky.broken = not again
        runner.run(shared, selected, ranks=Ranks(1, 2))
        first = runner.run(shared, selected, ranks=Ranks(0, 2))
        reasons = [record.reason for record in first.records if not record.kept]
        assert reasons == ([] if again else ["cannot be read: Input/output error"] * 6)
        assert sum("latents_file_name" in record.fields for record in first.records) == (6 if again else 0)


def test_what_is_not_a_track_is_listed_and_counts_as_no_failure(config):
    for name in ("cover.jpg", "list.m3u8", "notes.txt", ".hidden", "data.xyz"):
        (config.source / "game 0" / name).write_bytes(b"\xff\xd8\xff" + bytes(100))
    result = run(config)
    assert result.failures == []
    listed = {record.file: record.reason for record in result.records if not record.kept}
    assert len(listed) == 5
    assert all(listed.values())


def test_unreadable_things_are_refused_with_the_reason(config):
    folder = config.source / "game 0"
    (folder / "broken.ogg").symlink_to("nothing.ogg")
    (folder / "itself.ogg").symlink_to("itself.ogg")
    (folder / "loop").symlink_to("..")
    os.mkfifo(folder / "pipe.wav")
    (folder / "half.ogg.part").write_bytes(b"OggS")
    write(config.source / "loose.flac")
    reasons = {record.file: record.reason for record in run(config).records if not record.kept}
    assert "broken symbolic link" in reasons["game 0/broken.ogg"]
    assert "leads to itself" in reasons["game 0/itself.ogg"]
    assert "is read already" in reasons["game 0/loop"]
    assert "not a regular file" in reasons["game 0/pipe.wav"]
    assert "unfinished download" in reasons["game 0/half.ogg.part"]
    assert "directly in the source folder" in reasons["loose.flac"]


def test_no_two_sources_share_an_output_and_names_stay(config):
    names = [b"track 0.wav", b"Track 0.wav", b"caf\xe9.wav", "café.wav".encode(), b"-rf.wav", b"a\nb.wav", b"CON.wav"]
    for seed, name in enumerate(names):
        path = write(config.source / "plain.wav", tune(seed=200 + seed))
        path.rename(os.fsdecode(os.fsencode(config.source / "game 0") + b"/" + name))
    result = run(config)
    assert [record.reason for record in result.failures] == []
    before = {record.file: record.fields["file_name"] for record in result.records}
    assert before["game 0/track 0.flac"] == "audio/game 0/track 0.flac"
    assert len({name.casefold() for name in before.values()}) == 6 + len(names)
    assert all((config.dataset / name).is_file() for name in before.values())
    write(config.source / "game 0" / "TRACK 0.wav", tune(seed=300))
    after = {record.file: record.fields["file_name"] for record in run(config).records}
    assert {file: after[file] for file in before} == before
    for line in read_jsonl(config.dataset / "train.jsonl"):
        assert line["file_name"].encode()  # valid UTF-8, whatever the source was called


def test_records_survive_json():
    record = Record("g/\udce9.ogg", "g", notes=("a",), measured={"x": 1.5}, identity=(1, 2))
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert replace(record, verdict="refused") == record.refused("")
