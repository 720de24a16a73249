"""An evaluation in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

SHOWN = 5
"""Clips that are listed by name at most."""


def show(result: dict[str, Any], console: Console) -> None:
    """Prints tables and notes; `result` as `evaluate` makes it."""
    settings = result["settings"]
    console.print(
        f"{result['model']} ({result['fingerprint']}) on {result['dataset']}: {settings['clips']} clips of "
        f"{settings['seconds']:g} s of each of {len(result['games'])} games; [95 % intervals]",
        markup=False,
    )
    for name, figures in result["distances"].items():
        console.print(_distances(name, figures))
    console.print(_class_control(result["class_control"]))
    _copies(result["copies"], console)
    console.print(_nearest(result["nearest"]))
    console.print(_sound(result["sound"]))
    for note in result["notes"]:
        console.print(f"note: {note}", markup=False)


def interval(figures: dict[str, float | None], format: Callable[[float], str]) -> str:
    """`value [low, high]`; a dash for what could not be measured."""
    if figures["value"] is None:
        return "-"
    limits = ", ".join("-" if figures[key] is None else format(figures[key]) for key in ("low", "high"))
    return f"{format(figures['value'])} [{limits}]"


def _plain(number: float) -> str:
    return f"{number:.3g}"


def _percent(number: float) -> str:
    return f"{number:.0%}"


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=Text(title), title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _distances(name: str, figures: dict[str, Any]) -> Table:
    title = (
        f"distance from {figures['reference_clips']} validation clips in {name} ({figures['dimensions']} dimensions, "
        f"{figures['frames_per_clip']} frames a clip); 0 is equal"
    )
    table = _table(title, "clips", "n", "Frechet", "extrapolated", "KAD", "KAD above training")
    for label, row in figures["sets"].items():
        endless = row["frechet_extrapolated"]
        table.add_row(
            Text(label),
            str(row["clips"]),
            interval(row["frechet"], _plain),
            "-" if endless is None else _plain(endless),
            interval(row["kad"], _plain),
            interval(row["above_training"]["kad"], _plain) if "above_training" in row else "",
        )
    return table


def _class_control(control: dict[str, Any]) -> Table:
    table = _table(
        f"told as the game that was asked for; chance {control['chance']:.0%}", "game", "generated", "validation", ""
    )
    made, held_out = control["generated"], control["validation"]
    for game, row in made["games"].items():
        wrong = [other for other in row["heard_as"] if other != game]
        heard = ", ".join(f"{other} {wrong.count(other)}" for other in dict.fromkeys(wrong))
        own = interval(held_out["games"][game]["accuracy"], _percent)
        table.add_row(Text(game), interval(row["accuracy"], _percent), own, Text(f"heard as: {heard}" if heard else ""))
    total = [f"{interval(x['accuracy'], _percent)} of {x['clips']}" for x in (made, held_out)]
    table.add_section()
    table.add_row("all", *total, "")
    return table


def _copies(copies: dict[str, Any], console: Console) -> None:
    table = _table("likeness to a training track (correlation)", "clips", "median", "highest")
    highest = {"generated": copies["clips"][0]["score"], "validation": copies["threshold"]}
    for name, scores in copies["scores"].items():
        high = highest.get(name)
        table.add_row(name.replace("_", " "), _plain(scores["median"]), "" if high is None else _plain(high))
    console.print(table)
    power = interval(copies["known_copies_found"], _percent)
    console.print(
        f"copies: {copies['flagged']} generated clips are more like a training track than any validation clip; of "
        f"{copies['known_copies']} known copies, training clips through the VAE, {power} are found",
        markup=False,
    )
    flagged = [clip for clip in copies["clips"] if clip["flagged"]]
    for clip in flagged[:SHOWN]:
        console.print(
            f"  {clip['clip']}, at {clip['clip_seconds']:.1f} s: {clip['score']:.2f}, {clip['track']} at "
            f"{clip['track_seconds']:.1f} s",
            markup=False,
        )
    if len(flagged) > SHOWN:
        console.print(f"  and {len(flagged) - SHOWN} more; --json has all", markup=False)


def _nearest(nearest: dict[str, Any]) -> Table:
    table = _table(
        "distance of the nearest training clip: median", "embedding", "generated", "validation", "nearer than any"
    )
    for name, figures in nearest.items():
        medians = [_plain(figures["distance"][key]["median"]) for key in ("generated", "validation")]
        table.add_row(name, *medians, f"{figures['nearer_than_any_validation_clip']} of {len(figures['clips'])}")
    return table


def _sound(sound: dict[str, Any]) -> Table:
    columns = ("generated", "validation", "training")
    table = _table("sound: medians (quartiles)", "", *columns, "generated - validation")
    for name, figures in sound.items():
        cells = [_quartiles(figures[column]) for column in columns]
        table.add_row(f"{name.replace('_', ' ')}, {figures['unit']}", *cells, interval(figures["difference"], _plain))
    return table


def _quartiles(figures: dict[str, Any]) -> str:
    if figures["median"] is None:
        return "-"
    missing = figures["count"] - figures["finite"]
    text = f"{figures['median']:.4g} ({figures['lower']:.4g}, {figures['upper']:.4g})"
    return f"{text}; {missing} without" if missing else text
