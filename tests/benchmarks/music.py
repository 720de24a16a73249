"""Does the model make music? `python -m tests.benchmarks.music --model chiptune [--dataset DATASET] [--json FILE]`.

Everything comes from `sampling evaluate`, at the settings that the model recommends: what of the corpus's beat, and of
the notes and onsets that the format lets through, is left in generated clips; whether they are of the game that was
asked for; their distance in mel statistics against that of training tracks through the VAE; copies; and the time that a
clip takes. Without --dataset the built-in corpus is composed, see corpus.py: for a minute or two on each core.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dualdiffusion.command_line import CommandParser, add_set_option, run_command
from dualdiffusion.files import write_json
from dualdiffusion.model.folder import ModelFolder
from sampling.evaluation import command
from sampling.evaluation.measures import GENERATED, THROUGH_VAE
from sampling.evaluation.music.figures import OF_CORPUS, OF_FORMAT
from sampling.evaluation.report.tables import interval
from sampling.generator import Generator
from sampling.request import Request
from tests.benchmarks.corpus import built_in_dataset

EMBEDDING = "mel_statistics"
TIMED_CLIPS, TIMED_SECONDS = 3, 8.0
TINY = 1e-9
TRACKS = 24  # of each game, as many as the shipped model was trained on
AT_LEAST = {"beat_ratio": 0.75, "sharpness_ratio": 0.85, "onset_ratio": 0.85, "class_control": 0.95}
AT_MOST = {"kad_ratio": 1.5, "copies": 0, "seconds_per_clip": 8.0}
TEXTS = {
    "beat_ratio": "beat clarity, of the corpus'",
    "sharpness_ratio": "note sharpness, of the format's",
    "onset_ratio": "onset contrast, of the format's",
    "class_control": "clips told as the game that was asked for",
    "kad_ratio": "kernel distance from held-out music, of that of training clips through the VAE",
    "copies": "clips more like a training track than other tracks are",
    "seconds_per_clip": f"seconds for a clip of {TIMED_SECONDS:g} s",
}


def figures(result: dict[str, Any], seconds_per_clip: float) -> dict[str, float | int]:
    """The figures of `TEXTS` from those of an evaluation.

    The ratio of kernel distances is one of biased estimates, both of equally many clips: unbiased ones of a good VAE
    lie around 0, where a ratio says nothing. With few clips it is nearer to 1 than a ratio of the true distances.
    """
    kept, sets = result["music"]["kept"], result["distances"][EMBEDDING]["sets"]
    made, through_vae = (sets[name]["kad_biased"] for name in (GENERATED, THROUGH_VAE))
    return {
        "beat_ratio": kept[OF_CORPUS]["measures"]["beat"]["value"],
        "sharpness_ratio": kept[OF_FORMAT]["measures"]["sharpness"]["value"],
        "onset_ratio": kept[OF_FORMAT]["measures"]["onsets"]["value"],
        "class_control": result["class_control"]["generated"]["accuracy"]["value"],
        "kad_ratio": made / max(through_vae, TINY),
        "copies": result["copies"]["more_alike_than_training_tracks"],
        "seconds_per_clip": seconds_per_clip,
    }


def seconds_for_a_clip(generator: Generator, result: dict[str, Any]) -> float:
    """The median wall-clock time of a few clips at the evaluation's settings; the model is loaded and warm."""
    times = []
    for seed in range(TIMED_CLIPS):
        game = result["games"][seed % len(result["games"])]
        changes = {"games": {game: 1.0}, "seed": seed, "seconds": TIMED_SECONDS}
        began = time.perf_counter()
        generator.generate(Request.from_json({**result["settings"]["request"], **changes}))
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def show(found: dict[str, Any], result: dict[str, Any], console: Console) -> None:
    """The figures beside their goals, and what else tells how far to trust them."""
    table = Table("", "measured", "goal", "", title="does it make music?", title_justify="left")
    for name, text in TEXTS.items():
        value, least = found[name], name in AT_LEAST
        goal = AT_LEAST[name] if least else AT_MOST[name]
        reached = "" if value is None else "reached" if (value >= goal if least else value <= goal) else "missed"
        shown = "-" if value is None else f"{value:.3g}"
        table.add_row(text, shown, f"at {'least' if least else 'most'} {goal:g}", reached)
    console.print(table)
    kept, nearest = result["music"]["kept"], result["nearest"][EMBEDDING]
    sets = result["distances"][EMBEDDING]["sets"]
    unbiased = (f"{name} {interval(sets[name]['kad'], '{:.3g}'.format)}" for name in (GENERATED, THROUGH_VAE))
    console.print(f"kernel distances, unbiased: {', '.join(unbiased)}", markup=False)
    console.print(f"onset contrast, of the corpus': {kept[OF_CORPUS]['measures']['onsets']['value']:.3g}")
    medians = {name: row["median"] for name, row in nearest["distance"].items() if row["median"] is not None}
    text = ", ".join(f"{name} {median:.3g}" for name, median in medians.items())
    console.print(f"distance of the nearest training clip (of another track), median: {text}", markup=False)


def make_parser() -> CommandParser:
    """The options."""
    parser = CommandParser(prog="python -m tests.benchmarks.music", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="model folder, or the name of a shipped model")
    parser.add_argument("--dataset", type=Path, help="dataset folder (default: the built-in corpus, composed anew)")
    parser.add_argument("--clips", type=int, default=8, help="clips to generate of each game (default 8)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of all clips (default 8)")
    parser.add_argument("--games", nargs="+", metavar="NAME", help="games to ask for (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the first clip; further ones count up (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw a clip of each game and stage, as .png")
    parser.add_argument("--work", type=Path, help="keep the composed corpus in this folder, to be used again")
    parser.add_argument("--corpus-seed", type=int, default=0, help="of the training tracks (default 0)")
    parser.add_argument("--held-out-seed", type=int, default=1, help="of the validation tracks (default 1)")
    parser.add_argument("--tracks", type=int, default=TRACKS, help=f"training tracks of each game (default {TRACKS})")
    parser.add_argument("--device", help="cpu, cuda, ...; default: a GPU where there is one")
    add_set_option(parser)
    return parser


def evaluation_arguments(options: Any, dataset: Path | None) -> Namespace:
    """The same for `sampling evaluate`."""
    words: list[object] = ["--embedding", EMBEDDING]
    for name in ("model", "clips", "seconds", "seed", "json", "picture", "device"):
        if getattr(options, name) is not None:
            words += [f"--{name}", getattr(options, name)]
    words += ["--dataset", dataset] if dataset else []
    words += ["--games", *options.games] if options.games else []
    return command.parse(words + (["--set", *options.overrides] if options.overrides else []))


def compose(options: Any, model: ModelFolder, work: Path) -> Path:
    """The built-in corpus for a model."""
    return built_in_dataset(
        options.games or model.labels().names,
        command.sample_rate(model),
        work,
        seed=options.corpus_seed,
        held_out_seed=options.held_out_seed,
        tracks=options.tracks,
    )


def main() -> int:
    """Prints tables and, where asked, writes the figures as JSON."""
    options, console = make_parser().parse_args(), command.make_console()
    model, _ = command.check_request(evaluation_arguments(options, None))  # before minutes of composing
    with ExitStack() as stack:
        dataset = options.dataset
        if dataset is None:
            work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="music-")))
            dataset = compose(options, model, work)
        result, generator = command.measure(evaluation_arguments(options, dataset), console)
    found = figures(result, seconds_for_a_clip(generator, result))
    show(found, result, console)
    if options.json:
        write_json(options.json, {**found, "evaluation": result})
    return 0


if __name__ == "__main__":
    run_command(main)
