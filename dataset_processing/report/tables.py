"""The parts of the report that list files: tables with links to them, and players of some."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from dataset_processing.report.texts import escaped, percent
from dataset_processing.step import JsonData

MOST_ROWS = 500
_ROWS_AT_ONCE = 25
_LONGEST_LINK = 2000
_SONG = re.compile(r"/#\d\d+$")  # behind the name of a file of several songs: see Record.file
_EXACT, _NEAR = "a duplicate", "nearly a duplicate"

File = dict[str, JsonData]
"""A file as `report.to_json` tells it."""


@dataclass(frozen=True)
class FileTables:
    """Tables of files that link to them. source: the source folder, relative to the page."""

    source: str

    def address(self, file: str) -> str:
        """The relative URL of a source file; empty if it is too long for a page of many."""
        url = quote(os.fsencode(os.path.join(self.source, file)), safe="/")
        return html.escape(url) if len(url) <= _LONGEST_LINK else ""

    def link(self, file: str) -> str:
        """The name of a source file as HTML, with a link to it where its address is short enough."""
        address = self.address(_SONG.sub("", file))
        return f'<a href="{address}">{escaped(file)}</a>' if address else escaped(file)

    def table(self, title: str, files: Sequence[File], text: Callable[[File], str], heading: str) -> str:
        """A section with one row per file, cut after `MOST_ROWS`."""
        rows = [f"<td>{self.link(file['file'])}</td><td>{escaped(text(file))}</td>" for file in files[:MOST_ROWS]]
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
                + f'<td class="number" data-label="similarity">{percent(file["measured"].get("similarity"))}</td>'
                for file in near[:MOST_ROWS]
            ]
            title, headings = f"Near duplicates ({len(near):,})", ("Refused", "Sounds like", "Similarity")
            sections.append(_section(title, headings, rows, len(near)))
        return sections

    def _copy(self, file: File, label: str) -> str:
        original = file["measured"].get("duplicate_of")
        other = self.link(original) if original else escaped(file["reason"])
        return f'<td>{self.link(file["file"])}</td><td data-label="{label}">{other}</td>'

    def players(self, refused: Sequence[File], previews: Mapping[str, bytes]) -> str:
        """Cards with the beginning of some refused files, to hear whether the refusal is right."""
        chosen = {file["file"]: file for file in refused if file["file"] in previews}
        cards = "".join(
            f'<div class="card"><span class="name">{self.link(name)}</span><p>{escaped(chosen[name]["reason"])}</p>'
            f'<audio controls preload="none" src="data:audio/mpeg;base64,{base64.b64encode(data).decode()}" '
            f'aria-label="The beginning of {escaped(name)}"></audio></div>'
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


def is_duplicate(file: File) -> bool:
    """Whether a file was refused as a copy of another one, exact or near."""
    return file["reason"].startswith((_EXACT, _NEAR))


def more_rows(count: int) -> str:
    """Says that `count` rows more are in the report as data; empty where there are none."""
    return f'<p class="more">and {count:,} more: see report.json</p>' if count > 0 else ""


def _section(title: str, headings: Sequence[str], rows: Sequence[str], count: int) -> str:
    """A titled table; of a long one the beginning stands open. `count` is how many rows there are in truth."""
    number = ' class="number"'
    head = "".join(f"<th{number if name == 'Similarity' else ''}>{name}</th>" for name in headings)

    def table(part: Sequence[str]) -> str:
        body = "".join(f"<tr>{row}</tr>" for row in part)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    text, others = table(rows[:_ROWS_AT_ONCE]), rows[_ROWS_AT_ONCE:]
    if others:
        more = table(others) + more_rows(count - MOST_ROWS)
        text += f"<details><summary>{count - _ROWS_AT_ONCE:,} more</summary>{more}</details>"
    return f"<section><h2>{title}</h2>{text}</section>"
