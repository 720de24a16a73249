"""Games and mixes of games."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dualdiffusion.errors import UserError
from dualdiffusion.labels import Game, Labels
from sampling.request import Request

LABELS = Labels((Game(0, "Castle", 3), Game(2, "Cave", 1)))


def test_one_game_is_one_hot() -> None:
    assert LABELS.vector({"Cave": 5.0}) == [0.0, 0.0, 1.0]


def test_mixes_are_scaled_to_unit_length_and_only_ratios_matter() -> None:
    assert LABELS.vector({"Castle": 3, "Cave": -4}) == pytest.approx([0.6, 0.0, -0.8])
    assert LABELS.vector({"Castle": 30, "Cave": 10}) == pytest.approx(LABELS.vector({"Castle": 3, "Cave": 1}))
    assert math.hypot(*LABELS.vector({"Castle": 0.1, "Cave": 0.7})) == pytest.approx(1)


def test_unknown_games_are_answered_with_the_nearest_names() -> None:
    with pytest.raises(UserError, match="unknown game 'Castel'; nearest: Castle"):
        LABELS.vector({"Castel": 1.0})


def test_a_mix_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="other than 0"):
        LABELS.vector({"Castle": 0.0})


COMPOSED, COMBINING = "Pok\u00e9mon", "Poke\u0301mon"


@pytest.mark.parametrize("stored", [COMPOSED, COMBINING])
@pytest.mark.parametrize("asked", [COMPOSED, COMBINING])
def test_a_name_is_the_same_whether_its_accent_is_a_character_of_its_own(stored: str, asked: str) -> None:
    labels = Labels.from_json({"games": [{"id": 0, "name": stored, "tracks": 1}]}, Path("labels.json"))
    assert labels.vector({asked: 1.0}) == [1.0]
    request = Request(games={asked: 2.0})
    assert request.label_vector(labels) == [1.0] and list(request.games) == labels.names


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("Ni\u00a0er", "Ni er"),
        ("O'Neil", "O\u2019Neil"),
        ("Spider-Man", "Spider\u2011Man"),
        ("\u30b2\u30fc\u30e0", "\uff79\uff9e\uff70\uff91"),
        ("Castle", " Castle\u200b"),
        ("A: B", "A\uff1a B"),
    ],
)
def test_a_name_that_looks_the_same_is_the_same_unless_another_game_has_it(stored: str, asked: str) -> None:
    assert Labels((Game(0, stored, 1), Game(1, "Cave", 1))).id_of(asked) == 0
    assert Labels((Game(0, stored, 1), Game(1, asked, 1))).id_of(asked) == 1


def test_a_mix_takes_the_names_of_its_games() -> None:
    labels = Labels((Game(0, "Ni\u00a0er", 1), Game(1, "Cave", 1)))
    request = Request(games={"Ni er": 2.0}, games_end={" Cave": 1.0}).named_as(labels)
    assert request.games == {"Ni\u00a0er": 2.0} and request.games_end == {"Cave": 1.0}
    assert labels.named({"Ni er": 2.0, "Ni\u00a0er": 1.0}) == {"Ni\u00a0er": 3.0}
