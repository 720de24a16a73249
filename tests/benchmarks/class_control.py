"""Does the model make what it is asked for? `python -m tests.benchmarks.class_control --model models/demo`.

The class control of `sampling evaluate` alone, and so sooner: clips of every game, and a nearest-centroid classifier
that says which game each is. The classifier sees mean and standard deviation of mel bands, is fitted on the corpus's
training tracks only, and never sees a generated clip; it is first tried on the validation tracks, which it was not
fitted on either. `tests.benchmarks.music` has this figure too, among others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.files import write_json
from dualdiffusion.model.folder import ModelFolder
from sampling.evaluation import command
from sampling.evaluation.chosen import Settings, choose
from sampling.evaluation.embeddings.mel_statistics import MelStatistics
from sampling.evaluation.evaluate import requests
from sampling.evaluation.measures import ClipFeatures, class_control
from sampling.generator import Generator

CLIP_SECONDS = 8.0
PHASE_ITERATIONS = 10  # timbre needs no more


def evaluate(model: ModelFolder, dataset: DatasetFolder, settings: Settings, console: Console) -> dict[str, Any]:
    """The accuracies, overall and per game."""
    chosen = choose(model, dataset, command.sample_rate(model), settings)
    generator = Generator.load(model)
    statistics, channels = MelStatistics(generator.sample_rate), generator.format.config.num_channels

    def hear(clip: Tensor, name: str, game: str) -> ClipFeatures:
        return ClipFeatures(name, game, {}, statistics(clip), torch.empty(0), None)

    splits = [
        [hear(excerpt.read(channels), excerpt.name, game) for game in chosen.games for excerpt in split[game]]
        for split in (chosen.training, chosen.validation)
    ]
    made = []
    for request, game in requests(chosen.games, settings):
        console.print(f"generating {game}, seed {request.seed}", markup=False)
        made.append(hear(generator.generate(request).audio, f"{game}, seed {request.seed}", game))
    found = class_control(*splits, made, chosen.games)
    generated, held_out = found["generated"], found["validation"]
    return {
        "generated_accuracy": generated["accuracy"]["value"],
        "corpus_accuracy": held_out["accuracy"]["value"],
        "generated_clips": generated["clips"],
        "corpus_clips": held_out["clips"],
        "chance": found["chance"],
        "games": {
            game: {"accuracy": row["accuracy"]["value"], "heard_as": row["heard_as"]}
            for game, row in generated["games"].items()
        },
    }


def main() -> int:
    """Prints a table and, where asked, writes the figures as JSON."""
    parser = CommandParser(prog="python -m tests.benchmarks.class_control", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, default=None, help="default: the dataset the UNet was trained on")
    parser.add_argument("--clips", type=int, default=8, help="generated clips per game (default 8)")
    parser.add_argument("--steps", type=int, help="default: what the model recommends")
    parser.add_argument("--cfg-scale", type=float, help="default: what the model recommends")
    parser.add_argument("--json", type=Path, default=None)
    options, console = parser.parse_args(), Console()
    words: list[object] = ["--seconds", CLIP_SECONDS, "--set", f"phase_iterations={PHASE_ITERATIONS}"]
    for name, value in vars(options).items():
        words += [] if value is None else [f"--{name.replace('_', '-')}", value]
    model, dataset, request = command.check(command.parse(words))
    settings = Settings(options.clips, CLIP_SECONDS, request, seed=0, embeddings=(), games=None, draws=0)
    result = evaluate(model, dataset, settings, console)
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
