"""Phase recovery's settings, cross-validated: chosen on half of the tracks, told on the other half, and the reverse.

    python -m tests.benchmarks.phase_settings [--music DIR] [--tracks 12] [--seed 0] [--varied] [--json FILE]

Every setting of SETTINGS takes about the time of those that are shipped. Figures are ratios to the shipped ones on the
same excerpt, below 1 is better: sc, lr and ms as in phase_recovery.py, and `all`, the geometric mean of the three, by
which a half chooses. What the other half says of the choice is what other music may expect of it. For settings that
are good for one kind of music alone, the range over the excerpts is told too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dualdiffusion.command_line import CommandParser, positive_int, run_command
from dualdiffusion.dsp import phase_recovery
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.formats.mel_spectrogram import MelSpectrogram
from tests.benchmarks.phase_recovery import compose, convergence, distance, excerpts, mid_side, varied

MEASURES = ("sc", "lr", "ms", "all")
SHIPPED = "shipped"
SETTINGS: dict[str, dict[str, float]] = {
    SHIPPED: {},
    "momentum 0.9": {"phase_momentum": 0.9},
    "momentum 0.95": {"phase_momentum": 0.95},
    "momentum 1.05": {"phase_momentum": 1.05},
    "momentum 1.15": {"phase_momentum": 1.15},
    "half merged": {"merged_share": 0.5, "QUARTER": 2.2},
    "nine tenths merged": {"merged_share": 0.9, "QUARTER": 3.1},
    "more at full rate": {"FULL": 0.24, "QUARTER": 2.0},
    "less at full rate": {"FULL": 0.06, "QUARTER": 3.0},
    "more at half rate": {"HALF": 0.4, "QUARTER": 2.2},
    "less at half rate": {"HALF": 0.1, "QUARTER": 2.95},
    "more merged, more at full rate": {"merged_share": 0.85, "FULL": 0.2, "QUARTER": 2.4},
}
"""Name -> fields of `MelSpectrogram.Config`, and constants of dsp/phase_recovery.py."""

Ratios = dict[str, dict[str, list[float]]]
"""Setting -> measure -> ratio to the shipped settings, by excerpt."""


def recovered(audio: Tensor, setting: dict[str, float]) -> Tensor:
    """(2, N) by way of its spectrogram, with other settings."""
    constants = {name: value for name, value in setting.items() if name.isupper()}
    config = {name: value for name, value in setting.items() if name not in constants}
    with patch.dict(vars(phase_recovery), constants):
        format = MelSpectrogram(MelSpectrogram.Config(**config))
        return format.decode(format.encode(audio[None]))[0]


def figures(format: MelSpectrogram, audio: Tensor, output: Tensor) -> dict[str, float]:
    """The measures of one output."""
    values = {
        "sc": convergence(format, audio, output),
        "lr": distance(audio, output),
        "ms": distance(mid_side(audio), mid_side(output)),
    }
    return {**values, "all": exp(mean(map(log, values.values())))}


@torch.inference_mode()
def measure(found: list[tuple[str, Tensor]], console: Console) -> Ratios:
    """All settings on all excerpts."""
    format = MelSpectrogram(MelSpectrogram.Config())
    ratios: Ratios = {name: {key: [] for key in MEASURES} for name in SETTINGS}
    for name, audio in found:
        console.print(name, markup=False)
        values = {key: figures(format, audio, recovered(audio, setting)) for key, setting in SETTINGS.items()}
        for setting, keys in values.items():
            for key, value in keys.items():
                ratios[setting][key].append(value / values[SHIPPED][key])
    return ratios


def cross_validated(ratios: Ratios, halves: list[int]) -> Iterator[dict[str, Any]]:
    """For each half: the setting that it chooses, and the means on both halves.

    Args:
        halves: 0 or 1 for each excerpt; all excerpts of one track are in one.
    """
    for chooser in (0, 1):
        ours = [i for i, half in enumerate(halves) if half == chooser]
        others = [i for i, half in enumerate(halves) if half != chooser]
        chosen = min(ratios, key=lambda name: _mean_of(ratios[name]["all"], ours))
        told = {key: _mean_of(ratios[chosen][key], others) for key in MEASURES}
        yield {"chosen": chosen, "on_its_half": _mean_of(ratios[chosen]["all"], ours), "on_the_other": told}


def _mean_of(values: list[float], places: list[int]) -> float:
    return mean(values[i] for i in places)


def show(ratios: Ratios, choices: list[dict[str, Any]], console: Console) -> None:
    table = Table("setting", *MEASURES, "best", "worst")
    for name, keys in ratios.items():
        spread = min(keys["all"]), max(keys["all"])
        table.add_row(name, *(f"{mean(keys[key]):.3f}" for key in MEASURES), *(f"{value:.3f}" for value in spread))
    console.print(table)
    for choice in choices:
        there = ", ".join(f"{key} {value:.3f}" for key, value in choice["on_the_other"].items())
        console.print(f"chosen on one half: {choice['chosen']} ({choice['on_its_half']:.3f}); on the other: {there}")


def main() -> int:
    """Prints a table and, where asked, writes the figures as JSON."""
    parser = CommandParser(prog="python -m tests.benchmarks.phase_settings", description=__doc__.splitlines()[0])
    parser.add_argument("--music", type=Path, help="folder of music; default: the built-in corpus, composed anew")
    parser.add_argument("--tracks", type=positive_int, help="an excerpt of each (default 12; 6 of the built-in corpus)")
    parser.add_argument("--seed", type=int, default=0, help="another seed chooses other tracks (default 0)")
    parser.add_argument("--varied", action="store_true", help="each excerpt also band-limited, and mixed with others")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    if options.music and not options.music.is_dir():
        raise UserError(f"{options.music}: no such folder; name a folder of music with --music")
    console = Console()
    tracks = options.tracks or (12 if options.music else 6)
    if tracks < 2:
        raise UserError("--tracks: must be 2 or more, to have two halves")
    with tempfile.TemporaryDirectory(prefix="phase-settings-") as folder:
        found = list(excerpts(options.music or compose(Path(folder) / "music"), tracks, options.seed))
    parts = [found[: tracks // 2], found[tracks // 2 :]]  # before they are mixed with each other
    chosen = [list(varied(part)) if options.varied else part for part in parts]
    ratios = measure([excerpt for part in chosen for excerpt in part], console)
    choices = list(cross_validated(ratios, [half for half, part in enumerate(chosen) for _ in part]))
    show(ratios, choices, console)
    if options.json:
        write_json(options.json, {"ratios": ratios, "choices": choices})
    return 0


if __name__ == "__main__":
    run_command(main)
