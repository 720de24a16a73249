"""Does `describe` find the beat? `python -m tests.benchmarks.tempo [--tracks 4] [--json OUT]`, on the built-in corpus.

The composer knows the tempo of each track. What is found is the same within 1 %, or another level of the same beat
(its double, half, three times...), or something else. Where it is a level of the truth, the moments are compared too:
how far those of the slower of both lie from the nearest of the faster.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from dataset_processing.synth.composition import compose
from dataset_processing.synth.games import GAMES
from dataset_processing.synth.render import render
from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.dsp.beat import BeatGrid, find_beat
from dualdiffusion.files import write_json

RATE, SECONDS = 16000, 60.0
LEVELS = {"same": 1.0, "double": 2.0, "half": 0.5, "three times": 3.0, "a third": 1 / 3, "3 : 2": 1.5, "2 : 3": 2 / 3}
CLOSE = 0.01
OTHER = "other"


def level_of(found: float, truth: float) -> str:
    """Which level of the true tempo was found."""
    return next((name for name, ratio in LEVELS.items() if abs(found / truth / ratio - 1) < CLOSE), OTHER)


def distance(grid: BeatGrid, truth: BeatGrid, seconds: float) -> float:
    """Median distance in seconds of the moments of the slower grid from the nearest of the faster, but for a constant.

    Notes are heard a little after they begin, by as much as the sound's attack takes: a constant is no error.
    """
    slow, fast = sorted((grid, truth), key=lambda g: g.bpm)
    moments = torch.arange(slow.first, seconds, 60 / slow.bpm, dtype=torch.float64)
    place = fast.beats_at(moments)
    away = (place - place.round()) * 60 / fast.bpm
    return float((away - away.median()).abs().median())


def measure(tracks: int, seed: int) -> dict[str, Any]:
    """Each game's levels, clarities and distances."""
    games: dict[str, Any] = {}
    for game in GAMES:
        levels, clarities, distances = [], [], []
        for track in range(tracks):
            score = compose(game, track, seconds=SECONDS, seed=seed)
            sound = torch.from_numpy(render(score, game, RATE, seconds=SECONDS)).float()
            beat = find_beat(sound, RATE)
            levels.append(level_of(beat.whole.bpm, score.tempo) if beat else OTHER)
            if beat:
                clarities.append(beat.whole.clarity)
                if levels[-1] != OTHER:
                    distances.append(distance(beat.whole, BeatGrid(score.tempo, 0.0, 1.0), sound.shape[1] / RATE))
        games[game.name] = {
            "levels": {name: levels.count(name) for name in (*LEVELS, OTHER) if name in levels},
            "clarity": statistics.mean(clarities) if clarities else 0.0,
            "milliseconds": 1000 * statistics.median(distances) if distances else None,
        }
    count = tracks * len(games)

    def share(names: set[str]) -> float:
        return sum(n for game in games.values() for name, n in game["levels"].items() if name in names) / count

    return {"games": games, "same": share({"same"}), "a_level": 1 - share({OTHER}), "tracks": count}


def show(result: dict[str, Any], console: Console) -> None:
    """A row for each game."""
    table = Table(
        "", "found", "clarity", "ms from the beat", title="tempo of the built-in corpus", title_justify="left"
    )
    for name, game in result["games"].items():
        found = ", ".join(f"{level} {count}" for level, count in game["levels"].items())
        away = "-" if game["milliseconds"] is None else f"{game['milliseconds']:.0f}"
        table.add_row(name, found, f"{game['clarity']:.2f}", away)
    console.print(table)
    console.print(
        f"the same: {result['same']:.0%} of {result['tracks']} tracks; a level of it: {result['a_level']:.0%}"
    )


def main() -> None:
    """Measures, prints, writes."""
    parser = CommandParser(prog="python -m tests.benchmarks.tempo", description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=4, help="of each game (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the corpus (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    options = parser.parse_args()
    result = measure(options.tracks, options.seed)
    show(result, Console())
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    run_command(main)
