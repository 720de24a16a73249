"""Who may import whom, what stays free of torch, and that README's tree tells the truth."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.tiny import ROOT, run

# A package may import itself and those named here. `train` uses `sampling` for demos alone.
ALLOWED = {
    "dualdiffusion": set(),
    "sampling": {"dualdiffusion"},
    "train": {"dualdiffusion", "sampling"},
    "dataset_processing": {"dualdiffusion"},
    "webui": {"dualdiffusion", "sampling"},
}
# Inside the library: these do not import one another, and nothing below imports them.
SIBLINGS = ("models", "formats", "diffusion", "data")
LOW = ("errors", "files", "config", "component", "nn", "dsp")
TORCH_FREE_COMMANDS = ("train.py", "dataset_processing", "sampling", "webui")


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import in a file, those inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_lies_below_them(package: str) -> None:
    forbidden = set(ALLOWED) - ALLOWED[package] - {package}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, name in imports(path)
        if name.split(".")[0] in forbidden
    ]
    assert wrong == []


def test_the_libraries_parts_do_not_reach_sideways_or_up() -> None:
    wrong = []
    for path in sorted((ROOT / "dualdiffusion").rglob("*.py")):
        part = path.relative_to(ROOT / "dualdiffusion").parts[0].removesuffix(".py")
        for line, name in imports(path):
            target = name.split(".")[1] if name.startswith("dualdiffusion.") else ""
            sideways = part in SIBLINGS and target in SIBLINGS and target != part
            up = part in LOW and target in SIBLINGS
            if sideways or up:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


# OpenMP is told how to wait by its own environment variables alone; nothing of ours is set there.
SETS_THE_ENVIRONMENT = Path("dualdiffusion/threads.py")


def test_nothing_reads_the_environment_and_the_library_no_command_line() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {found}"
        for package in ALLOWED
        for path in sorted((ROOT / package).rglob("*.py"))
        for found in re.findall(r"os\.environ|getenv|sys\.argv", path.read_text())
        if (package == "dualdiffusion" or found != "sys.argv") and path.relative_to(ROOT) != SETS_THE_ENVIRONMENT
    ]
    assert wrong == []


@pytest.mark.parametrize("command", TORCH_FREE_COMMANDS)
def test_help_needs_no_torch(command: str) -> None:
    start = f"runpy.run_path({command!r}, run_name='__main__')"
    if not command.endswith(".py"):
        start = f"runpy.run_module({command!r}, run_name='__main__')"
    code = f"import sys, runpy\nsys.argv = [{command!r}, '--help']\ntry: {start}\nexcept SystemExit: pass\n"
    result = run("-c", code + "sys.exit('torch' in sys.modules)")
    assert result.returncode == 0, result.stderr
    assert "usage" in result.stdout


def test_a_package_beside_train_py_can_be_imported() -> None:
    assert (ROOT / "train" / "__init__.py").exists()  # else `import train.trainer` finds train.py
    assert run("-c", "import train.trainer").returncode == 0


def test_the_readme_names_every_file_of_the_library_and_no_other() -> None:
    readme = (ROOT / "README.md").read_text()
    tree = readme.split("## Where things are")[1]
    packages = ("dualdiffusion", "train", "sampling", "dataset_processing", "webui")
    names = {
        path.name
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") and "synth" not in path.parts and "decode" not in path.parts
    }
    named = set(re.findall(r"\b[a-z0-9_]+\.py\b", tree))
    assert sorted(names - named) == []
    everywhere = {path.name for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    assert sorted(named - everywhere) == []
