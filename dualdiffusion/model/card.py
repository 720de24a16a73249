"""The model card of an exported model: Markdown, of what the model folder and its runs tell, and of some notes."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.loaded import LoadedModel
from dualdiffusion.model.module import describe

NOT_STATED = "not stated"
CURVE_ROWS = 10
# What `python -m tests.benchmarks.music --json` measures, in words.
MEASURES = {
    "beat_ratio": "beat clarity, of the corpus'",
    "sharpness_ratio": "note sharpness, of the format's round trip",
    "onset_ratio": "onset contrast, of the format's round trip",
    "class_control": "clips that sound like the game asked for",
    "kad_ratio": "kernel distance to held-out music, of training tracks' through the VAE",
    "copies": "copies of training tracks",
    "seconds_per_clip": "seconds to make a clip of 8 s",
}


@dataclass(frozen=True)
class CardNotes:
    """What the card says and no file of the model knows.

    Attributes:
        text: Markdown in own words, such as what one hears.
        data: what the music is, and where it comes from.
        licence: of the data and the weights.
        hardware: what it was trained on.
        command: what makes the model again.
        measures: figures by name.
    """

    text: str = ""
    data: str = NOT_STATED
    licence: str = NOT_STATED
    hardware: str = NOT_STATED
    command: str = ""
    measures: dict[str, Any] = field(default_factory=dict)


def read_measures(path: Path) -> dict[str, Any]:
    """The figures in a JSON file: the numbers of its outermost object.

    Raises:
        UserError: no such file, or no such object in it.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise UserError(f"{path}: must hold a JSON object of measures")
    return {name: value for name, value in data.items() if isinstance(value, int | float)}


def model_card(model: LoadedModel, name: str, weights: dict[str, str], notes: CardNotes) -> str:
    """The card as Markdown.

    Args:
        name: of the exported model.
        weights: module -> which of its weights were taken.
    """
    sections = [
        f"# {name}",
        notes.text.strip(),
        "\n".join(_what_it_is(model, weights)),
        "\n".join(_data(model, notes)),
        "\n".join(_training(model, weights, notes)),
        "\n".join(_measures(notes)),
        f"## Making it again\n\n```\n{notes.command}\n```" if notes.command else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what_it_is(model: LoadedModel, weights: dict[str, str]) -> Iterator[str]:
    audio = model.format
    channels = {1: "mono", 2: "stereo"}.get(audio.num_channels, f"{audio.num_channels} channels")
    counts = {"VAE": describe(model.vae)["total"], "UNet": describe(model.denoiser)["total"]}
    yield "Made with Dual Diffusion. `python -m webui --model FOLDER` plays it; FOLDER is this folder, or its"
    yield "name if it comes with the program."
    yield ""
    yield f"- games: {', '.join(model.labels.names)}"
    yield f"- audio: {audio.sample_rate:,} Hz, {channels}"
    if model.window_columns:
        seconds = model.window_columns * model.vae.downsampling * audio.hop_length / audio.sample_rate
        yield f"- longer clips are made in windows of {seconds:.2f} s, the crops of training"
    for module, count in counts.items():
        yield f"- {module}: {count:,} parameters, stored as float16 (weights: {weights[module.lower()]})"


def _data(model: LoadedModel, notes: CardNotes) -> Iterator[str]:
    yield "## Data"
    yield ""
    yield f"- {notes.data}"
    path = model.folder.run_path("unet") / "dataset.json"
    if path.is_file():
        seconds = [float(value) for value in read_json(path)["tracks"].values()]
        yield f"- {len(seconds):,} training tracks, {sum(seconds) / 3600:.1f} hours"
    yield f"- licence of data and weights: {notes.licence}"


def _training(model: LoadedModel, weights: dict[str, str], notes: CardNotes) -> Iterator[str]:
    yield "## Training"
    yield ""
    yield f"Hardware: {notes.hardware}."
    for module, chosen in weights.items():
        curve = validation_curve(model.folder, module, chosen)
        samples = samples_seen(model.folder, module)
        if samples is None:
            continue
        seconds = seconds_trained(model.folder.run_path(module))
        yield ""
        yield f"{module}: {samples:,} samples in {seconds:,.0f} s"
        yield ""
        yield "| samples | validation loss |"
        yield "|---:|---:|"
        yield from (f"| {at:,} | {loss:.4f} |" for at, loss in _thinned(curve))


def samples_seen(model: ModelFolder, module: str) -> int | None:
    """How many samples a module was trained on, by its metrics; None without its run."""
    return max((row[0] for row in _metrics(model, module)), default=None)


def validation_curve(model: ModelFolder, module: str, ema: str) -> list[tuple[int, float]]:
    """(samples seen, validation loss of the weights named `ema`) of a module's run; empty without one."""
    name = f"validation/{ema}/loss"
    return [(samples, value) for samples, metric, value in _metrics(model, module) if metric == name]


def _metrics(model: ModelFolder, module: str) -> Iterator[tuple[int, str, float]]:
    path = model.run_path(module) / "metrics.csv"
    if not path.is_file():
        return
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            # Neither the header nor a line that is half written.
            if len(row) == 4 and row[1].isdigit():
                with contextlib.suppress(ValueError):
                    yield int(row[1]), row[2], float(row[3])


def seconds_trained(run: Path) -> float:
    """Wall-clock seconds of a run, all its parts together: from the first to the last event in each of its files."""
    return sum(last - first for first, last in map(_first_and_last, run.glob("events.out.tfevents.*")))


def _first_and_last(path: Path) -> tuple[float, float]:
    from tensorboard.compat.proto.event_pb2 import Event

    times, data, at = [], path.read_bytes(), 0
    # A record: length, 8 bytes; checksum, 4; the event; checksum, 4.
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 8], "little")
        if end > len(data):
            break
        times.append(Event.FromString(data[at + 12 : end]).wall_time)
        at = end + 4
    return (min(times), max(times)) if times else (0.0, 0.0)


def _thinned(curve: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `CURVE_ROWS` points, the last among them."""
    step = max(1, math.ceil(len(curve) / CURVE_ROWS))
    return curve[::-1][::step][::-1]


def _measures(notes: CardNotes) -> Iterator[str]:
    if not notes.measures:
        return
    yield "## Measures"
    yield ""
    yield "| measure | value |"
    yield "|---|---:|"
    for name, value in notes.measures.items():
        number = json.dumps(value) if isinstance(value, int) else f"{value:.3g}"
        yield f"| {MEASURES.get(name, name)} | {number} |"
