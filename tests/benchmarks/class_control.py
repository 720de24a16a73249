"""Does the model make what it is asked for? `python -m tests.benchmarks.class_control --model models/demo`.

Generates clips of every game and lets a nearest-centroid classifier say which game each is. The classifier sees mean
and standard deviation of mel bands, is fitted on the corpus's training tracks only, and never sees a generated clip; it
is first tried on the validation tracks, which it was not fitted on either.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.config import validate
from dualdiffusion.data.manifest import DatasetFolder, Track
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.model_folder import ModelFolder
from dualdiffusion.shipped import find_model
from sampling.evaluation.classifier import NearestCentroid
from sampling.evaluation.embeddings.mel_statistics import MelStatistics
from sampling.generate import Generator
from sampling.recommended import Asked, read_recommended
from sampling.request import Request

CLIP_SECONDS = 8.0


def corpus_clips(tracks: list[Track]) -> list[tuple[Tensor, str]]:
    """Whole clips of CLIP_SECONDS from tracks, with their games."""
    clips = []
    for track in tracks:  # too short ones give none
        samples, sample_rate = audio.read(track.path)
        length = int(CLIP_SECONDS * sample_rate)
        clips += [(samples[:, i : i + length], track.game) for i in range(0, samples.shape[1] - length + 1, length)]
    if not clips:
        raise UserError(
            f"no track is {CLIP_SECONDS:g} s long; make the dataset with longer tracks, and a validation split"
        )
    return clips


def generated_clips(generator: Generator, names: list[str], options: Any, console: Console) -> list[tuple[Tensor, str]]:
    """`options.clips` clips of every game."""
    clips = []
    said = {"steps": options.steps, "cfg_scale": options.cfg_scale}
    said = {key: value for key, value in said.items() if value is not None}
    recommended = read_recommended(ModelFolder(options.model))
    for name in names:
        for seed in range(options.clips):
            console.print(f"generating {name}, seed {seed}", markup=False)
            fixed = {"games": {name: 1.0}, "seed": seed, "seconds": CLIP_SECONDS, "phase_iterations": 10}
            request = validate(Request, Asked({**said, **fixed}).over(recommended), "options")
            clips.append((generator.generate(request).audio, name))
    return clips


def evaluate(model: ModelFolder, dataset: DatasetFolder, options: Any, console: Console) -> dict[str, Any]:
    """The accuracies, overall and per game."""
    generator = Generator.load(model)
    names = [game.name for game in dataset.labels().games if game.tracks]
    statistics = MelStatistics(generator.sample_rate)

    def features(clips: list[tuple[Tensor, str]]) -> tuple[Tensor, Tensor]:
        return torch.stack([statistics(clip) for clip, _ in clips]), torch.tensor([names.index(g) for _, g in clips])

    classifier = NearestCentroid(*features(corpus_clips(dataset.tracks("train"))), len(names))
    held_out, of_held_out = features(corpus_clips(dataset.tracks("validation")))
    made, asked = features(generated_clips(generator, names, options, console))
    answers = classifier(made)
    games = {
        name: {
            "accuracy": float((answers[asked == index] == index).float().mean()),
            "heard_as": [names[answer] for answer in answers[asked == index].tolist()],
        }
        for index, name in enumerate(names)
    }
    return {
        "generated_accuracy": float((answers == asked).float().mean()),
        "corpus_accuracy": float((classifier(held_out) == of_held_out).float().mean()),
        "generated_clips": len(asked),
        "corpus_clips": len(of_held_out),
        "chance": 1 / len(names),
        "games": games,
    }


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def main() -> int:
    """Prints a table and, where asked, writes the figures as JSON."""
    parser = CommandParser(prog="python -m tests.benchmarks.class_control", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, default=None, help="default: the dataset the UNet was trained on")
    parser.add_argument("--clips", type=_positive, default=8, help="generated clips per game (default 8)")
    parser.add_argument("--steps", type=_positive, help="default: what the model recommends")
    parser.add_argument("--cfg-scale", type=float, help="default: what the model recommends")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    model, console = find_model(options.model), Console()
    if not len(model.labels().games):
        raise UserError(f"{model.path}: knows no games")
    config = model.run_path("unet") / "config.json"
    if options.dataset is None and not config.exists():
        raise UserError(f"{config}: no such file; name the dataset with --dataset")
    dataset = DatasetFolder(options.dataset or Path(json.loads(config.read_text())["dataset"]))
    result = evaluate(model, dataset, options, console)
    table = Table("game", "right", "heard as")
    for name, game in result["games"].items():
        table.add_row(name, f"{game['accuracy']:.0%}", ", ".join(game["heard_as"]))
    console.print(table)
    console.print(f"generated clips told right: {result['generated_accuracy']:.1%} of {result['generated_clips']}")
    console.print(f"held-out corpus clips told right: {result['corpus_accuracy']:.1%} of {result['corpus_clips']}")
    console.print(f"chance: {result['chance']:.1%}")
    if options.json:
        write_json(options.json, result)
    return 0


if __name__ == "__main__":
    run_command(main)
