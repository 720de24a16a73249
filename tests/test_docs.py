"""What readers are told: links lead somewhere, README's Python runs, and references say what the program says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.programs import PROGRAMS
from sampling.output.clips import read_settings
from sampling.request import Request
from sampling.solvers.samplers import SAMPLERS
from sampling.solvers.schedules import SCHEDULES
from tests import commands
from tests.tiny import ROOT

LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "webui/README.md", ROOT / "tests/benchmarks/RESULTS.md"]
)


def anchors(path: Path) -> set[str]:
    """The names that headings get, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_or_a_heading(path: Path) -> None:
    wrong = []
    for link in LINK.findall(path.read_text()):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        there = (path.parent / target).resolve() if target else path
        if not there.is_relative_to(ROOT) or not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(link)
    assert wrong == []


def test_readme_leads_to_every_document_and_is_read_once() -> None:
    text = (ROOT / "README.md").read_text()
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= set(LINK.findall(text))
    assert len(text.splitlines()) < 160


def test_the_python_in_readme_makes_a_clip(model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(block for block in blocks("python") if "dualdiffusion.load" in block)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "demo").symlink_to(model.path)
    monkeypatch.chdir(tmp_path)
    assert "seconds=8" in code
    exec(code.replace("seconds=8", "seconds=0.5, steps=2"), {})
    request, _ = read_settings(tmp_path / "a.flac")
    assert (request.games, request.seed) == ({"Castle": 0.7, "Cave": 0.3}, 1)


def blocks(language: str) -> list[str]:
    """README's code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_the_request_reference_is_what_the_command_prints() -> None:
    result = commands.run(["-m", "sampling", "reference"], timeout=240)
    assert result.returncode == 0, result.stderr
    assert result.stdout == (ROOT / "docs/request.md").read_text(), "print it anew: python -m sampling reference"
    for name in (*Request.model_fields, *SAMPLERS, *SCHEDULES):
        assert f"`{name}`" in result.stdout


def test_the_reference_of_commands_names_all_of_them() -> None:
    text = (ROOT / "docs/commands.md").read_text()
    shown = {words.split()[0] for words in re.findall(r"`([a-z][^`]*)`", text.split("## Clips")[0])}
    assert {*PROGRAMS, "latent-report", "export"} <= shown
    for program in ("sampling", "train", "dualdiffusion", "dataset_processing"):
        help_text = commands.run(["-m", program, "--help"], timeout=240).stdout
        for name in set(re.findall(rf"python -m {program} ([a-z][a-z-]+)", text)):
            assert re.search(rf"\b{name}\b", help_text), (program, name)


def test_what_make_is_told_to_do_exists() -> None:
    """README, guide and the page name targets of make."""
    told = "".join(path.read_text() for path in (*DOCUMENTS, ROOT / "webui/static/index.html"))
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert (
        set(re.findall(r"`make ([a-z-]+)", told)) | set(re.findall(r"^make ([a-z-]+)", told, re.MULTILINE)) <= targets
    )


def test_without_slow_ones_kills_and_benchmarks_is_what_make_test_says_and_ci_runs_all() -> None:
    def command(target: str) -> str:
        words = ["make", "--no-print-directory", "-n", target]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()[-1]

    assert command("test").endswith('-m "not slow and not kills and not benchmarks"')
    assert " -m pytest" in command("test-all") and "not slow" not in command("test-all")
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "make test-all"
