"""The report: what became of every file, as JSON data. `page` shows the same as a page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from dataset_processing.run.names import readable
from dataset_processing.step import JsonData, Record
from dualdiffusion.errors import one_line

_NUMBER = re.compile(r"\b-?\d+(\.\d+)?\b")
_QUOTED = re.compile(r"'[^']*'")


def to_json(records: Sequence[Record]) -> dict[str, JsonData]:
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
    return {"files": files, "summary": summary_of(records)}


def summary_of(records: Sequence[Record]) -> dict[str, JsonData]:
    """The totals of a report: counts of files, hours, games, facts, and refused audio files by reason."""
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
        **_facts(kept),
    }


def _facts(kept: Sequence[Record]) -> dict[str, JsonData]:
    """Of each fact, of how many tracks it is known; nothing where no track was described."""
    described = [record.fields["facts"] for record in kept if "facts" in record.fields]
    if not described:
        return {}
    known = Counter(name for facts in described for name in facts)
    return {"facts": {name: known[name] for name in sorted(known)}}


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
    """A reason without what differs from file to file (numbers and names become "…"), for counting."""
    return _NUMBER.sub("…", _QUOTED.sub("…", reason.split(":")[0]))


def is_fault_of_ours(reason: str) -> bool:
    """Whether a file was refused because a program failed on it, which is worth a look and a bug report."""
    return reason.startswith("internal error") or "crashed" in reason or reason.endswith("given up")


def shown(text: str) -> str:
    """A name from the disk as one line of valid text."""
    return one_line(readable(text).encode("utf-8", "replace").decode())
