"""Where is music lost? Its measures in the corpus, through the format, through the VAE, and in what is generated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dualdiffusion.randomness import mix_seed
from sampling.evaluation.measures import (
    GENERATED,
    THROUGH_FORMAT,
    THROUGH_VAE,
    TRAINING,
    VALIDATION,
    ClipFeatures,
    games_of,
)
from sampling.evaluation.music.record import MEASURES
from sampling.evaluation.statistics import Interval, Resampler, percentile_interval

STAGES = (VALIDATION, TRAINING, THROUGH_FORMAT, THROUGH_VAE, GENERATED)
SAME_CLIPS = (TRAINING, THROUGH_FORMAT, THROUGH_VAE)
"""Stages of the same excerpts, in the same order."""
LOST_IN = {
    "in the format": (THROUGH_FORMAT, TRAINING),
    "in the VAE": (THROUGH_VAE, THROUGH_FORMAT),
    "in UNet and sampling": (GENERATED, THROUGH_VAE),
}
OF_FORMAT, OF_CORPUS = "generated, of the format's", "generated, of the corpus'"
KEPT = {
    **LOST_IN,
    OF_FORMAT: (GENERATED, THROUGH_FORMAT),
    OF_CORPUS: (GENERATED, TRAINING),
    "validation, of training": (VALIDATION, TRAINING),
}
"""Ratios of means of two stages. The last one says how far ratios of equally good music can lie from 1."""


def music_figures(
    stages: dict[str, list[ClipFeatures]], training: list[ClipFeatures], games: list[str], *, draws: int, seed: int
) -> dict[str, Any]:
    """The measures of each stage, what each stage keeps of the one before, and of each game.

    Args:
        stages: clips by the names of `STAGES`; those of `SAME_CLIPS` belong together one by one.
        training: all training clips, whose pitch classes clips are compared with.
    """
    tracks = _pitch_classes_of_tracks(training)
    rows = {name: [_measures(clip, tracks) for clip in stages[name]] for name in STAGES}
    tables = {name: _table(found) for name, found in rows.items()}
    means = {name: _means(table, None) for name, table in tables.items()}
    drawn = _draw(tables, stages, draws, seed)

    def kept(above: str, below: str) -> dict[str, Any]:
        return _intervals(_ratio(means[above], means[below]), _ratio(drawn[above], drawn[below]))

    def of_game(game: str) -> dict[str, Any]:
        return {name: _of_game(game, stages[name], table) for name, table in tables.items()}

    return {
        "stages": {
            name: {"clips": len(table), **_intervals(means[name], drawn[name])} for name, table in tables.items()
        },
        "kept": {name: {"of": below, "measures": kept(above, below)} for name, (above, below) in KEPT.items()},
        "games": {game: of_game(game) for game in games},
        "clips": [
            {"clip": clip.name, "tempo": clip.music.rhythm.tempo, **found}
            for clip, found in zip(stages[GENERATED], rows[GENERATED], strict=True)
        ],
    }


def _pitch_classes_of_tracks(training: list[ClipFeatures]) -> dict[str, dict[str, Tensor]]:
    """(12,) by game and track: the mean of its clips."""
    clips: dict[str, dict[str, list[Tensor]]] = {}
    for clip in training:
        clips.setdefault(clip.game, {}).setdefault(clip.track, []).append(clip.music.classes)
    return {
        game: {track: torch.stack(found).mean(dim=0) for track, found in tracks.items()}
        for game, tracks in clips.items()
    }


def _measures(clip: ClipFeatures, tracks: dict[str, dict[str, Tensor]]) -> dict[str, float | None]:
    """A training clip is not compared with its own track."""
    others = [classes for track, classes in tracks.get(clip.game, {}).items() if track != clip.track]
    return clip.music.measures(others)


def _table(rows: Sequence[dict[str, float | None]]) -> Tensor:
    """(N, measures) float64, NaN for None."""
    numbers = [[math.nan if row[name] is None else row[name] for name in MEASURES] for row in rows]
    return torch.tensor(numbers, dtype=torch.float64)


def _means(table: Tensor, weights: Tensor | None) -> Tensor:
    """Means of (N, measures) over the clips that have the measure: (measures,), or (draws, measures) of (draws, N)."""
    finite = table.isfinite().double()
    weights = torch.ones(len(table), dtype=torch.float64) if weights is None else weights
    return (weights @ table.nan_to_num()) / (weights @ finite)


def _draw(tables: dict[str, Tensor], stages: dict[str, list[ClipFeatures]], draws: int, seed: int) -> dict[str, Tensor]:
    """Means of clips drawn anew, (draws, measures); stages of the same clips draw the same."""
    drawn = {}
    for name, table in tables.items():
        stream = TRAINING if name in SAME_CLIPS else name
        generator = torch.Generator().manual_seed(mix_seed(seed, "music", stream))
        resampler = Resampler(games_of(stages[name]))
        drawn[name] = _means(table, torch.stack([resampler.draw(generator) for _ in range(draws)]))
    return drawn


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """NaN where there is nothing to keep."""
    return torch.where(below > 0, above / below, math.nan)


def _intervals(values: Tensor, drawn: Tensor) -> dict[str, dict[str, float | None]]:
    found = {}
    for index, name in enumerate(MEASURES):
        value, column = float(values[index]), drawn[:, index]
        known = math.isfinite(value) and bool(column.isfinite().any())
        found[name] = (percentile_interval(value, column) if known else Interval(*[math.nan] * 3)).to_json()
    return found


def _of_game(game: str, clips: list[ClipFeatures], table: Tensor) -> dict[str, float | None]:
    of_game = torch.tensor([clip.game == game for clip in clips])
    means = _means(table[of_game], None).tolist()
    return {name: value if math.isfinite(value) else None for name, value in zip(MEASURES, means, strict=True)}
