"""The report as one page that needs nothing else: no scripts, no other files, sounds to hear inside it."""

from __future__ import annotations

import base64
import hashlib
import html
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from dataset_processing.report.charts import BANDWIDTH, DURATION, LOUDNESS, bar, decimal, histogram
from dataset_processing.report.report import shown
from dualdiffusion import __version__
from dualdiffusion.component import type_name

_HERE = Path(__file__).parent
MOST_ROWS = 500
MOST_GAMES = 2000
_GAMES_AT_ONCE = 40
_ROWS_AT_ONCE = 25
_LONGEST_TEXT = 300
_NO_BREAK = "\u00a0"
_LONGEST_LINK = 2000
_EXACT, _NEAR = "a duplicate", "nearly a duplicate"

File = dict[str, Any]


@dataclass(frozen=True)
class About:
    """What stands in the head of the page. source: the source folder as seen from the page, as os.fsdecode gives it."""

    description: str
    source: str
    audio: str
    steps: str


def about(config: Any) -> About:
    """The head of the page from a RunConfig. No absolute path and no time: equal input must give equal bytes."""
    settings = next((part.config for part in config.steps if hasattr(part.config, "loudness_lufs")), None)
    audio = ""
    if settings is not None:
        channels = {1: "mono", 2: "stereo"}[settings.channels]
        wanted = settings.loudness_lufs
        level = "loudness left as it is" if wanted is None else f"{decimal(wanted)} LUFS"
        ceiling = f"true peaks up to {decimal(settings.ceiling_dbfs)} dBFS"
        audio = f"{decimal(settings.sample_rate / 1000)} kHz, {channels}, FLAC {settings.bits} bit, {level}, {ceiling}"
    steps = ", ".join(type_name(part.cls).partition(".")[0] for part in config.steps)
    source = os.path.relpath(config.source.resolve(), config.dataset.resolve())
    return About(config.description, source, audio, steps)


def to_html(report: dict[str, Any], head: About, previews: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        report: what `report.to_json` gives.
        head: what the dataset is.
        previews: refused file -> MP3 to hear in the page.
    """
    summary, files = report["summary"], report["files"]
    page = _Page(head.source)
    refused = [file for file in files if file["verdict"] == "refused" and file["audio"]]
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    sections = [
        _games(summary["games"]),
        _reasons(summary["reasons"]),
        _charts([file["measured"] for file in files if file["verdict"] == "kept"]),
        *page.duplicates(refused),
        page.players(refused, previews),
        page.table(
            "Refused for other reasons" if any(map(_is_duplicate, refused)) else "Refused files",
            [file for file in refused if not _is_duplicate(file)],
            lambda file: file["reason"],
            "Why",
        ),
        page.table(
            "Kept, with notes",
            [file for file in files if file["verdict"] == "kept" and file["notes"]],
            lambda file: "; ".join(file["notes"]),
            "What is unusual, and what was made of it",
        ),
        page.table(
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
        facts=_facts(head, page),
        totals=_totals(summary, files),
        sections="\n".join(section for section in sections if section),
    )


def _policy(style: str) -> str:
    """Nothing may be loaded or run: only this page's own style sheet, and the sounds inside it."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; media-src data:; base-uri 'none'; form-action 'none'"


def _headline(summary: dict[str, Any]) -> str:
    games = sum(game["tracks"] > 0 for game in summary["games"])
    tracks = _count(summary["kept"], "track")
    text = f"{tracks} of {_count(games, 'game')}, {length(summary['hours'])}"
    return text if summary["kept"] else "No track was kept"


def _facts(head: About, page: _Page) -> str:
    source = f'<a href="{page.address("")}">{_escaped(head.source)}</a>'
    rows = {
        "Audio": _escaped(head.audio),
        "Made from": source,
        "Steps": _escaped(head.steps),
        "Its config says": _escaped(head.description),
        "Software": _escaped(f"Dual Diffusion {__version__}"),
    }
    return "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows.items() if text)


def _totals(summary: dict[str, Any], files: Sequence[File]) -> str:
    held_out = sum(file["split"] == "validation" for file in files)
    cards = [
        (f"{summary['kept']:,}", "tracks kept"),
        (length(summary["hours"]), "of music"),
        (f"{held_out:,}", "held out for validation"),
        (f"{summary['refused']:,}", "audio files refused"),
        (f"{summary['not_audio']:,}", "files that are not audio"),
    ]
    return "".join(f"<li><b>{value}</b>{label}</li>" for value, label in cards)


def _games(games: Sequence[dict[str, Any]]) -> str:
    """Hours and tracks per game, the largest first; the many small ones of a large collection open on a click."""
    ordered = sorted(games, key=lambda game: (-game["hours"], -game["tracks"], game["game"]))
    if not ordered:
        return ""
    longest = ordered[0]["hours"] or 1
    rows = []
    for game in ordered[:MOST_GAMES]:
        values = f"<b>{length(game['hours'])}</b> · {_count(game['tracks'], 'track')}"
        values = values if game["tracks"] else "nothing kept"
        if game["refused"]:
            values += f" · {game['refused']:,} refused"
        rows.append(
            f'<li><span class="name">{_escaped(game["game"])}</span>{bar(game["hours"] / longest)}'
            f'<span class="values">{values}</span></li>'
        )
    shown_at_once, others = rows[:_GAMES_AT_ONCE], rows[_GAMES_AT_ONCE:]
    text = f'<ul class="bars">{"".join(shown_at_once)}</ul>'
    if others:
        number = _count(len(ordered) - _GAMES_AT_ONCE, "smaller game")
        text += f'<details><summary>{number}</summary><ul class="bars">{"".join(others)}</ul>'
        text += f"{_more(len(ordered) - MOST_GAMES)}</details>"
    return f"<section><h2>Games</h2><p>The largest first.</p>{text}</section>"


def _reasons(reasons: Mapping[str, int]) -> str:
    if not reasons:
        return ""
    most = max(reasons.values())
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    rows = "".join(
        f'<li><span class="name">{_escaped(reason)}</span>{bar(count / most)}'
        f'<span class="values"><b>{count:,}</b></span></li>'
        for reason, count in ordered[:MOST_ROWS]
    )
    return (
        f'<section><h2>Why files were refused</h2><p>The files are listed below.</p><ul class="bars counts">{rows}</ul>'
        f"{_more(len(ordered) - MOST_ROWS)}</section>"
    )


def _charts(kept: Sequence[dict[str, Any]]) -> str:
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


@dataclass(frozen=True)
class _Page:
    """The parts that link to files. source: the source folder, relative to the page."""

    source: str

    def address(self, file: str) -> str:
        """The relative URL of a source file; empty if it is too long for a page of many."""
        url = quote(os.fsencode(os.path.join(self.source, file)), safe="/")
        return html.escape(url) if len(url) <= _LONGEST_LINK else ""

    def link(self, file: str) -> str:
        address = self.address(file)
        return f'<a href="{address}">{_escaped(file)}</a>' if address else _escaped(file)

    def table(self, title: str, files: Sequence[File], text: Callable[[File], str], heading: str) -> str:
        """A section with one row per file, cut after `MOST_ROWS`."""
        rows = [f"<td>{self.link(file['file'])}</td><td>{_escaped(text(file))}</td>" for file in files[:MOST_ROWS]]
        return _section(f"{title} ({len(files):,})", ("File", heading), rows, len(files)) if files else ""

    def duplicates(self, refused: Sequence[File]) -> list[str]:
        """One table of files whose samples are the same, and one of those that only sound the same."""
        exact = [file for file in refused if file["reason"].startswith(_EXACT)]
        near = [file for file in refused if file["reason"].startswith(_NEAR)]
        sections = []
        if exact:
            rows = [self._copy(file, "the same as ") for file in exact[:MOST_ROWS]]
            title = f"Exact duplicates ({len(exact):,})"
            sections.append(_section(title, ("Refused", "The same samples as"), rows, len(exact)))
        if near:
            rows = [
                self._copy(file, "nearly the same as ")
                + f'<td class="number" data-label="similarity">{_percent(file["measured"].get("similarity"))}</td>'
                for file in near[:MOST_ROWS]
            ]
            title, headings = f"Near duplicates ({len(near):,})", ("Refused", "Sounds like", "Similarity")
            sections.append(_section(title, headings, rows, len(near)))
        return sections

    def _copy(self, file: File, label: str) -> str:
        original = file["measured"].get("duplicate_of")
        other = self.link(original) if original else _escaped(file["reason"])
        return f'<td>{self.link(file["file"])}</td><td data-label="{label}">{other}</td>'

    def players(self, refused: Sequence[File], previews: Mapping[str, bytes]) -> str:
        """Cards with the beginning of some refused files, to hear whether the refusal is right."""
        chosen = {file["file"]: file for file in refused if file["file"] in previews}
        cards = "".join(
            f'<div class="card"><span class="name">{self.link(name)}</span><p>{_escaped(chosen[name]["reason"])}</p>'
            f'<audio controls preload="none" src="data:audio/mpeg;base64,{base64.b64encode(data).decode()}" '
            f'aria-label="The beginning of {_escaped(name)}"></audio></div>'
            for name, data in previews.items()
            if name in chosen
        )
        if not cards:
            return ""
        return (
            "<section><h2>Hear what was refused</h2><p>The first seconds of some files, one of every reason first; "
            "made mono, and brought to one level unless they are as good as silent.</p>"
            f'<div class="players">{cards}</div></section>'
        )


def _is_duplicate(file: File) -> bool:
    return file["reason"].startswith((_EXACT, _NEAR))


def _section(title: str, headings: Sequence[str], rows: Sequence[str], count: int) -> str:
    """A titled table; of a long one the beginning stands open. `count` is how many rows there are in truth."""
    number = ' class="number"'
    head = "".join(f"<th{number if name == 'Similarity' else ''}>{name}</th>" for name in headings)

    def table(part: Sequence[str]) -> str:
        body = "".join(f"<tr>{row}</tr>" for row in part)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    text, others = table(rows[:_ROWS_AT_ONCE]), rows[_ROWS_AT_ONCE:]
    if others:
        more = table(others) + _more(count - MOST_ROWS)
        text += f"<details><summary>{count - _ROWS_AT_ONCE:,} more</summary>{more}</details>"
    return f"<section><h2>{title}</h2>{text}</section>"


def _more(count: int) -> str:
    return f'<p class="more">and {count:,} more: see report.json</p>' if count > 0 else ""


def _escaped(text: str) -> str:
    text = shown(text)
    if len(text) > _LONGEST_TEXT:
        text = f"{text[: _LONGEST_TEXT // 2]} … {text[-_LONGEST_TEXT // 2 :]}"
    return html.escape(text)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _percent(share: float | None) -> str:
    """A share from 0 to 1; "100 %" only where it is all of it."""
    if share is None:
        return ""
    return "100 %" if share >= 1 else f"{min(100 * share, 99.9):.1f} %"


def length(hours: float) -> str:
    """An amount of music in the unit that suits it: 45 s, 12 min, 1 h 52 min, 1,204 h."""
    seconds = round(hours * 3600)
    if seconds < 60:
        return f"{seconds}{_NO_BREAK}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}{_NO_BREAK}min"
    if minutes >= 6000:
        return f"{round(hours):,}{_NO_BREAK}h"
    return f"{minutes // 60} h {minutes % 60} min".replace(" ", _NO_BREAK)
