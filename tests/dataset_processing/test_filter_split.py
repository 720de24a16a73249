"""Filter and split as rules on records."""

from __future__ import annotations

import pytest

from dataset_processing.step import Paths, Record
from dataset_processing.steps.filter import Filter
from dataset_processing.steps.split import Split

GOOD = {"seconds": 60.0, "silence_share": 0.0, "clipped_share": 0.0, "bandwidth_hz": 16000}


def track(file: str, **measured) -> Record:
    return Record(file, file.split("/")[0], measured={**GOOD, "audio_hash": file, **measured})


def run(cls, records, **settings):
    return cls(cls.Config(**settings), paths=Paths(None, None)).run_all(records, None)


@pytest.mark.parametrize(
    ("measured", "settings", "reason"),
    [
        ({"seconds": 4.0}, {}, "too short: 4.00 s, at least 5 s are wanted"),
        ({"seconds": 4000.0}, {}, "too long: 4000 s, at most 3600 s are wanted"),
        ({"seconds": 4.0}, {"min_seconds": None}, ""),
        ({"silence_share": 0.9}, {}, "mostly silence: 90% of it, at most 80% are wanted"),
        ({"clipped_share": 0.1}, {"max_clipped_share": 0.05}, "clipped: 10.0% of its samples"),
        ({"bandwidth_hz": 3400}, {"min_bandwidth_hz": 5000}, "dull: nothing above 3400 Hz"),
        ({}, {"min_tracks_per_game": 2}, "its game has only 1 of the 2 tracks"),
        ({}, {}, ""),
    ],
)
def test_limits_refuse_with_the_measured_value(measured, settings, reason):
    (record,) = run(Filter, [track("g/a", **measured)], **settings)
    assert record.reason.startswith(reason)
    assert record.kept == (reason == "")


def test_duplicates_keep_the_first_by_name_and_do_not_count_as_tracks_of_a_game():
    records = [track("a/1"), track("b/1", audio_hash="a/1"), track("b/2")]
    reasons = [record.reason for record in run(Filter, records, min_tracks_per_game=1)]
    assert reasons == ["", "a duplicate: its samples equal those of a/1", ""]
    assert [record.kept for record in run(Filter, records, min_tracks_per_game=2)] == [False, False, False]
    assert all(record.kept for record in run(Filter, records, duplicates=False))


def sides(records, **settings) -> dict[str, str]:
    return {record.file: record.fields["split"] for record in run(Split, records, **settings)}


def test_adding_tracks_moves_no_other_track():
    few = [track(f"g/{number}") for number in range(100)]
    before = sides(few, validation_fraction=0.2)
    after = sides([*few, *(track(f"g/new {number}") for number in range(100))], validation_fraction=0.2)
    assert {file: after[file] for file in before} == before
    assert 25 <= list(after.values()).count("validation") <= 55


def test_a_fixed_number_never_takes_a_track_out_of_training():
    few = [track(f"g/{number}") for number in range(10)]
    before = sides(few, validation_tracks=2)
    after = sides([*few, track("g/new"), track("g/other")], validation_tracks=2)
    assert list(after.values()).count("validation") == 2
    assert all(after[file] == "train" for file, side in before.items() if side == "train")


def test_the_seed_changes_the_split_and_a_renamed_track_keeps_its_side():
    records = [track(f"g/{number}") for number in range(50)]
    renamed = [track(f"g/renamed {number}", audio_hash=f"g/{number}") for number in range(50)]
    assert list(sides(records, validation_fraction=0.5).values()) == list(
        sides(renamed, validation_fraction=0.5).values()
    )
    assert sides(records, validation_fraction=0.5) != sides(records, validation_fraction=0.5, seed=1)


def test_every_game_keeps_a_training_track():
    records = [track("a/1"), track("b/1"), track("b/2")]
    assert sides(records, validation_tracks=5)["a/1"] == "train"
    assert list(sides(records, validation_tracks=5).values()).count("train") == 2
    assert list(sides(records, validation_fraction=0.999).values()).count("train") >= 2
