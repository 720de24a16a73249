"""Facts of a track that training may tell a network: JSON data that lies beside the track in the dataset's manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from dualdiffusion.dsp.beat import Beat, BeatGrid, beat_of_curve, find_beat
from dualdiffusion.dsp.onsets import frame_samples, onset_curve_of_parts

LEAST_CLARITY = 0.1
"""A beat that is less clear is no fact: noise has up to 0.05, the built-in corpus 0.3 to 0.8."""


def facts_of(clip: Tensor, sample_rate: int) -> dict[str, Any]:
    """What can be told of a clip (C, N): `beat`, where it has one."""
    return _facts(find_beat(clip, sample_rate))


def facts_of_parts(parts: Iterator[Tensor], sample_rate: int) -> dict[str, Any]:
    """As `facts_of`, of a long clip in parts that overlap by a frame; see `dualdiffusion.dsp.onsets`."""
    curve = onset_curve_of_parts(parts, sample_rate)
    return _facts(beat_of_curve(curve, frame_samples(sample_rate)[1] / sample_rate))


def _facts(beat: Beat | None) -> dict[str, Any]:
    return {} if beat is None or beat.whole.clarity < LEAST_CLARITY else {"beat": beat_to_json(beat)}


def beat_to_json(beat: Beat) -> dict[str, Any]:
    """A beat as JSON data; parts that keep the track's grid are told by null."""
    same = (beat.whole.bpm, beat.whole.first)
    parts = [None if (part.bpm, part.first) == same else _rounded(part) for part in beat.parts]
    return {**_rounded(beat.whole), "parts": parts}


def beat_from_json(data: Mapping[str, Any]) -> Beat:
    """
    Raises:
        KeyError, TypeError, ValueError: not a beat.
    """
    whole = _grid(data)
    return Beat(whole, tuple(whole if part is None else _grid(part) for part in data["parts"]))


def _rounded(grid: BeatGrid) -> dict[str, float]:
    return {name: round(value, 5) for name, value in asdict(grid).items()}


def _grid(data: Mapping[str, Any]) -> BeatGrid:
    grid = BeatGrid(*(float(data[name]) for name in ("bpm", "first", "clarity")))
    if grid.bpm <= 0:
        raise ValueError(f"bpm: {grid.bpm}")
    return grid
