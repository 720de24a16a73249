"""The unit tests that need CUDA: what was only read until a GPU was at hand."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.benchmarks.gpu.context import Context

ORDER, LIMIT = 1, 100
GOALS = {
    "passed": ("tests that passed", "", None),
    "failed": ("tests that failed", "at most", 0),
    "skipped": ("tests that were skipped (all of them without a GPU)", "", None),
}
ROOT = Path(__file__).resolve().parents[4]


def measure(context: Context) -> None:
    """Runs tests/gpu; names what failed."""
    results, log = context.folder / "tests.xml", context.folder / "tests.log"
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-p", "no:cacheprovider", f"--junitxml={results}"]
    with open(log, "w") as file:
        subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    failed = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    context.note(passed=len(cases) - len(failed) - skipped, failed=len(failed), skipped=skipped, names=failed)
