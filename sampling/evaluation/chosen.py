"""What an evaluation is to compare: its settings, and the excerpts of both splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from sampling.evaluation.clips import Excerpt, excerpts, spread, tracks_of

EXCERPTS = 64
"""Clips of a game at most that are taken from each split."""


@dataclass(frozen=True)
class Settings:
    """What is asked of an evaluation.

    Attributes:
        clips: generated clips of each game.
        request: fields of the requests other than games, seed and seconds.
        seed: of the first clip; further ones count up. Also of the resampling.
        games: None: all that model and dataset share.
        draws: resamplings for the intervals.
    """

    clips: int
    seconds: float
    request: dict[str, Any]
    seed: int
    embeddings: tuple[str, ...]
    games: tuple[str, ...] | None
    draws: int


@dataclass(frozen=True)
class Chosen:
    """The excerpts to compare with: by split, then by game."""

    games: list[str]
    training: dict[str, list[Excerpt]]
    validation: dict[str, list[Excerpt]]
    left_out: list[str]

    def balanced(self, split: dict[str, list[Excerpt]], limit: int) -> list[Excerpt]:
        """Equally many of each game, at most `limit`."""
        count = min(limit, *(len(split[game]) for game in self.games))
        return [excerpt for game in self.games for excerpt in spread(split[game], count)]


def choose(model: ModelFolder, dataset: DatasetFolder, sample_rate: int, settings: Settings) -> Chosen:
    """Excerpts of the games that the model knows and both splits hold.

    Raises:
        UserError: no validation split, another sample rate, an unknown game, or no track that is long enough.
    """
    labels = model.labels()
    splits = {
        split: excerpts(tracks_of(dataset, split, sample_rate), settings.seconds, EXCERPTS)
        for split in ("train", "validation")
    }
    try:
        wanted = labels.named(dict.fromkeys(settings.games or labels.names, 1.0))
    except UserError as error:
        raise UserError(f"--games: {error}") from None
    games = [game for game in wanted if all(game in split for split in splits.values())]
    left_out = [game for game in wanted if game not in games]
    if not games or (settings.games and left_out):
        raise UserError(
            f"{dataset.path}: {left_out[0]} has no track of {settings.seconds:g} s in both splits, train and "
            "validation; ask for shorter clips (--seconds), or give the dataset longer tracks"
        )
    chosen = Chosen(games, splits["train"], splits["validation"], left_out)
    for name, split in (("train", chosen.training), ("validation", chosen.validation)):
        if len(chosen.balanced(split, EXCERPTS)) < 2:
            raise UserError(
                f"{dataset.path}: the {name} split gives only one clip of {settings.seconds:g} s, and two are the "
                "least; ask for shorter clips (--seconds) or more games"
            )
    return chosen
