"""How far a stage is, from what its command writes: the progress file of a dataset run, the log of a training."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path
from typing import Any

from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json

LAST_BYTES = 8192  # of a log
COMMAND_MARK = "\n$ "  # before each command in a log
# What a training says every 15 s where there is no terminal; see train/reports/progress_line.py.
LINE = re.compile(r"^train \w+: (\d+)/(\d+) samples  (?:loss (\S+)  )?(\S+) samples/s  .*?(\d+) s left$", re.MULTILINE)


def of_dataset(path: Path, now: float | None = None) -> dict[str, Any]:
    """How far a dataset run is.

    Args:
        path: its progress file; see dataset_processing/run/progress_file.py.
        now: seconds since 1970.

    Returns:
        {"fraction" of the whole, "text", "left" in seconds for the step at work, "steps": [{"name", "status", "done",
        "total"}]}; what is not known is None.
    """
    try:
        told = read_json(path)
        steps, step = list(told["steps"]), str(told["step"])
        done, total, started = int(told["done"]), int(told["total"]), float(told["started"])
    except (UserError, KeyError, TypeError, ValueError):
        return {"fraction": None, "text": "looking at the files", "left": None, "steps": []}
    place = steps.index(step) if step in steps else -1
    shown = [
        {
            "name": name,
            "status": "done" if number < place or (number == place and done == total) else "waiting",
            "done": done if number == place else None,
            "total": total if number == place else None,
        }
        for number, name in enumerate(steps)
    ]
    if place < 0:
        return {"fraction": 0.0, "text": "looking at the files", "left": None, "steps": shown}
    if done < total:
        shown[place]["status"] = "running"
    share = done / total if total else 1.0
    spent = max((time.time() if now is None else now) - started, 0.0)
    left = spent / done * (total - done) if done else None
    return {
        "fraction": (place + share) / len(steps),
        "text": f"{step} {done} of {total}",
        "left": left,
        "steps": shown,
    }


def of_training(log: Path, run_path: Path, samples: int | None) -> dict[str, Any]:
    """How far a training is.

    Args:
        log: what it has printed.
        run_path: its run folder.
        samples: the last that metrics.csv tells; None where it tells none.

    Returns:
        {"fraction", "text", "left" in seconds, "samples", "total"}; what is not known is None.
    """
    total = total_samples(run_path)
    # Of the last command alone: one before may have been killed at more samples than this one has seen.
    lines = LINE.findall(tail(log).rpartition(COMMAND_MARK)[2])
    said = lines[-1] if lines else None
    seen = max([samples or 0, *([int(said[0])] if said else [])])
    left = None
    if said and float(said[3]) > 0:
        total = int(said[1])
        left = max(total - seen, 0) / float(said[3])
    return {
        "fraction": seen / total if total else None,
        "text": f"{seen} of {total} samples" if total and seen else "starting",
        "left": left,
        "samples": seen,
        "total": total,
    }


def total_samples(run_path: Path) -> int | None:
    """How many samples a training is to see, as its resolved config says."""
    with contextlib.suppress(UserError, KeyError, TypeError, ValueError):
        return int(read_json(run_path / "config.json")["total_samples"])
    return None


def tail(path: Path, count: int = LAST_BYTES) -> str:
    """The end of a text file; empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - count))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def report_of(dataset: Path) -> dict[str, Any] | None:
    """The summary of a dataset's report, with the refused files; None where there is no report yet."""
    try:
        report = json.loads((dataset / "report.json").read_text(encoding="utf-8"))
        refused = [file for file in report["files"] if file["verdict"] == "refused" and file["audio"]]
        return {
            **report["summary"],
            "refused_files": [{"file": file["file"], "reason": file["reason"]} for file in refused[:200]],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
