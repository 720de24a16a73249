"""A page that shows the clips of a grid side by side: one file with pictures inside, and links to the audio beside it.

No scripts and nothing from elsewhere. It is written anew, atomically, whenever a clip is ready.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from pydantic import JsonValue
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.files import write_text
from sampling.command.grid import Axis, Cell
from sampling.output.clips import spectrogram_image

PICTURE_SIZE = (360, 112)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self' file:"
_STYLE = """
:root { color-scheme: light dark; --page: #f6f6f8; --card: #fff; --text: #1b1b24; --soft: #5a5a6b; --line: #d6d6de;
  --accent: #7a2a86; }
@media (prefers-color-scheme: dark) { :root { --page: #14141a; --card: #1e1e27; --text: #ececf2; --soft: #a4a4b6;
  --line: #34343f; --accent: #f0a060; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem; max-width: 110rem; background: var(--page); color: var(--text);
  font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.state { margin: 0 0 1rem; color: var(--soft); }
dl { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 0 0 1.25rem; font-size: .875rem; }
dl div { display: flex; gap: .4rem; } dt { color: var(--soft); } dd { margin: 0; }
.scroll { overflow-x: auto; } .scroll:focus-visible, a:focus-visible { outline: 2px solid var(--accent); }
table { border-spacing: .5rem; margin: 0 -.5rem; }
th { font-weight: 600; text-align: left; vertical-align: top; padding: .25rem; }
tbody th { position: sticky; left: 0; z-index: 1; background: var(--page); min-width: 6rem; max-width: 12rem; }
td { vertical-align: top; padding: .6rem; min-width: 15.5rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
thead td { border: 0; background: none; }
figure { margin: 0; display: grid; gap: .4rem; } figcaption { font-weight: 600; font-size: .9rem; }
img { display: block; width: 100%; height: 7rem; border-radius: .25rem; background: #080814; }
audio { display: block; width: 100%; height: 2.5rem; }
.level, .waiting { margin: 0; font-size: .8125rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.waiting { display: grid; place-items: center; height: 7rem; border: 1px dashed var(--line); border-radius: .25rem; }
a { color: var(--accent); }
table.flow, .flow tbody { display: block; margin: 0; }
.flow thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
.flow tbody tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: .75rem; }
.flow td { min-width: 0; }
@media (max-width: 40rem) {
  body { padding: .75rem; }
  table, tbody, tr, tbody th, td { display: block; min-width: 0; max-width: none; margin: 0; }
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  tbody th { position: static; padding: .75rem 0 .4rem; } td { margin-bottom: .75rem; }
  .flow tbody tr { display: block; }
}
"""


class ContactSheet:
    """The page of some clips.

    Args:
        folder: of the clips; the page's name in it says what varies, so that an equal grid finds it again.
        axes: what varies; the last is the columns, the one before the rows, others make a table for each combination.
        cells: all combinations, the last axis varying fastest.
        made_by: text that differs for other models and output settings.
    """

    def __init__(self, folder: Path, axes: Sequence[Axis], cells: Sequence[Cell], made_by: str) -> None:
        self.axes, self.cells = list(axes), list(cells)
        self.path = folder / f"{_name(axes, cells, made_by)}.html"
        self._html: dict[tuple[str, ...], str] = {}

    def begin(self, clips: Sequence[Path | None]) -> None:
        """Writes the page with the clips, in the order of the cells, that are there already."""
        for cell, clip in zip(self.cells, clips, strict=True):
            if clip:
                self._html[cell.labels] = self._clip(cell, clip)
        self._write()

    def add(self, cell: Cell, clip: Path) -> None:
        """Writes the page with one more clip."""
        self._html[cell.labels] = self._clip(cell, clip)
        self._write()

    def _write(self) -> None:
        write_text(self.path, _page(self._title(), self._body()))

    def _title(self) -> str:
        keys = [axis.key for axis in self.axes]
        varied = " and ".join(filter(None, [", ".join(keys[:-1]), *keys[-1:]])) or "one clip"
        return f"Contact sheet: {varied}"

    def _body(self) -> str:
        ready, total = len(self._html), len(self.cells)
        state = f"{total} clips" if ready == total else f"{ready} of {total} clips are ready; reload for more"
        common = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(text)}</dd></div>" for key, text in self._common())
        *outer, rows, columns = [None, None, *self.axes]
        outer = [axis for axis in outer if axis]
        tables = []
        for values in itertools.product(*(_labels(axis) for axis in outer)):
            heading = ", ".join(f"{axis.key} {value}" for axis, value in zip(outer, values, strict=True))
            title = f"<h2>{escape(heading)}</h2>" if heading else ""
            tables.append(title + self._table(values, rows, columns, heading))
        return (
            f"<header><h1>{escape(self._title())}</h1><p class=state>{state}</p></header>"
            f"<main><dl aria-label='What all clips share'>{common}</dl>{''.join(tables)}</main>"
        )

    def _common(self) -> list[tuple[str, str]]:
        """The settings of the request that all clips share, but for those that are not set."""
        first, *others = [cell.request.to_json() for cell in self.cells]
        shared = [key for key in first if all(other[key] == first[key] for other in others)]
        return [(key, _setting(first[key])) for key in shared if first[key] not in (None, [], {})]

    def _table(self, outer: tuple[str, ...], rows: Axis | None, columns: Axis | None, name: str) -> str:
        row_labels, column_labels = _labels(rows), _labels(columns)
        head = "".join(f"<th scope=col role=columnheader>{_pair(columns, label)}</th>" for label in column_labels)
        corner = "<td role=cell></td>" if rows else ""
        lines = []
        for row in row_labels:
            side = f"<th scope=row role=rowheader>{_pair(rows, row)}</th>" if rows else ""
            keys = ((*outer, *([row] if rows else []), *([column] if columns else [])) for column in column_labels)
            boxes = "".join(f"<td role=cell>{self._html.get(key) or self._waiting(key)}</td>" for key in keys)
            lines.append(f"<tr role=row>{side}{boxes}</tr>")
        label = escape(name or self._title(), quote=True)
        return (
            f'<div class=scroll role=region tabindex=0 aria-label="{label}">'
            f"<table role=table{'' if rows else ' class=flow'}><thead role=rowgroup><tr role=row>"
            f"{corner}{head}</tr></thead><tbody role=rowgroup>{''.join(lines)}</tbody></table></div>"
        )

    def _differs(self, labels: tuple[str, ...]) -> str:
        return ", ".join(f"{axis.key} {label}" for axis, label in zip(self.axes, labels, strict=True))

    def _waiting(self, labels: tuple[str, ...]) -> str:
        caption = escape(self._differs(labels))
        return f"<figure><figcaption>{caption}</figcaption><p class=waiting>not made yet</p></figure>"

    def _clip(self, cell: Cell, path: Path) -> str:
        """One clip as it is on the disk: its picture, a player, and its level."""
        samples, sample_rate = audio.read(path)
        buffer = io.BytesIO()
        picture = spectrogram_image(samples, sample_rate)
        picture.resize(PICTURE_SIZE).save(buffer, "WEBP", quality=70)
        data = base64.b64encode(buffer.getvalue()).decode()
        what = self._differs(cell.labels) or path.stem
        caption, link = escape(what, quote=True), escape(quote(path.name), quote=True)
        return (
            f"<figure><figcaption>{caption}</figcaption>"
            f'<img src="data:image/webp;base64,{data}" width={PICTURE_SIZE[0]} height={PICTURE_SIZE[1]} '
            f'alt="Spectrogram of the clip with {caption}">'
            f'<audio controls preload=none src="{link}" aria-label="{caption}"></audio>'
            f"<p class=level>{_level(samples, sample_rate)}<br>"
            f'<a href="{link}">{escape(path.name)}</a></p></figure>'
        )


def _level(samples: Tensor, sample_rate: int) -> str:
    lufs = audio.loudness_lufs(samples, sample_rate)
    if not math.isfinite(lufs):
        return "silent"
    peak = 20 * math.log10(max(audio.true_peak(samples, sample_rate), 1e-9))
    return f"{lufs:.1f} LUFS, {peak:.1f} dBTP, {samples.shape[-1] / sample_rate:.1f} s".replace("-", "\u2212")


def _labels(axis: Axis | None) -> list[str]:
    return [axis.label(index) for index in range(len(axis.values))] if axis else [""]


def _pair(axis: Axis | None, label: str) -> str:
    return f"{escape(axis.key)} {escape(label)}" if axis else "clip"


def _setting(value: JsonValue) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_setting(item)}" for name, item in value.items())
    return f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def _name(axes: Sequence[Axis], cells: Sequence[Cell], made_by: str) -> str:
    """A file name that tells this grid from others of the same axes."""
    keys = re.sub(r"[^\w.+-]+", "_", "+".join(axis.key for axis in axes))[:80] or "clips"
    text = json.dumps([made_by, *(cell.request.to_json() for cell in cells)], sort_keys=True)
    return f"sheet-{keys}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
