"""Measures a model against the music it was not trained on: what `python -m sampling evaluate` does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualdiffusion import __version__
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.model.folder import ModelFolder
from sampling.evaluation.chosen import EXCERPTS, Chosen, Settings, choose
from sampling.evaluation.features import FeatureExtractor, split_features
from sampling.evaluation.measures import (
    GENERATED,
    THROUGH_VAE,
    TRAINING,
    VALIDATION,
    ClipFeatures,
    class_control,
    copy_figures,
    distance_figures,
    nearest_figures,
    sound_comparison,
)
from sampling.evaluation.music.figures import music_figures
from sampling.evaluation.report.notes import find_notes
from sampling.evaluation.report.picture import Examples
from sampling.evaluation.report.stages import Stages
from sampling.generator import Generator
from sampling.output.clips import save
from sampling.request import Request


def evaluate(
    model: ModelFolder,
    dataset: DatasetFolder,
    generator: Generator,
    settings: Settings,
    stages: Stages,
    clips_dir: Path | None = None,
    examples: Examples | None = None,
) -> dict[str, Any]:
    """All figures, as JSON data.

    Args:
        examples: is given a clip of each game and stage.

    Raises:
        UserError: see `choose`; or the model does not know the EMA, or memory is too small for a clip.
    """
    chosen = choose(model, dataset, generator.sample_rate, settings)
    extractor = FeatureExtractor(generator, settings)
    examples = examples or Examples(generator.sample_rate)
    features = split_features(generator, extractor, chosen, settings, stages, examples)
    with stages.stage("generating clips", settings.clips * len(chosen.games)) as stage:
        generated = []
        for request, game in requests(chosen.games, settings, asked=not generator.is_unconditional):
            result = generator.generate(request, on_step=lambda report: stage.within(report.fraction))
            if clips_dir:
                save(result, clips_dir, device=generator.vae.device)
            name = f"{game}, seed {request.seed}" if game else f"seed {request.seed}"
            examples.add(GENERATED, game, result.audio)
            generated.append(extractor.extract(result.audio, name, game))
            stage.advance()
    return _measure(model, dataset, chosen, settings, {**features, GENERATED: generated}, extractor, stages)


def requests(games: list[str], settings: Settings, *, asked: bool = True) -> Iterator[tuple[Request, str]]:
    """What is generated, one game after the other and again, each with its game; as many of none, of a model that is
    asked for none."""
    for index in range(settings.clips * len(games)):
        game = games[index % len(games)] if asked else ""
        changes = {"games": {game: 1.0} if asked else {}, "seed": settings.seed + index, "seconds": settings.seconds}
        yield Request.from_json({**settings.request, **changes}), game


def _measure(
    model: ModelFolder,
    dataset: DatasetFolder,
    chosen: Chosen,
    settings: Settings,
    features: dict[str, list[ClipFeatures]],
    extractor: FeatureExtractor,
    stages: Stages,
) -> dict[str, Any]:
    """The figures of all features."""
    generated, training, validation = features[GENERATED], features[TRAINING], features[VALIDATION]
    by_name = {clip.name: clip for clip in training + validation}
    reference = [by_name[excerpt.name] for excerpt in chosen.balanced(chosen.validation, EXCERPTS)]
    like_generated = [by_name[excerpt.name] for excerpt in chosen.balanced(chosen.training, settings.clips)]
    sets = {GENERATED: generated, TRAINING: like_generated, THROUGH_VAE: features[THROUGH_VAE]}
    of_stages = {**features, VALIDATION: reference, TRAINING: like_generated}
    chance = {"draws": settings.draws, "seed": settings.seed}
    with stages.stage("distances and their intervals", len(settings.embeddings)) as stage:
        distances = {}
        for name in settings.embeddings:
            distances[name] = distance_figures(reference, sets, name, **chance)
            stage.advance()
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
        "copies": _copies(dataset, {**features, TRAINING: like_generated}, extractor, stages),
        "nearest": {name: nearest_figures(generated, validation, training, name) for name in settings.embeddings},
        "sound": sound_comparison(generated, reference, like_generated, **chance),
        "music": music_figures(of_stages, training, chosen.games, **chance),
    }
    return {**result, "notes": find_notes(result)}


def _copies(
    dataset: DatasetFolder, features: dict[str, list[ClipFeatures]], extractor: FeatureExtractor, stages: Stages
) -> dict[str, Any]:
    """Searches all training tracks for the clips; for training clips, all but their own."""
    tracks = [track for track in dataset.tracks("train") if track.seconds > 0]
    searched = [clip for name in (GENERATED, VALIDATION, THROUGH_VAE, TRAINING) for clip in features[name]]
    patches, own = [clip.patches for clip in searched], [""] * len(searched)
    own[len(searched) - len(features[TRAINING]) :] = [clip.track for clip in features[TRAINING]]
    with stages.stage("searching for copies", len(tracks) * extractor.search.passes(patches)) as stage:
        matches = iter(zip(searched, extractor.search.find(patches, tracks, stage.advance, but=own), strict=True))
    found = {name: [next(matches) for _ in features[name]] for name in (GENERATED, VALIDATION, THROUGH_VAE, TRAINING)}
    return copy_figures(found[GENERATED], found[VALIDATION], found[THROUGH_VAE], found[TRAINING])
