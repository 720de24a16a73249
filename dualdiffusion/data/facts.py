"""Facts of a track that training may tell a network: JSON data that lies beside the track in the dataset's manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from dualdiffusion.conditioning import Span
from dualdiffusion.contracts import ConditionerConfig
from dualdiffusion.data.dataset_folder import Track
from dualdiffusion.dsp.beat import Beat, BeatGrid, beat_of_curve
from dualdiffusion.dsp.curves import STEP_SECONDS, brightness, curves_of_part, interpolated, loudness
from dualdiffusion.dsp.key import Key, key_of, pitch_classes
from dualdiffusion.dsp.onsets import frame_samples, onset_curve
from dualdiffusion.errors import UserError

LEAST_CLARITY = 0.1
"""A beat that is less clear is no fact: noise has up to 0.05, the built-in corpus 0.3 to 0.8."""


def facts_of(clip: Tensor, sample_rate: int) -> dict[str, Any]:
    """What can be told of a clip (C, N): `beat`, `key`, `loudness` and `brightness`, each where it has that."""
    return facts_of_parts(iter([clip]), sample_rate)


def facts_of_parts(parts: Iterator[Tensor], sample_rate: int) -> dict[str, Any]:
    """As `facts_of`, of a long clip in parts that overlap by a frame; see `dualdiffusion.dsp.onsets`."""
    frame, hop = frame_samples(sample_rate)
    step = round(STEP_SECONDS * sample_rate)
    onsets, power, classes, rest = [], [], torch.zeros(12, dtype=torch.float64), None
    for part in parts:
        onsets.append(onset_curve(part, sample_rate))
        new = part if rest is None else part[:, frame:]
        if new.shape[1]:
            classes += pitch_classes(new, sample_rate)
        rest = new if rest is None else torch.cat([rest, new], dim=1)
        whole = rest.shape[1] // step * step
        power.append(curves_of_part(rest[:, :whole], sample_rate))
        rest = rest[:, whole:]
    return _facts(beat_of_curve(torch.cat(onsets), hop / sample_rate), key_of(classes), torch.cat(power, dim=1))


def facts_at(told: Mapping[str, ConditionerConfig], track: Track, span: Span) -> dict[str, Tensor | None]:
    """What conditioners are told of a part of a track, by their id: each (n, span.columns), or None if not known.

    Raises:
        UserError: the track's facts are damaged.
    """
    if not told:
        return {}
    try:
        facts = track.all_facts
        return {name: config.fact_at(facts, span) for name, config in told.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{track.path}: damaged facts ({error}); describe again: python -m dataset_processing run <dataset "
            "config> --steps describe"
        ) from None


def facts_of_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """What a file's tags say: `composer`, `genre` and `year`, each where they do."""
    facts: dict[str, Any] = {name: tags[name].strip() for name in ("composer", "genre") if tags.get(name, "").strip()}
    year = re.search(r"(?<!\d)(19|20)\d\d(?!\d)", tags.get("date", ""))
    return facts | ({"year": int(year[0])} if year else {})


def _facts(beat: Beat | None, key: Key | None, power: Tensor) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if beat is not None and beat.whole.clarity >= LEAST_CLARITY:
        facts["beat"] = beat_to_json(beat)
    if key is not None:
        facts["key"] = {"name": key.name, "clarity": round(key.clarity, 4)}
    for name, curve in (("loudness", loudness(power)), ("brightness", brightness(power))):
        if len(curve):
            facts[name] = {"step": STEP_SECONDS, "values": [round(value, 2) for value in curve.tolist()]}
    return facts


def curve_at(data: Mapping[str, Any], times: Tensor) -> Tensor:
    """A curve's values at times in seconds of the track, interpolated; its ends go on: same shape.

    Raises:
        KeyError, TypeError, ValueError: not a curve.
    """
    values, step = torch.tensor(data["values"], dtype=torch.float64), float(data["step"])
    if values.ndim != 1 or not len(values) or step <= 0:
        raise ValueError("not a curve")
    return interpolated(values, times / step - 0.5)


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


def quantiles(values: list[float], count: int = 5) -> tuple[float, ...]:
    """Values that part others evenly, from the lowest to the highest; none of none."""
    if not values:
        return ()
    of = torch.tensor(values, dtype=torch.float64)
    return tuple(torch.quantile(of, torch.linspace(0, 1, count, dtype=torch.float64)).tolist())
