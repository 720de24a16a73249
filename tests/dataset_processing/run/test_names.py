"""Output names are safe everywhere, bounded, and never shared."""

from __future__ import annotations

import os
import unicodedata

import pytest

from dataset_processing.run.names import MAX_BYTES, Names, readable, safe_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("name with spaces", "name with spaces"),
        ('it\'s "quoted"', "it's _quoted_"),
        ("-rf", "_rf"),
        (".", "_"),
        ("..", "_"),
        (".hidden", "_hidden"),
        ("back\\slash", "back_slash"),
        ("a\nb", "a_b"),
        ("rtl\u202emp3", "rtl_mp3"),
        ("CON", "_CON"),
        ("lpt1.old", "_lpt1.old"),
        ("dots. ", "dots"),
        ("emoji 🎮", "emoji 🎮"),
        (unicodedata.normalize("NFD", "é"), "é"),
        (os.fsdecode(b"caf\xe9"), "café"),
        ("two.dots.v1.0", "two.dots.v1.0"),
        ("$HOME `id` $(id); & |", "$HOME `id` $(id); & _"),
        ("", "_"),
    ],
)
def test_safe_name(name, expected):
    assert safe_name(name) == expected


@pytest.mark.parametrize("name", ["a" * 250, "ゲ" * 80, "🎮" * 60])
def test_long_names_are_cut_at_whole_characters(name):
    assert len(safe_name(name).encode()) <= MAX_BYTES
    assert name.startswith(safe_name(name))


def test_names_that_begin_alike_stay_apart():
    names = Names()
    first = names.assign("game/" + "a" * 200 + "1.ogg", "game")
    second = names.assign("game/" + "a" * 200 + "2.ogg", "game")
    assert first != second
    assert len(second[1].encode()) <= MAX_BYTES


def test_the_first_by_path_gets_the_plain_name_and_keeps_it():
    names = Names()
    assert names.assign("game/theme.mp3", "game") == ("game", "theme")
    folder, marked = names.assign("game/theme.ogg", "game")
    assert folder == "game"
    assert marked.startswith("theme~")
    assert names.assign("game/theme.ogg", "game") == (folder, marked)
    assert names.assign("game/disc 1/theme.ogg", "game") == ("game", "disc 1 - theme")


def test_games_that_differ_only_in_case_get_different_folders():
    names = Names()
    assert names.assign("Game/x.ogg", "Game")[0] == "Game"
    assert names.assign("game/x.ogg", "game")[0].startswith("game~")


def test_names_survive_saving(tmp_path):
    names = Names()
    given = [names.assign(os.fsdecode(b"g/\xe9.ogg"), "g"), names.assign("g/é.ogg", "g")]
    names.save(tmp_path / "names.json")
    again = Names.load(tmp_path / "names.json")
    assert [again.assign(os.fsdecode(b"g/\xe9.ogg"), "g"), again.assign("g/é.ogg", "g")] == given
    assert again.assign("g/É.ogg", "g")[1] not in {track.casefold() for _, track in given}


def test_bytes_that_are_not_utf8_are_read_as_latin_1():
    assert readable(os.fsdecode(b"G\xf6del")) == "Gödel"
