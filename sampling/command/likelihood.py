"""`python -m sampling likelihood MODEL DATASET`: which tracks a model finds odd, which game it hears in them, and
whether it knows those that it was trained on better than others. Imports no torch until everything is checked.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Any

from dualdiffusion.data.dataset_folder import DatasetFolder, Track
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.model.shipped import find_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from dualdiffusion.model.loaded import LoadedModel

SPLITS = ("train", "validation")
# A track is odd where it is less likely than the middle of its split by so many standard deviations, as those of a
# normal distribution follow from the median distance to the middle.
ODD, DEVIATIONS_OF_MEDIAN = 3.0, 1.4826
# Of what is weighed, where neither the command nor the model says how long; and games in one batch.
USUAL_SECONDS, GAMES_AT_ONCE = 8.0, 8
# The training split is told to be known better where the difference is so many of its standard errors.
CLEAR = 2.0


@dataclass(frozen=True)
class Weighed:
    """What a model makes of the middle of a track.

    Attributes:
        nats: ln p for each number of the latents, under the track's own game.
        heard: the game under which it is likeliest; None of a model without games.
        margin: by how many nats for each number it is likelier than under the track's own game; 0 where that is heard.
    """

    file_name: str
    game: str
    split: str
    nats: float
    heard: str | None
    margin: float


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `likelihood`."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model folder, such as models/demo, or chiptune")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="dataset folder, encoded by this model")
    parser.add_argument("--tracks", type=_count, default=16, help="of each split at most, spread over it (default 16)")
    parser.add_argument("--seconds", type=float, help="from the middle of each track (default: as the training crops)")
    parser.add_argument("--steps", type=_count, default=24, help="of the ODE (default 24)")
    parser.add_argument("--probes", type=_count, default=1, help="of the trace, for each step (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the probes, which are the same for all tracks")
    parser.add_argument("--ema", help="weights: the name of an EMA or raw (default: the model's own)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--device", help="cpu, cuda, ...; default: a GPU where there is one")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, 1 or more")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Weighs tracks of both splits and prints what follows.

    Raises:
        UserError: no model, no dataset, or latents of another model.
    """
    if arguments.steps < 2:
        raise UserError(f"--steps {arguments.steps}: must be 2 or more")
    if arguments.seconds is not None and not 0 < arguments.seconds < math.inf:
        raise UserError(f"--seconds {arguments.seconds}: must be above 0")
    folder, dataset = find_model(arguments.model), DatasetFolder(arguments.dataset)
    tracks = {split: _spread(dataset.tracks(split), arguments.tracks) for split in SPLITS}
    from dualdiffusion.model.loaded import load_model

    model = load_model(folder, ema=arguments.ema, device=arguments.device)
    weighed: list[Weighed] = []
    for split in SPLITS:
        for item in _weigh(model, dataset, tracks[split], split, arguments):
            weighed.append(item)
            heard = f", heard as {item.heard}" if item.heard not in (None, item.game) else ""
            print(f"{split} {item.file_name} ({item.game}): {item.nats:.4f}{heard}", flush=True)
    result = summary(weighed)
    print()
    for line in told(result):
        print(line)
    if arguments.json:
        write_json(arguments.json, result)
        print(f"written: {arguments.json}")
    return 0


def _spread(tracks: list[Track], count: int) -> list[Track]:
    """At most so many tracks, evenly spread over all."""
    step = max(1, math.ceil(len(tracks) / count))
    return tracks[::step]


def _weigh(
    model: LoadedModel, dataset: DatasetFolder, tracks: list[Track], split: str, arguments: argparse.Namespace
) -> Iterator[Weighed]:
    """The tracks that are long enough."""
    from dualdiffusion.data.latent_crops import LatentCrops

    column_seconds = model.vae.downsampling / model.format.frames_per_second
    columns = _columns(model, arguments.seconds, column_seconds)
    tracks = [track for track in tracks if track.seconds > columns * column_seconds + 1]
    if not tracks:
        return
    crops = LatentCrops(dataset, tracks, columns, vae_fingerprint=model.folder.fingerprint("vae"), seed=None)
    names = model.labels.names[: model.denoiser.label_dim]
    for index, track in enumerate(crops.tracks):
        nats = _nats(model, crops[index].data[None], len(names), arguments)
        best = max(nats)
        own = nats[names.index(track.game)] if track.game in names else best  # a dataset may number games otherwise
        heard = names[nats.index(best)] if names else None
        yield Weighed(track.file_name, track.game, split, own, heard, best - own)


def _columns(model: LoadedModel, seconds: float | None, column_seconds: float) -> int:
    """Latent columns of what is weighed: so many seconds, or as the model was trained on."""
    if seconds is None and model.window_columns:
        return model.window_columns
    multiple = model.denoiser.size_multiple
    return max(1, round((USUAL_SECONDS if seconds is None else seconds) / column_seconds / multiple)) * multiple


def _nats(model: LoadedModel, x: Tensor, games: int, arguments: argparse.Namespace) -> list[float]:
    """ln p of latents (1, Z, f, t) under each of the games; the only one of a model without games."""
    import torch

    from dualdiffusion.conditioning import Conditioning
    from sampling.likelihood import log_likelihood

    position = model.vae.latent_position(model.format.position()).to(model.device)
    every = torch.eye(model.denoiser.label_dim)[:games].split(GAMES_AT_ONCE) if games else [None]
    found = []
    for labels in every:
        found += log_likelihood(
            model.denoiser,
            x.to(model.device).expand(1 if labels is None else len(labels), -1, -1, -1),
            Conditioning() if labels is None else Conditioning(labels.to(model.device)),
            position=position,
            steps=arguments.steps,
            seed=arguments.seed,
            probes=arguments.probes,
        ).tolist()
    return found


def summary(weighed: list[Weighed]) -> dict[str, Any]:
    """All figures as JSON: the tracks, those that are odd, the share of games heard right, and how the splits differ.

    `verdict` is "memorising" where training tracks are clearly likelier than those held out, "not seen" where that
    cannot be told from chance, and "unknown" where a split has less than two tracks.
    """
    splits = {split: [item.nats for item in weighed if item.split == split] for split in SPLITS}
    heard = [item.heard == item.game for item in weighed if item.heard is not None]
    result: dict[str, Any] = {
        "tracks": [asdict(item) for item in weighed],
        "mean": {split: mean(values) if values else None for split, values in splits.items()},
        "odd": [item.file_name for item in weighed if _is_odd(item.nats, splits[item.split])],
        "games_heard_right": sum(heard) / len(heard) if heard else None,
        "difference": None,
        "standard_error": None,
        "verdict": "unknown",
    }
    if all(len(values) > 1 for values in splits.values()):
        difference = mean(splits["train"]) - mean(splits["validation"])
        error = math.sqrt(sum(stdev(values) ** 2 / len(values) for values in splits.values()))
        verdict = "memorising" if difference > CLEAR * error else "not seen"
        result |= {"difference": difference, "standard_error": error, "verdict": verdict}
    return result


def _is_odd(value: float, all_values: list[float]) -> bool:
    middle = median(all_values)
    deviation = DEVIATIONS_OF_MEDIAN * median(abs(other - middle) for other in all_values)
    return deviation > 0 and value < middle - ODD * deviation


def told(result: dict[str, Any]) -> Iterator[str]:
    """The figures in words."""
    yield "Nats for each number of the latents; more is likelier."
    by_name = {item["file_name"]: item for item in result["tracks"]}
    for name in result["odd"]:
        yield f"odd: {name} ({by_name[name]['game']}): {by_name[name]['nats']:.4f}"
    if not result["odd"]:
        yield "odd: no track"
    if result["games_heard_right"] is not None:
        yield f"games: heard right in {result['games_heard_right']:.0%} of the tracks"
    means = ", ".join(f"{split} {value:.4f}" for split, value in result["mean"].items() if value is not None)
    if result["verdict"] == "unknown":
        yield f"splits: {means or 'no track is long enough'}; a comparison needs two tracks of each"
        return
    said = "training tracks are likelier" if result["verdict"] == "memorising" else "no clear difference"
    yield (
        f"splits: {means}; difference {result['difference']:.4f} +- {result['standard_error']:.4f}: {said}"
        + (", the model knows them" if result["verdict"] == "memorising" else ", no memorising is seen")
    )
