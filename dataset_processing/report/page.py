"""The report as one page that needs nothing else: no scripts, no other files, sounds to hear inside it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from dataset_processing.report.charts import BANDWIDTH, DURATION, LOUDNESS, bar, decimal, histogram
from dataset_processing.report.tables import MOST_ROWS, File, FileTables, is_duplicate, more_rows
from dataset_processing.report.texts import counted, escaped, length, percent
from dataset_processing.run.run_config import RunConfig, step_name
from dataset_processing.step import JsonData
from dualdiffusion import __version__

_HERE = Path(__file__).parent
MOST_GAMES = 2000
_GAMES_AT_ONCE = 40


@dataclass(frozen=True)
class About:
    """What stands in the head of the page. source: the source folder as seen from the page, as os.fsdecode gives it."""

    description: str
    source: str
    audio: str
    steps: str


def about(config: RunConfig) -> About:
    """The head of the page from its config. No absolute path and no time: equal input must give equal bytes."""
    settings = next((part.config for part in config.steps if hasattr(part.config, "loudness_lufs")), None)
    audio = ""
    if settings is not None:
        channels = {1: "mono", 2: "stereo"}[settings.channels]
        wanted = settings.loudness_lufs
        level = "loudness left as it is" if wanted is None else f"{decimal(wanted)} LUFS"
        ceiling = f"true peaks up to {decimal(settings.ceiling_dbfs)} dBFS"
        audio = f"{decimal(settings.sample_rate / 1000)} kHz, {channels}, FLAC {settings.bits} bit, {level}, {ceiling}"
    steps = ", ".join(map(step_name, config.steps))
    source = os.path.relpath(config.source.resolve(), config.dataset.resolve())
    return About(config.description, source, audio, steps)


def to_html(report: dict[str, JsonData], head: About, previews: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        report: what `report.to_json` gives.
        head: what the dataset is.
        previews: refused file -> MP3 to hear in the page.
    """
    summary, files = report["summary"], report["files"]
    tables = FileTables(head.source)
    refused = [file for file in files if file["verdict"] == "refused" and file["audio"]]
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    sections = [
        _games(summary["games"]),
        _reasons(summary["reasons"]),
        _told(summary.get("facts", {}), summary["kept"]),
        _charts([file["measured"] for file in files if file["verdict"] == "kept"]),
        *tables.duplicates(refused),
        tables.players(refused, previews),
        tables.table(
            "Refused for other reasons" if any(map(is_duplicate, refused)) else "Refused files",
            [file for file in refused if not is_duplicate(file)],
            lambda file: file["reason"],
            "Why",
        ),
        tables.table(
            "Kept, with notes",
            [file for file in files if file["verdict"] == "kept" and file["notes"]],
            lambda file: "; ".join(file["notes"]),
            "What is unusual, and what was made of it",
        ),
        tables.table(
            "Not audio",
            [file for file in files if file["verdict"] == "refused" and not file["audio"]],
            lambda file: file["reason"],
            "What it is",
        ),
    ]
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        policy=_policy(style),
        style=style,
        headline=_headline(summary),
        facts=_facts(head, tables),
        totals=_totals(summary, files),
        sections="\n".join(section for section in sections if section),
    )


def _told(facts: dict[str, int], kept: int) -> str:
    """Of how many tracks each fact is known."""
    if not facts:
        return ""
    rows = "".join(
        f'<li><span class="name">{escaped(name.capitalize())}</span>{bar(tracks / max(kept, 1))}'
        f'<span class="values"><b>{percent(tracks / max(kept, 1))}</b> · {counted(tracks, "track")}</span></li>'
        for name, tracks in facts.items()
    )
    return (
        "<section><h2>What a network can be told</h2><p>Of how many tracks each fact is known.</p>"
        f'<ul class="bars">{rows}</ul></section>'
    )


def _policy(style: str) -> str:
    """Nothing may be loaded or run: only this page's own style sheet, and the sounds inside it."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; media-src data:; base-uri 'none'; form-action 'none'"


def _headline(summary: dict[str, JsonData]) -> str:
    games = sum(game["tracks"] > 0 for game in summary["games"])
    tracks = counted(summary["kept"], "track")
    text = f"{tracks} of {counted(games, 'game')}, {length(summary['hours'])}"
    return text if summary["kept"] else "No track was kept"


def _facts(head: About, tables: FileTables) -> str:
    source = f'<a href="{tables.address("")}">{escaped(head.source)}</a>'
    rows = {
        "Audio": escaped(head.audio),
        "Made from": source,
        "Steps": escaped(head.steps),
        "Its config says": escaped(head.description),
        "Software": escaped(f"Dual Diffusion {__version__}"),
    }
    return "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows.items() if text)


def _totals(summary: dict[str, JsonData], files: Sequence[File]) -> str:
    held_out = sum(file["split"] == "validation" for file in files)
    cards = [
        (f"{summary['kept']:,}", "tracks kept"),
        (length(summary["hours"]), "of music"),
        (f"{held_out:,}", "held out for validation"),
        (f"{summary['refused']:,}", "audio files refused"),
        (f"{summary['not_audio']:,}", "files that are not audio"),
    ]
    return "".join(f"<li><b>{value}</b>{label}</li>" for value, label in cards)


def _games(games: Sequence[dict[str, JsonData]]) -> str:
    """Hours and tracks per game, the largest first; the many small ones of a large collection open on a click."""
    ordered = sorted(games, key=lambda game: (-game["hours"], -game["tracks"], game["game"]))
    if not ordered:
        return ""
    longest = ordered[0]["hours"] or 1
    rows = []
    for game in ordered[:MOST_GAMES]:
        values = f"<b>{length(game['hours'])}</b> · {counted(game['tracks'], 'track')}"
        values = values if game["tracks"] else "nothing kept"
        if game["refused"]:
            values += f" · {game['refused']:,} refused"
        rows.append(
            f'<li><span class="name">{escaped(game["game"])}</span>{bar(game["hours"] / longest)}'
            f'<span class="values">{values}</span></li>'
        )
    shown_at_once, others = rows[:_GAMES_AT_ONCE], rows[_GAMES_AT_ONCE:]
    text = f'<ul class="bars">{"".join(shown_at_once)}</ul>'
    if others:
        number = counted(len(ordered) - _GAMES_AT_ONCE, "smaller game")
        text += f'<details><summary>{number}</summary><ul class="bars">{"".join(others)}</ul>'
        text += f"{more_rows(len(ordered) - MOST_GAMES)}</details>"
    return f"<section><h2>Games</h2><p>The largest first.</p>{text}</section>"


def _reasons(reasons: Mapping[str, int]) -> str:
    if not reasons:
        return ""
    most = max(reasons.values())
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    rows = "".join(
        f'<li><span class="name">{escaped(reason)}</span>{bar(count / most)}'
        f'<span class="values"><b>{count:,}</b></span></li>'
        for reason, count in ordered[:MOST_ROWS]
    )
    return (
        f'<section><h2>Why files were refused</h2><p>The files are listed below.</p><ul class="bars counts">{rows}</ul>'
        f"{more_rows(len(ordered) - MOST_ROWS)}</section>"
    )


def _charts(kept: Sequence[dict[str, JsonData]]) -> str:
    figures = "".join(
        histogram(title, [values[key] for values in kept if values.get(key) is not None], axis)
        for title, key, axis in (
            ("Duration", "seconds", DURATION),
            ("Bandwidth: the highest frequency in a file", "bandwidth_hz", BANDWIDTH),
            ("Loudness of the sources", "source_loudness_lufs", LOUDNESS),
            ("Loudness after conversion", "loudness_lufs", LOUDNESS),
        )
    )
    if not figures:
        return ""
    return (
        f"<section><h2>Measured</h2><p>The tracks that were kept; height is their number.</p>"
        f'<div class="charts">{figures}</div></section>'
    )
