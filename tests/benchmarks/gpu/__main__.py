"""All that a GPU is to be asked, in one command of at most nine minutes, in order of worth.

    python -m tests.benchmarks.gpu --out FOLDER [--only PART ...]

Each part is a process with a time limit of its own, and keeps each figure as soon as it has it: a part that hangs,
crashes or takes too long costs nothing but itself. Writes FOLDER/gpu.json and FOLDER/RESULTS.md anew after each part.
Without a GPU it tries itself: the same code on a CPU with tiny sizes, whose figures mean nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.component import list_files
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json, write_text
from tests.benchmarks.gpu.context import Context

ROOT = Path(__file__).resolve().parents[3]
PARTS = "tests.benchmarks.gpu.parts"
LAST_WORDS = 2000  # characters of a failed part's output that are kept
AT_LEAST = "at least"


def parts() -> dict[str, ModuleType]:
    """The parts by name, in the order in which they run."""
    found = {name: importlib.import_module(f"{PARTS}.{name}") for name in list_files(PARTS)}
    return dict(sorted(found.items(), key=lambda item: item[1].ORDER))


def run_part(name: str, limit: float, out: Path) -> dict[str, Any]:
    """A part in a process of its own; its figures, how it ended, and how long it took.

    Args:
        limit: seconds after which it, and all that it has started, is killed.
    """
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    report, log = folder / "figures.json", folder / "log.txt"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--out", str(out), "--part", name]
    started = time.perf_counter()
    with open(log, "w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(limit)
            ended = "whole" if code == 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            ended = f"stopped after {limit:g} s"
        finally:
            _kill_group(process)
    result = {"ended": ended, "seconds": time.perf_counter() - started}
    if report.exists():
        result["figures"] = json.loads(report.read_text())
    if ended != "whole":
        result["last_words"] = log.read_text(errors="replace")[-LAST_WORDS:]
    return result


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a part with everything that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def measure_part(name: str, out: Path) -> int:
    """What the process of a part does."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = out / name / "files"
    folder.mkdir(parents=True, exist_ok=True)
    parts()[name].measure(Context(device, folder, out / name / "figures.json"))
    return 0


def verdict(value: Any, way: str, goal: float | None) -> str:
    """A goal, and whether it was reached."""
    if goal is None:
        return ""
    if not isinstance(value, int | float):
        return f"{way} {goal:g}: not measured"
    reached = value >= goal if way == AT_LEAST else value <= goal
    return f"{way} {goal:g}: {'reached' if reached else 'missed'}"


def to_markdown(results: dict[str, Any]) -> str:
    """The results as a section for RESULTS.md."""
    figures = results.get("environment", {}).get("figures", {})
    lines = [f"## On a GPU: {figures.get('device', 'unknown device')}, torch {figures.get('torch', '?')}", ""]
    lines += ["`python -m tests.benchmarks.gpu --out FOLDER`", "", "| figure | measured | goal |", "|---|---|---|"]
    for name, part in parts().items():
        found = results.get(name, {}).get("figures", {})
        for key, (text, way, goal) in part.GOALS.items():
            value = found.get(key)
            shown = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
            lines.append(f"| {text} | {shown} | {verdict(value, way, goal)} |")
    unfinished = {name: result["ended"] for name, result in results.items() if result["ended"] != "whole"}
    lines += ["", *(f"{name}: {ended}." for name, ended in unfinished.items())]
    return "\n".join(lines).rstrip() + "\n"


def run_all(names: list[str], out: Path) -> dict[str, Any]:
    """Runs parts one after the other; files are written after each."""
    results: dict[str, Any] = {}
    for name in names:
        limit = parts()[name].LIMIT
        print(f"{name}: at most {limit} s", flush=True)
        results[name] = run_part(name, limit, out)
        print(f"{name}: {results[name]['ended']}, {results[name]['seconds']:.0f} s", flush=True)
        write_json(out / "gpu.json", results)
        write_text(out / "RESULTS.md", to_markdown(results))
    return results


def main() -> int:
    """Runs all parts, or some; 1 where one of them did not end as it should."""
    parser = CommandParser(prog="python -m tests.benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.json, RESULTS.md and the parts' logs")
    parser.add_argument("--only", nargs="+", metavar="PART", help=f"of {', '.join(parts())}")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    out = options.out.resolve()
    if options.part:
        return measure_part(options.part, out)
    unknown = [name for name in options.only or () if name not in parts()]
    if unknown:
        raise UserError(f"--only {unknown[0]}: there is no such part; it is one of: {', '.join(parts())}")
    out.mkdir(parents=True, exist_ok=True)
    results = run_all([name for name in parts() if not options.only or name in options.only], out)
    print((out / "RESULTS.md").read_text())
    return int(any(result["ended"] != "whole" for result in results.values()))


if __name__ == "__main__":
    run_command(main)
