"""An evaluation in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sampling.evaluation.measures import GENERATED, THROUGH_FORMAT, THROUGH_VAE, TRAINING
from sampling.evaluation.music.record import MEASURES

SHOWN = 5
"""Clips that are listed by name at most."""
TELLING = ("beat", "stays", "sharpness", "onsets")
"""Measures that are shown by game, and as shares that stages keep."""


def show(result: dict[str, Any], console: Console) -> None:
    """Prints tables and notes; `result` as `evaluate` makes it."""
    settings = result["settings"]
    console.print(
        f"{result['model']} ({result['fingerprint']}) on {result['dataset']}: {settings['clips']} clips of "
        f"{settings['seconds']:g} s {'of' if result['class_control']['generated'] else 'for'} each of "
        f"{len(result['games'])} games; [95 % intervals]",
        markup=False,
    )
    for name, figures in result["distances"].items():
        console.print(_distances(name, figures))
    if result["class_control"]["generated"]:
        console.print(_class_control(result["class_control"]))
    _copies(result["copies"], console)
    console.print(_nearest(result["nearest"]))
    console.print(_sound(result["sound"]))
    show_music(result["music"], console)
    for note in result["notes"]:
        console.print(f"note: {note}", markup=False)


def show_music(music: dict[str, Any], console: Console) -> None:
    """Prints the measures of music by stage, what each stage keeps, and the most telling ones by game."""
    console.print(_stages(music["stages"]))
    console.print(_kept(music["kept"]))
    console.print(_music_of_games(music["games"]))


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
    table = _table(title, "clips", "n", "Frechet", "less its bias", "extrapolated", "KAD", "KAD above training")
    for label, row in figures["sets"].items():
        endless = row["frechet_extrapolated"]
        table.add_row(
            Text(label),
            str(row["clips"]),
            _plain(row["frechet_biased"]),
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
        f"copies: {copies['flagged']} generated clips are more like a training track than any validation clip, "
        f"{copies['more_alike_than_training_tracks']} also than training clips are like other tracks; of "
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
        "distance of the nearest training clip: median",
        "embedding",
        "generated",
        "validation",
        "training, another track",
        "nearer than any",
    )
    for name, figures in nearest.items():
        found = [figures["distance"][key]["median"] for key in ("generated", "validation", "training")]
        medians = ["-" if median is None else _plain(median) for median in found]
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


def _stages(stages: dict[str, dict[str, Any]]) -> Table:
    shown = [name for name in MEASURES if any(row[name]["value"] is not None for row in stages.values())]
    table = _table("music: where is it lost? means", "clips", "n", *(MEASURES[name] for name in shown))
    table.columns[0].no_wrap = True
    for stage, row in stages.items():
        values = [row[name]["value"] for name in shown]
        table.add_row(stage, str(row["clips"]), *("-" if value is None else f"{value:.2f}" for value in values))
    return table


def _kept(kept: dict[str, dict[str, Any]]) -> Table:
    table = _table("music: share that is kept", "", *(MEASURES[name] for name in TELLING))
    for label, row in kept.items():
        table.add_row(label, *(interval(row["measures"][name], _share) for name in TELLING))
    return table


def _music_of_games(games: dict[str, dict[str, dict[str, Any]]]) -> Table:
    """Each cell goes through the stages, from training clips to generated ones."""
    shown = (TRAINING, THROUGH_FORMAT, THROUGH_VAE, GENERATED)
    table = _table("music: corpus > format > VAE > generated", "game", *(MEASURES[name] for name in TELLING))
    for game, stages in games.items():
        rows = [[stages[stage][name] for stage in shown] for name in TELLING]
        table.add_row(Text(game), *(" > ".join("-" if x is None else f"{x:.2f}" for x in row) for row in rows))
    return table


def _share(number: float) -> str:
    return f"{number:.2f}"
