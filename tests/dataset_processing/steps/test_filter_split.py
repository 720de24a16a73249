"""Filter and split as rules on records."""

from __future__ import annotations

import pytest

from dataset_processing.step import Paths, Record
from dataset_processing.steps.filter import Filter
from dataset_processing.steps.split import Split

GOOD = {"seconds": 60.0, "silence_share": 0.0, "clipped_share": 0.0, "bandwidth_hz": 16000, "sample_rate": 44100}


def track(file: str, **measured) -> Record:
    return Record(file, file.split("/")[0], measured={**GOOD, "audio_hash": file, **measured})


def run(cls, records, **settings):
    return cls(cls.Config(**settings), paths=Paths(None, None)).run_all(records, Strangers())


class Strangers:
    """The runner's part, where no track resembles another."""

    def remembered(self, name, key, compute):
        return []


@pytest.mark.parametrize(
    ("measured", "settings", "reason"),
    [
        ({"seconds": 4.0}, {}, "too short: 4.00 s, at least 5 s are wanted"),
        ({"seconds": 4000.0}, {}, "too long: 4000 s, at most 3600 s are wanted"),
        ({"seconds": 4.0}, {"min_seconds": None}, ""),
        ({"silence_share": 0.9}, {}, "mostly silence: 90% of it, at most 80% are wanted"),
        ({"clipped_share": 0.1}, {"max_clipped_share": 0.05}, "clipped: 10.0% of its samples"),
        ({"bandwidth_hz": 3400}, {"min_bandwidth_hz": 5000}, "dull: nothing above 3400 Hz"),
        ({"cutoff_hz": 16000}, {}, "its sound ends sharply at 16.0 kHz although its sample rate promises 22.1 kHz"),
        ({"cutoff_hz": 17500}, {}, ""),
        ({"cutoff_hz": 16000}, {"min_cutoff_share": 0.7}, ""),
        ({"cutoff_hz": 16000}, {"min_cutoff_share": None}, ""),
        ({"cutoff_hz": 3800, "sample_rate": 8000}, {}, ""),
        ({"clipped_share": 0.7}, {}, ""),
        ({}, {"min_tracks_per_game": 2}, "its game has only 1 of the 2 tracks"),
        ({}, {}, ""),
    ],
)
def test_limits_refuse_with_the_measured_value(measured, settings, reason):
    (record,) = run(Filter, [track("g/a", **measured)], **settings)
    assert record.reason.startswith(reason)
    assert record.kept == (reason == "")


@pytest.mark.parametrize(("dataset_rate", "kept"), [(22050, True), (32000, True), (44100, False), (48000, False)])
def test_an_edge_at_16_khz_harms_no_dataset_that_ends_there_itself(dataset_rate, kept):
    record = track("g/a", cutoff_hz=16000, sample_rate=48000).adding(fields={"sample_rate": dataset_rate})
    (record,) = run(Filter, [record])
    assert record.kept == kept
    assert kept or "filter.min_cutoff_share decides" in record.reason


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


def together(*files: str) -> dict:
    return {"same_side": sorted(files)}


def test_tracks_with_the_same_recording_stand_on_one_side():
    for seed in range(20):
        pair = [track("g/1", **together("g/1", "h/1")), track("h/1", **together("g/1", "h/1"))]
        others = [track(f"{game}/{number}") for game in "gh" for number in range(2, 8)]
        for settings in ({"validation_fraction": 0.4}, {"validation_tracks": 2}):
            found = sides([*pair, *others], seed=seed, **settings)
            assert found["g/1"] == found["h/1"]
    assert "validation" in found.values()


def test_a_copy_that_is_added_never_sends_a_track_from_training_to_validation():
    few = [track(f"g/{number}") for number in range(60)]
    before = sides(few, validation_fraction=0.3)
    copied = [
        track(f"g/{number}", **together(f"g/{number}", f"g/copy {number}")) if number < 30 else few[number]
        for number in range(60)
    ]
    after = sides(copied, validation_fraction=0.3)
    assert all(after[file] == "train" for file, side in before.items() if side == "train")
    assert list(after.values()).count("validation") < list(before.values()).count("validation")


def test_every_game_keeps_a_training_track():
    records = [track("a/1"), track("b/1"), track("b/2")]
    assert sides(records, validation_tracks=5)["a/1"] == "train"
    assert list(sides(records, validation_tracks=5).values()).count("train") == 2
    assert list(sides(records, validation_fraction=0.999).values()).count("train") >= 2
