"""The key of a clip: that of its notes, of all keys or of those that are asked about."""

from __future__ import annotations

import pytest
import torch

from dualdiffusion.dsp.key import KEYS, MAJOR, MINOR, TONICS, key_of, keys_of_mode, transposed


@pytest.mark.parametrize("name", KEYS)
def test_what_sounds_as_a_key_fits_is_in_that_key(name: str) -> None:
    tonic, mode = name.split()
    classes = torch.tensor(MAJOR if mode == "major" else MINOR).double().roll(TONICS.index(tonic))
    assert key_of(classes).name == name
    assert key_of(classes, keys_of_mode(name)).name == name


def test_of_the_keys_of_the_other_mode_the_relative_one_fits_best() -> None:
    scale = torch.zeros(12, dtype=torch.float64)
    scale[[0, 2, 4, 5, 7, 9, 11]] = 1  # C major, all notes alike
    assert key_of(scale, keys_of_mode("C major")).name == "C major"
    assert key_of(scale, keys_of_mode("C minor")).name == "A minor"


def test_a_mode_has_twelve_keys_each_a_transposition_of_the_others() -> None:
    assert sorted(keys_of_mode("C major") + keys_of_mode("C minor")) == sorted(KEYS)
    assert {transposed("D minor", step) for step in range(12)} == set(keys_of_mode("D minor"))


def test_silence_and_what_sounds_alike_in_all_pitch_classes_have_no_key() -> None:
    assert key_of(torch.zeros(12, dtype=torch.float64)) is None
    assert key_of(torch.ones(12, dtype=torch.float64), keys_of_mode("C major")) is None
