"""Rhythm, notes and form against sounds whose answers are known, and what must not change them."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from dualdiffusion.dsp.onsets import onset_curve
from sampling.evaluation.music.pitch import agreement, focus, intervals, pitch_classes, running_median, sharpness
from sampling.evaluation.music.record import MEASURES, listen
from sampling.evaluation.music.rhythm import autocorrelation, rhythm
from sampling.evaluation.music.sections import section_contrast
from tests.sampling.evaluation.sounds import C_MAJOR, RATE, chord, clicks, noise, seeded, tune

SEMITONE = 2 ** (1 / 12)


# Rhythm


@pytest.mark.parametrize("tempo", [61, 75, 90, 120, 143.5, 180, 199])
def test_a_click_track_has_a_clear_beat_of_its_tempo_that_stays(tempo: float) -> None:
    found = rhythm(clicks(tempo), RATE)
    assert found.tempo == pytest.approx(tempo, rel=0.01)
    assert found.beat > 0.75
    assert found.stays > 0.95
    assert found.onsets > 4


def test_a_held_chord_has_no_beat() -> None:
    found = rhythm(chord(), RATE)
    assert found.beat < 0.3
    assert found.density < 0.05
    assert found.onsets < 2


def test_noise_has_neither_beat_nor_notes() -> None:
    for seed in range(3):
        found = rhythm(noise(seed=seed), RATE)
        assert found.beat < 0.15
        assert found.tempo is None
        assert found.stays == 0
        assert found.onsets < 1.5
        assert sharpness(noise(seed=seed), RATE) < 0.2


def test_a_tempo_that_changes_does_not_stay() -> None:
    for before, after in ((120, 90), (80, 110), (150, 100)):
        changed = rhythm(torch.cat([clicks(before, 4.0), clicks(after, 4.0)], dim=1), RATE)
        assert changed.stays < 0.7
        assert changed.beat < 0.7
    paused = torch.cat([clicks(120, 4.0), 0 * clicks(120, 4.0)], dim=1)
    assert rhythm(paused, RATE).stays < 0.7


def test_half_the_notes_of_a_beat_are_not_another_tempo() -> None:
    assert rhythm(torch.cat([clicks(120, 8.0), clicks(60, 8.0)], dim=1), RATE).stays > 0.9


def test_a_clip_too_short_for_two_parts_does_not_say_whether_its_tempo_stays() -> None:
    found = rhythm(clicks(120, 6.0), RATE)
    assert found.tempo == pytest.approx(120, rel=0.01)
    assert found.stays is None


def test_a_softer_beat_under_noise_is_less_clear() -> None:
    clear = [rhythm(clicks(120) + level * noise(), RATE).beat for level in (0, 0.1, 1, 5)]
    assert clear == sorted(clear, reverse=True)
    assert clear[-1] < 0.4 < 0.8 < clear[0]


def test_autocorrelation_is_that_of_its_definition() -> None:
    curve = torch.rand(200, generator=seeded(), dtype=torch.float64)
    centred = (curve - curve.mean()).numpy()
    expected = np.correlate(centred, centred, "full")[199:]
    assert autocorrelation(curve).numpy() == pytest.approx(expected / expected[0], abs=2e-3)
    assert float(autocorrelation(1e-4 * curve)[1:].abs().max()) < 1e-3  # nobody hears that it moves


def test_onsets_are_where_sounds_begin_and_not_where_they_end() -> None:
    fading = chord(seconds=1.0) * torch.linspace(10, 0, RATE).clamp(max=1)
    curve = onset_curve(torch.cat([0 * fading, fading, 0 * fading], dim=1), RATE)
    assert float(curve.argmax()) * 0.008 == pytest.approx(1.0, abs=0.04)
    assert float(curve[240:].max()) < 0.1 * float(curve.max())


# Notes


def test_a_held_chord_is_sharper_than_noise_and_is_dulled_by_it() -> None:
    clean = sharpness(chord(), RATE)
    assert clean > 0.35
    dulled = [sharpness(chord() + level * noise(), RATE) for level in (0.1, 1, 10)]
    assert [clean, *dulled] == sorted([clean, *dulled], reverse=True)
    assert dulled[1] < 0.6 * clean


def test_notes_that_are_smeared_in_frequency_are_less_sharp() -> None:
    slow = torch.randn(1, 1, 8 * 60, generator=seeded())
    wander = torch.nn.functional.interpolate(slow, size=8 * RATE, mode="linear")[0, 0]
    smeared = chord() * (1 + wander)  # noise below 30 Hz makes a band of every partial
    assert sharpness(smeared, RATE) < 0.85 * sharpness(chord(), RATE)


def test_the_running_median_is_that_of_its_definition() -> None:
    x = torch.randn(3, 40, generator=seeded()).numpy()
    padded = np.pad(x, ((0, 0), (3, 3)), mode="reflect")
    expected = np.stack([np.median(padded[:, at : at + 7], axis=1) for at in range(40)], axis=1)
    assert np.allclose(running_median(x, 7), expected)


def test_a_triad_is_heard_as_its_three_pitch_classes_in_every_key() -> None:
    first = pitch_classes(chord(partials=1), RATE)
    assert first[[0, 4, 7]].tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    for steps in (1, 5, 9):
        moved = pitch_classes(chord(tuple(f * SEMITONE**steps for f in C_MAJOR), partials=1), RATE)
        assert moved.tolist() == pytest.approx(first.roll(steps).tolist(), abs=0.03)
        assert intervals(moved).tolist() == pytest.approx(intervals(first).tolist(), abs=0.02)
    third_fourth_fifth = torch.tensor([0, 0, 1, 1, 1, 0]) / 9  # minor third, major third, and a fifth as a fourth
    assert intervals(first).tolist() == pytest.approx(third_fourth_fifth.tolist(), abs=0.02)


def test_agreement_in_pitch_classes_does_not_rotate_keys_away() -> None:
    major = torch.zeros(12, dtype=torch.float64)
    major[[0, 2, 4, 5, 7, 9, 11]] = 1 / 7
    assert agreement(major, [major.roll(6), major]) == pytest.approx(1)
    assert agreement(major, [major.roll(6)]) < 0
    assert agreement(intervals(major), [intervals(major.roll(6))]) == pytest.approx(1)
    chromatic = torch.full((12,), 1 / 12, dtype=torch.float64)
    assert agreement(chromatic, [major]) == 0
    assert agreement(intervals(chromatic), [intervals(major)]) == 0
    assert agreement(major, []) == 0


def test_focus_is_one_for_a_single_pitch_class_and_zero_for_all_of_them_alike() -> None:
    one = torch.eye(12, dtype=torch.float64)[3]
    assert focus(one) == 1
    assert focus(torch.full((12,), 1 / 12, dtype=torch.float64)) == pytest.approx(0, abs=1e-9)
    assert focus((one + one.roll(5)) / 2) == pytest.approx(1 - math.log(2) / math.log(12))
    assert focus(pitch_classes(noise(), RATE)) < 0.03 < 0.2 < focus(pitch_classes(chord(), RATE))


# Form


def test_sections_that_differ_have_contrast_and_uniform_clips_have_none() -> None:
    other = chord(tuple(f * SEMITONE for f in C_MAJOR), partials=2) + clicks(120)
    assert section_contrast(torch.cat([chord(), other], dim=1), RATE) > 0.3
    for uniform in (noise(16.0), tune(16.0), torch.zeros(2, 16 * RATE)):
        assert section_contrast(uniform, RATE) == pytest.approx(0, abs=0.03)


def test_what_changes_within_every_section_is_no_contrast_between_them() -> None:
    parts = [chord(seconds=4.0), noise(4.0)]
    alternating, halves = torch.cat(parts * 4, dim=1), torch.cat([chord(seconds=16.0), noise(16.0)], dim=1)
    assert section_contrast(alternating, RATE) < 0.05 < 0.3 < section_contrast(halves, RATE)


def test_short_clips_have_no_sections() -> None:
    assert section_contrast(tune(15.0), RATE) is None


# All of them


def figures(clip: Tensor) -> dict[str, float | None]:
    return listen(clip, RATE).measures([pitch_classes(tune(), RATE)])


@pytest.mark.parametrize("gain", [0.003, 0.3, 3.0])
def test_measures_do_not_depend_on_the_level(gain: float) -> None:
    clip = tune(16.0)
    expected, found = figures(clip), figures(gain * clip)
    assert list(expected) == list(MEASURES)
    assert found == pytest.approx(expected, abs=1e-3)
    assert min(expected[name] for name in ("beat", "stays", "sharpness", "onsets", "focus")) > 0.05


def test_measures_do_not_depend_on_the_order_of_the_channels() -> None:
    clip = tune(16.0)
    assert figures(clip.flip(0)) == pytest.approx(figures(clip), abs=1e-6)


@pytest.mark.parametrize("samples", [0, 1, 100, 513, 700, 5000, 3 * RATE])
@pytest.mark.parametrize("silent", [True, False])
def test_measures_of_clips_of_any_length_and_of_silence_are_finite_or_none(samples: int, silent: bool) -> None:
    clip = 0.0 * tune()[:, :samples] if silent else tune()[:, :samples]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = figures(clip)
    assert all(value is None or math.isfinite(value) for value in found.values())
    assert found["sections"] is None
    if silent:
        assert [found[name] for name in ("beat", "sharpness", "onsets", "focus", "pitch", "intervals")] == [0.0] * 6


def test_a_lone_sample_and_a_constant_are_no_music() -> None:
    click = torch.zeros(2, 8 * RATE)
    click[:, 0] = 1.0
    for clip in (click, torch.full((2, 8 * RATE), 0.5), torch.ones(2, 1)):
        found = figures(clip)
        assert all(value is None or math.isfinite(value) for value in found.values())
        assert found["beat"] < 0.2
