"""A track's beat is found: its tempo, where its moments fall, and where they move."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from dualdiffusion.data.facts import beat_from_json, beat_to_json, facts_of, facts_of_parts
from dualdiffusion.dsp.beat import find_beat
from dualdiffusion.dsp.onsets import frame_samples

RATE = 8000


def clicks(times: list[float], seconds: float, rate: int = RATE) -> Tensor:
    """Short decaying tones at given times: (2, N)."""
    x = torch.zeros(2, round(seconds * rate))
    n = torch.arange(rate // 20)
    tone = torch.sin(n * 0.5) * torch.exp(-n / (rate * 0.01))
    for time in times:
        at = round(time * rate)
        part = x[:, at : at + len(n)]
        part += tone[: part.shape[1]]
    return x


def regular(bpm: float, first: float, seconds: float) -> list[float]:
    period = 60 / bpm
    return [first + k * period for k in range(int((seconds - first) / period))]


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize(("bpm", "first"), [(90, 0.3), (121.3, 0.1), (174, 0.05)])
def test_clicks_are_found_where_they_are(bpm: float, first: float, rate: int) -> None:
    beat = find_beat(clicks(regular(bpm, first, 20), 20, rate), rate)
    assert beat.whole.bpm == pytest.approx(bpm, rel=0.002)
    assert beat.whole.clarity > 0.7
    # Also at the end, where an error of the tempo would have added up.
    for moment in (regular(bpm, first, 20)[0], regular(bpm, first, 20)[-1]):
        place = float(beat.whole.beats_at(torch.tensor(moment, dtype=torch.float64)))
        assert abs(place - round(place)) * 60 / bpm < 0.02, "more than 20 ms from a click"


def test_noise_has_no_beat_and_silence_and_moments_of_sound_have_none_at_all() -> None:
    noise = torch.randn(1, 20 * RATE, generator=torch.Generator().manual_seed(0))
    assert find_beat(noise, RATE).whole.clarity < 0.1
    assert not {"beat", "key"} & set(facts_of(noise, RATE))
    assert find_beat(torch.zeros(2, 20 * RATE), RATE) is None
    assert find_beat(noise[:, :RATE], RATE) is None
    assert "beat" not in facts_of(noise[:, :10], RATE)


def test_a_steady_beat_has_one_grid_and_one_that_moves_has_others_where_it_moved() -> None:
    steady = find_beat(clicks(regular(120, 0.2, 48), 48), RATE)
    assert {(part.bpm, part.first) for part in steady.parts} == {(steady.whole.bpm, steady.whole.first)}
    # A quarter of a second is left out in the middle: half a beat.
    moved = clicks([t if t < 24 else t + 0.25 for t in regular(120, 0.2, 47)], 48)
    beat = find_beat(moved, RATE)
    for time in (5.2, 42.45):  # clicks of the first and of the second half
        place = float(beat.at(time).beats_at(torch.tensor(time, dtype=torch.float64)))
        assert abs(place - round(place)) < 0.06
    one, other = (float(beat.at(t).beats_at(torch.tensor(0.2, dtype=torch.float64))) % 1 for t in (5.2, 42.45))
    assert min(abs(one - other), 1 - abs(one - other)) == pytest.approx(0.5, abs=0.08)


def test_a_long_clip_in_parts_has_the_beat_of_the_whole() -> None:
    clip = clicks(regular(133, 0.2, 40), 40)
    frame, hop = frame_samples(RATE)
    size = 625 * hop + frame
    parts = (clip[:, at : at + size] for at in range(0, clip.shape[1] - frame, size - frame))
    in_parts, whole = (facts["beat"] for facts in (facts_of_parts(parts, RATE), facts_of(clip, RATE)))
    assert in_parts["bpm"] == pytest.approx(whole["bpm"], rel=1e-3)
    assert in_parts["first"] == pytest.approx(whole["first"], abs=0.005)


def test_a_beat_is_the_same_after_it_was_json() -> None:
    beat = find_beat(clicks([t if t < 24 else t + 0.25 for t in regular(120, 0.2, 47)], 48), RATE)
    again = beat_from_json(json.loads(json.dumps(beat_to_json(beat))))
    for one, other in zip((beat.whole, *beat.parts), (again.whole, *again.parts), strict=True):
        assert (other.bpm, other.first) == pytest.approx((one.bpm, one.first), abs=1e-5)
    with pytest.raises((KeyError, TypeError, ValueError)):
        beat_from_json({"bpm": -1, "first": 0, "clarity": 1, "parts": []})
