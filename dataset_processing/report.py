"""The report: what became of every file, as JSON and as one page that needs nothing else."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from dataset_processing.names import readable
from dataset_processing.step import Record
from dualdiffusion.errors import one_line

_NUMBER = re.compile(r"\b-?\d+(\.\d+)?\b")


def to_json(records: Sequence[Record]) -> dict[str, Any]:
    """`{"files": [...], "summary": {...}}`: every file with its verdict, and the totals."""
    files = [
        {
            "file": record.file,
            "game": record.game,
            "verdict": record.verdict,
            "reason": record.reason,
            "audio": record.audio,
            "notes": list(record.notes),
            "output": record.fields.get("file_name") if record.kept else None,
            "split": record.fields.get("split") if record.kept else None,
            "measured": {
                **record.measured,
                **{key: record.fields[key] for key in ("loudness_lufs", "peak") if key in record.fields},
            },
        }
        for record in sorted(records, key=lambda record: record.file)
    ]
    return {"files": files, "summary": _summary(records)}


def _summary(records: Sequence[Record]) -> dict[str, Any]:
    kept = [record for record in records if record.kept]
    refused = [record for record in records if not record.kept and record.audio]
    reasons = Counter(reason_class(record.reason) for record in refused)
    return {
        "files": len(records),
        "kept": len(kept),
        "refused": len(refused),
        "not_audio": len(records) - len(kept) - len(refused),
        "hours": round(sum(record.measured.get("seconds", 0) for record in kept) / 3600, 4),
        "games": [
            {"game": game, "tracks": tracks, "hours": round(hours, 4), "refused": turned_away}
            for game, tracks, hours, turned_away in games_of(records)
        ],
        "reasons": dict(reasons.most_common()),
    }


def games_of(records: Iterable[Record]) -> list[tuple[str, int, float, int]]:
    """(Game, kept tracks, their hours, refused tracks), by name; files that are not audio do not count."""
    table: dict[str, list[float]] = {}
    for record in records:
        if not record.audio or not record.game:
            continue
        row = table.setdefault(record.game, [0, 0.0, 0])
        if record.kept:
            row[0] += 1
            row[1] += record.measured.get("seconds", 0) / 3600
        else:
            row[2] += 1
    return [(game, int(row[0]), row[1], int(row[2])) for game, row in sorted(table.items())]


def reason_class(reason: str) -> str:
    """A reason without what differs from file to file, for counting."""
    return _NUMBER.sub("#", reason.split(":")[0])


def shown(text: str) -> str:
    """A name from the disk as one line of valid text."""
    return one_line(readable(text))


def to_html(report: dict[str, Any], description: str) -> str:
    """The report as one self-contained page without scripts; every name is escaped."""
    summary, files = report["summary"], report["files"]
    kept = [file["measured"] for file in files if file["verdict"] == "kept"]
    charts = "".join(
        histogram(title, [m[key] for m in kept if m.get(key) is not None], unit)
        for title, key, unit in (
            ("Duration", "seconds", "s"),
            ("Loudness of the sources", "source_loudness_lufs", "LUFS"),
            ("Bandwidth", "bandwidth_hz", "Hz"),
            ("Silence", "silence_share", ""),
        )
    )
    longest = max((game["hours"] for game in summary["games"]), default=0) or 1
    games = "".join(
        f"<tr><td>{_escaped(game['game'])}</td><td class=n>{game['tracks']}</td><td class=n>{game['hours']:.2f}</td>"
        f"<td><span class=bar style='width:{12 * game['hours'] / longest:.2f}em'></span></td>"
        f"<td class=n>{game['refused']}</td></tr>"
        for game in summary["games"]
    )
    reasons = "".join(
        f"<tr><td class=n>{count}</td><td>{_escaped(reason)}</td></tr>" for reason, count in summary["reasons"].items()
    )
    refused = [file for file in files if file["verdict"] == "refused" and file["audio"]]
    noted = [file for file in files if file["verdict"] == "kept" and file["notes"]]
    others = [file for file in files if file["verdict"] == "refused" and not file["audio"]]
    return _PAGE.format(
        description=_escaped(description),
        kept=summary["kept"],
        refused=summary["refused"],
        not_audio=summary["not_audio"],
        hours=f"{summary['hours']:.2f}",
        games=games,
        reasons=reasons,
        charts=charts,
        refused_files=_file_rows(refused, lambda file: file["reason"]),
        noted_files=_file_rows(noted, lambda file: "; ".join(file["notes"])),
        other_files=_file_rows(others, lambda file: file["reason"]),
    )


def _file_rows(files: list[dict[str, Any]], text: Any) -> str:
    return "".join(f"<tr><td>{_escaped(file['file'])}</td><td>{_escaped(text(file))}</td></tr>" for file in files)


def _escaped(text: str) -> str:
    return html.escape(shown(text))


def histogram(title: str, values: Sequence[float], unit: str, *, bins: int = 24) -> str:
    """An inline SVG histogram with its lowest, middle and highest value; empty text without values."""
    if not values:
        return ""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1
    counts = Counter(min(int((value - low) / width), bins - 1) for value in values)
    tallest = max(counts.values())
    bars = "".join(
        f"<rect x='{10 * index}' y='{80 - 80 * count / tallest:.1f}' width='9' height='{80 * count / tallest:.1f}'>"
        f"<title>{_short(low + index * width)} to {_short(low + (index + 1) * width)} {unit}: {count}</title></rect>"
        for index, count in sorted(counts.items())
    )
    middle = sorted(values)[len(values) // 2]
    label = f"{_short(low)} to {_short(high)} {unit}".rstrip() + f", middle {_short(middle)}"
    return (
        f"<figure><figcaption>{html.escape(title)}</figcaption><svg viewBox='0 0 {10 * bins} 80' role='img' "
        f"aria-label='{html.escape(title)}: {label}'>{bars}</svg><small>{label}</small></figure>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Dataset report</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; --accent: #3a7bd5; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; }}
h1 {{ font-size: 1.5em; }} h2 {{ font-size: 1.15em; margin-top: 2em; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .15em .8em .15em 0; text-align: left; vertical-align: top; }}
td {{ border-top: 1px solid #8883; overflow-wrap: anywhere; }} .n {{ text-align: right; white-space: nowrap; }}
.totals {{ display: flex; gap: 2.5em; flex-wrap: wrap; }} .totals b {{ display: block; font-size: 2em; }}
.bar {{ display: inline-block; height: .8em; background: var(--accent); border-radius: 2px; }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(15em, 1fr)); gap: 1.5em; }}
figure {{ margin: 0; }} figcaption {{ font-weight: 600; }} svg {{ width: 100%; height: 6em; fill: var(--accent); }}
</style></head><body>
<h1>Dataset report</h1><p>{description}</p>
<div class="totals"><div><b>{kept}</b>tracks kept</div><div><b>{hours}</b>hours</div>
<div><b>{refused}</b>refused</div><div><b>{not_audio}</b>files that are not audio</div></div>
<h2>Games</h2><table><tr><th>Game</th><th>Tracks</th><th>Hours</th><th></th><th>Refused</th></tr>{games}</table>
<h2>Reasons for refusal</h2><table>{reasons}</table>
<h2>Measured</h2><div class="charts">{charts}</div>
<h2>Refused</h2><table>{refused_files}</table>
<h2>Kept, with notes</h2><table>{noted_files}</table>
<h2>Not audio</h2><table>{other_files}</table>
</body></html>
"""


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
