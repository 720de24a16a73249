"""From features of clips to figures as JSON data: distances, class control, copies, sound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dualdiffusion.randomness import mix_seed
from sampling.evaluation.classifier import NearestCentroid
from sampling.evaluation.copies import Match
from sampling.evaluation.distances import (
    KAD_SCALE,
    KernelMatrices,
    frechet_distance,
    frechet_extrapolated,
    gaussian_kernel,
    median_distance,
    needs_shrinking,
    polynomial_kernel,
)
from sampling.evaluation.music.record import Music
from sampling.evaluation.sound import FIGURES
from sampling.evaluation.statistics import (
    Quartiles,
    Resampler,
    centred_interval,
    corrected_interval,
    median_difference,
    proportion,
)

GENERATED, TRAINING, VALIDATION = "generated", "training", "validation"
THROUGH_FORMAT, THROUGH_VAE = "training through the format", "training through the VAE"
MEASURES = ("frechet", "kad", "kid")


@dataclass(frozen=True)
class ClipFeatures:
    """What is kept of a clip.

    Attributes:
        name: a track and a moment of it, or what was generated.
        embedded: frames (m, D) by embedding.
        timbre: (128,), the classifier's features.
        game: empty for what an unconditional model made.
        sound: (7,), see `sound_figures`.
        patches: (P, F, T) for the search for copies; None where it is not searched for.
        music: rhythm, notes and form.
        track: the file that it was taken from; empty for what was generated.
    """

    name: str
    game: str
    embedded: dict[str, Tensor]
    timbre: Tensor
    sound: Tensor
    patches: Tensor | None
    music: Music | None = None
    track: str = ""


def games_of(clips: Sequence[ClipFeatures]) -> list[str]:
    """The game of each clip."""
    return [clip.game for clip in clips]


def frames_of(clips: Sequence[ClipFeatures], embedding: str) -> Tensor:
    """(N, m, D) float64."""
    return torch.stack([clip.embedded[embedding] for clip in clips]).double()


def distance_figures(
    reference: list[ClipFeatures], sets: dict[str, list[ClipFeatures]], embedding: str, *, draws: int, seed: int
) -> dict[str, Any]:
    """Distances of each set from the reference, with intervals; the set `TRAINING` says what they can be at best.

    All sets meet the same resampled references, so that differences between sets are told better than the distances.
    """
    target = frames_of(reference, embedding)
    frames = {name: frames_of(clips, embedding) for name, clips in sets.items()}
    groups, groups_of_target = {name: games_of(clips) for name, clips in sets.items()}, games_of(reference)
    bandwidth = median_distance(target)
    kernels = {"kad": gaussian_kernel(bandwidth), "kid": polynomial_kernel}
    matrices = {
        name: {
            key: KernelMatrices.of(x, target, kernel, groups[name], groups_of_target) for key, kernel in kernels.items()
        }
        for name, x in frames.items()
    }
    shrink = any(needs_shrinking(x, target) for x in frames.values())

    def measure(name: str, w: Tensor | None, v: Tensor | None) -> list[float]:
        mmd2 = {key: value.mmd2(w, v) for key, value in matrices[name].items()}
        distance = frechet_distance(frames[name], target, shrink=shrink, weights_a=w, weights_b=v)
        return [distance, KAD_SCALE * mmd2["kad"], mmd2["kid"]]

    values = {name: measure(name, None, None) for name in sets}
    generator = torch.Generator().manual_seed(mix_seed(seed, "bootstrap", embedding))
    target_resampler, resamplers = Resampler(groups_of_target), {name: Resampler(groups[name]) for name in sets}
    drawn: dict[str, list[list[float]]] = {name: [] for name in sets}
    for _ in range(draws):
        v = target_resampler.draw(generator)
        for name, resampler in resamplers.items():
            drawn[name].append(measure(name, resampler.draw(generator), v))
    tables = {name: torch.tensor(rows, dtype=torch.float64).reshape(-1, 3) for name, rows in drawn.items()}
    rows = {}
    for name, clips in sets.items():
        extrapolated = frechet_extrapolated(frames[name], target, groups[name], groups_of_target, generator=generator)
        rows[name] = {
            "clips": len(clips),
            "frechet_biased": values[name][0],
            "frechet": corrected_interval(values[name][0], tables[name][:, 0], 0.0).to_json(),
            "frechet_extrapolated": extrapolated,
            "kad_biased": KAD_SCALE * matrices[name]["kad"].mmd2_biased(),
            **_centred(values[name], tables[name], MEASURES[1:]),
        }
        if name != TRAINING:  # the same draws made both, so that their difference is told better than either
            above = [a - b for a, b in zip(values[name], values[TRAINING], strict=True)]
            rows[name]["above_training"] = _centred(above, tables[name] - tables[TRAINING], MEASURES)
    return {
        "dimensions": target.shape[2],
        "frames_per_clip": target.shape[1],
        "reference_clips": len(reference),
        "bandwidth": bandwidth,
        "shrunk": shrink,
        "sets": rows,
    }


def _centred(values: list[float], table: Tensor, keys: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Values of those among MEASURES with intervals from their resampled ones, (draws, 3)."""
    indices = {key: MEASURES.index(key) for key in keys}
    return {key: centred_interval(values[at], table[:, at]).to_json() for key, at in indices.items()}


def class_control(
    training: list[ClipFeatures], validation: list[ClipFeatures], generated: list[ClipFeatures], games: list[str]
) -> dict[str, Any]:
    """How many clips the classifier, fitted on training clips, hears as the game that they are of; `generated` is None
    where no game was asked for."""

    def features(clips: list[ClipFeatures]) -> tuple[Tensor, Tensor]:
        return torch.stack([clip.timbre for clip in clips]), torch.tensor([games.index(g) for g in games_of(clips)])

    classifier = NearestCentroid(*features(training), len(games))

    def accuracy(clips: list[ClipFeatures]) -> dict[str, Any]:
        x, asked = features(clips)
        answers = classifier(x)
        rows = {}
        for index, game in enumerate(games):
            own = answers[asked == index]
            rows[game] = {
                "clips": len(own),
                "accuracy": proportion(int((own == index).sum()), len(own)).to_json(),
                "heard_as": [games[answer] for answer in own.tolist()],
            }
        right = int((answers == asked).sum())
        return {"clips": len(asked), "accuracy": proportion(right, len(asked)).to_json(), "games": rows}

    return {
        "chance": 1 / len(games),
        "fitted_on": len(training),
        "validation": accuracy(validation),
        "generated": accuracy(generated) if all(games_of(generated)) else None,
    }


def copy_figures(
    generated: list[tuple[ClipFeatures, Match]],
    validation: list[tuple[ClipFeatures, Match]],
    known: list[tuple[ClipFeatures, Match]],
    training: list[tuple[ClipFeatures, Match]],
) -> dict[str, Any]:
    """Generated clips that are more like a training track than any validation clip is.

    Args:
        known: training clips through the VAE, which are copies: how many of them the test finds is its power.
        training: training clips, with their matches among the other tracks: how alike different tracks of this music
            are. A clip that is still more alike to one than these are is a copy by the stricter of both tests.
    """
    threshold = max(match.score for _, match in validation)
    highest = max([threshold, *(match.score for _, match in training)])
    flagged = sum(match.score > threshold for _, match in generated)
    found = [match.score > threshold and clip.name.startswith(match.track.file_name) for clip, match in known]

    def quartiles(pairs: list[tuple[ClipFeatures, Match]]) -> dict[str, Any]:
        return Quartiles.of(torch.tensor([match.score for _, match in pairs])).to_json()

    return {
        "threshold": threshold,
        "flagged": flagged,
        "more_alike_than_training_tracks": sum(match.score > highest for _, match in generated),
        "stricter_threshold": highest,
        # A clip no more like the training music than validation clips are has the highest score of all by this chance.
        "flagged_by_chance": len(generated) / (len(validation) + 1),
        "known_copies": len(known),
        "known_copies_found": proportion(sum(found), len(known)).to_json(),
        "scores": {
            "generated": quartiles(generated),
            "validation": quartiles(validation),
            "known_copies": quartiles(known),
            "training_to_other_tracks": quartiles(training),
        },
        "clips": [
            _described(clip, match, match.score > threshold)
            for clip, match in sorted(generated, key=lambda pair: -pair[1].score)
        ],
    }


def _described(clip: ClipFeatures, match: Match, flagged: bool) -> dict[str, Any]:
    return {
        "clip": clip.name,
        "score": match.score,
        "flagged": flagged,
        "clip_seconds": match.clip_seconds,
        "track": match.track.file_name,
        "track_seconds": match.track_seconds,
    }


def nearest_figures(
    generated: list[ClipFeatures], validation: list[ClipFeatures], training: list[ClipFeatures], embedding: str
) -> dict[str, Any]:
    """The nearest training clip of each clip: Euclidean, by means over frames in units of their spread in training.

    That of a training clip is one of another track.
    """
    means = {
        name: frames_of(clips, embedding).mean(dim=1)
        for name, clips in (("generated", generated), ("validation", validation), ("training", training))
    }
    spread = means["training"].std(dim=0) + 1e-9
    distances = {
        name: torch.cdist(means[name] / spread, means["training"] / spread).min(dim=1)
        for name in ("generated", "validation")
    }
    tracks = [clip.track for clip in training]
    own = torch.tensor([[a == b for b in tracks] for a in tracks])
    between = torch.cdist(means["training"] / spread, means["training"] / spread).masked_fill(own, math.inf)
    distances["training"] = between.min(dim=1)
    limit = float(distances["validation"].values.min())
    values, indices = (x.tolist() for x in distances["generated"])
    return {
        "distance": {name: Quartiles.of(found.values).to_json() for name, found in distances.items()},
        "nearer_than_any_validation_clip": sum(value < limit for value in values),
        "nearer_than_any_training_clip": sum(value < float(distances["training"].values.min()) for value in values),
        "clips": [
            {"clip": clip.name, "distance": value, "nearest": training[index].name}
            for clip, value, index in zip(generated, values, indices, strict=True)
        ],
    }


def sound_comparison(
    generated: list[ClipFeatures],
    validation: list[ClipFeatures],
    training: list[ClipFeatures],
    *,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Medians and quartiles of the sound's figures, and how far generated medians lie from those of validation."""
    sounds = {
        name: torch.stack([clip.sound for clip in clips])
        for name, clips in ((GENERATED, generated), ("validation", validation), (TRAINING, training))
    }
    generator = torch.Generator().manual_seed(mix_seed(seed, "sound"))
    figures = {}
    for index, (key, unit) in enumerate(FIGURES.items()):
        columns = {name: x[:, index] for name, x in sounds.items()}
        difference = median_difference(columns[GENERATED], columns["validation"], draws=draws, generator=generator)
        figures[key] = {
            "unit": unit,
            **{name: Quartiles.of(column).to_json() for name, column in columns.items()},
            "difference": difference.to_json(),
        }
    return figures
