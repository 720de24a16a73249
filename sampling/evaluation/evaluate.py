"""Measures a model against the music it was not trained on: what `python -m sampling evaluate` does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dualdiffusion import __version__
from dualdiffusion.config import nearest
from dualdiffusion.data.manifest import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.model_folder import ModelFolder
from sampling.batch import generate
from sampling.evaluation.clips import Excerpt, excerpts, spread, through_the_vae, tracks_of
from sampling.evaluation.copies import CopySearch
from sampling.evaluation.embeddings import Embedding, build_embedding
from sampling.evaluation.embeddings.mel_statistics import MelStatistics
from sampling.evaluation.measures import (
    GENERATED,
    THROUGH_VAE,
    TRAINING,
    Heard,
    class_control,
    copy_figures,
    distance_figures,
    nearest_figures,
    sound_comparison,
)
from sampling.evaluation.notes import find_notes
from sampling.evaluation.sound import sound_figures
from sampling.evaluation.stages import Stages
from sampling.generate import Generator
from sampling.output import save
from sampling.request import Request

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


class Listener:
    """Measures clips one by one."""

    def __init__(self, generator: Generator, settings: Settings) -> None:
        self.sample_rate = generator.sample_rate
        self.embeddings: list[Embedding] = [build_embedding(name, generator) for name in settings.embeddings]
        self.statistics = MelStatistics(self.sample_rate)
        self.search = CopySearch(self.sample_rate, settings.seconds)

    def hear(self, clip: Tensor, name: str, game: str, *, patches: bool = True) -> Heard:
        """What is kept of a clip (C, N)."""
        embedded = {}
        for embedding in self.embeddings:
            frames = embedding(clip, self.sample_rate)
            embedded[embedding.name] = frames[None] if frames.ndim == 1 else frames
        found = self.search.patches(clip) if patches else None
        return Heard(name, game, embedded, self.statistics(clip), sound_figures(clip, self.sample_rate), found)


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
    known = model.labels().names
    splits = {
        split: excerpts(tracks_of(dataset, split, sample_rate), settings.seconds, EXCERPTS)
        for split in ("train", "validation")
    }
    wanted = settings.games or known
    for game in wanted:
        if game not in known:
            raise UserError(
                f"--games: unknown game {game!r}; nearest: {', '.join(nearest(game, known, 3) or known[:5])}"
            )
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


def evaluate(
    model: ModelFolder,
    dataset: DatasetFolder,
    generator: Generator,
    settings: Settings,
    stages: Stages,
    clips_dir: Path | None = None,
) -> dict[str, Any]:
    """All figures, as JSON data.

    Raises:
        UserError: see `choose`; or the model does not know the EMA, or memory is too small for a clip.
    """
    chosen = choose(model, dataset, generator.sample_rate, settings)
    listener = Listener(generator, settings)
    heard = _hear_splits(generator, listener, chosen, settings, stages)
    with stages.stage("generating clips", settings.clips * len(chosen.games)) as stage:
        generated = []
        for request, game in _requests(chosen.games, settings):
            result = generate(generator, request, on_step=lambda report: stage.within(report.fraction))
            if clips_dir:
                save(result, clips_dir, device=generator.vae.device)
            generated.append(listener.hear(result.audio, f"{game}, seed {request.seed}", game))
            stage.advance()
    return _measure(model, dataset, chosen, settings, {**heard, GENERATED: generated}, listener, stages)


def _requests(games: list[str], settings: Settings) -> Iterator[tuple[Request, str]]:
    for index in range(settings.clips * len(games)):
        game = games[index % len(games)]
        changes = {"games": {game: 1.0}, "seed": settings.seed + index, "seconds": settings.seconds}
        yield Request.from_json({**settings.request, **changes}), game


def _hear_splits(
    generator: Generator, listener: Listener, chosen: Chosen, settings: Settings, stages: Stages
) -> dict[str, list[Heard]]:
    """All excerpts of both splits, and training excerpts through the VAE, as many as clips are generated."""
    channels = generator.format.config.num_channels
    heard: dict[str, list[Heard]] = {}
    for name, split in ((TRAINING, chosen.training), ("validation", chosen.validation)):
        items = [excerpt for game in chosen.games for excerpt in split[game]]
        with stages.stage(f"hearing {name} clips", len(items)) as stage:
            heard[name] = []
            for excerpt in items:
                clip = excerpt.read(channels)
                heard[name].append(listener.hear(clip, excerpt.name, excerpt.track.game, patches=name == "validation"))
                stage.advance()
    items = chosen.balanced(chosen.training, settings.clips)
    iterations = settings.request.get("phase_iterations")
    with stages.stage("training clips through the VAE", len(items)) as stage:
        heard[THROUGH_VAE] = []
        for excerpt in items:
            clip = through_the_vae(generator, excerpt.read(channels), excerpt.track.game, iterations)
            heard[THROUGH_VAE].append(listener.hear(clip, excerpt.name, excerpt.track.game))
            stage.advance()
    return heard


def _measure(
    model: ModelFolder,
    dataset: DatasetFolder,
    chosen: Chosen,
    settings: Settings,
    heard: dict[str, list[Heard]],
    listener: Listener,
    stages: Stages,
) -> dict[str, Any]:
    """The figures of everything that was heard."""
    generated, training, validation = heard[GENERATED], heard[TRAINING], heard["validation"]
    by_name = {clip.name: clip for clip in training + validation}
    reference = [by_name[excerpt.name] for excerpt in chosen.balanced(chosen.validation, EXCERPTS)]
    like_generated = [by_name[excerpt.name] for excerpt in chosen.balanced(chosen.training, settings.clips)]
    sets = {GENERATED: generated, TRAINING: like_generated, THROUGH_VAE: heard[THROUGH_VAE]}
    with stages.stage("distances and their intervals", len(settings.embeddings)) as stage:
        distances = {}
        for name in settings.embeddings:
            distances[name] = distance_figures(reference, sets, name, draws=settings.draws, seed=settings.seed)
            stage.advance()
    searched = [*generated, *validation, *heard[THROUGH_VAE]]
    tracks = [track for track in dataset.tracks("train") if track.seconds > 0]
    patches = [clip.patches for clip in searched if clip.patches is not None]
    with stages.stage("searching for copies", len(tracks) * listener.search.passes(patches)) as stage:
        matches = list(zip(searched, listener.search.find(patches, tracks, stage.advance), strict=True))
    at, until = len(generated), len(generated) + len(validation)
    result = {
        "model": str(model.path),
        "fingerprint": f"{model.fingerprint('vae')}-{model.fingerprint('unet', settings.request.get('ema'))}",
        "dataset": str(dataset.path),
        "software": __version__,
        "settings": asdict(settings),
        "games": chosen.games,
        "left_out": chosen.left_out,
        "validation_tracks": len({e.track.file_name for game in chosen.games for e in chosen.validation[game]}),
        "distances": distances,
        "class_control": class_control(training, validation, generated, chosen.games),
        "copies": copy_figures(matches[:at], matches[at:until], matches[until:]),
        "nearest": {name: nearest_figures(generated, validation, training, name) for name in settings.embeddings},
        "sound": sound_comparison(generated, reference, like_generated, draws=settings.draws, seed=settings.seed),
    }
    return {**result, "notes": find_notes(result)}
