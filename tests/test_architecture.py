"""Who may import whom, what stays free of torch, and that README's tree tells the truth."""

from __future__ import annotations

import ast
import importlib
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
# The one file below that names packages above it, and looks them up when a user asks for what they do.
NAMES_WHAT_IS_ABOVE = Path("dualdiffusion/programs.py")
# Inside the library: these do not import one another, and nothing below imports them.
SIBLINGS = ("models", "formats", "diffusion", "data")
LOW = ("errors", "files", "config", "component", "nn", "dsp")
TORCH_FREE_COMMANDS = (
    *("train.py", "train", "dataset_processing", "sampling", "webui", "dualdiffusion"),
    *("dualdiffusion data", "dualdiffusion train", "dualdiffusion sample", "dualdiffusion evaluate"),
    *("dualdiffusion serve", "dualdiffusion latent-report", "dualdiffusion export"),
)


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import in a file, those inside functions too."""
    return imports_of(ast.parse(path.read_text()))


def imports_of(tree: ast.Module) -> list[tuple[int, str]]:
    """The same of a parsed file."""
    found = []
    for node in ast.walk(tree):
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


@pytest.mark.parametrize("package", ALLOWED)
def test_what_lies_above_is_not_reached_by_name_either(package: str) -> None:
    """A dotted name in a string, such as `importlib.import_module` takes, is an import in disguise."""
    forbidden = "|".join(set(ALLOWED) - ALLOWED[package] - {package})
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} names {node.value}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and re.fullmatch(rf"({forbidden})(\.\w+)+", str(node.value))
        if not re.search(r"\.(py|json|html|md)$", node.value)
        if path.relative_to(ROOT) != NAMES_WHAT_IS_ABOVE
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


def modules_imported(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules that a file imports, also inside functions, but not for type checking alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = {name for _, name in imports_of(tree)}
    return {name if name in modules else name.rpartition(".")[0] for name in names} & set(modules)


@pytest.mark.parametrize("package", ALLOWED)
def test_no_modules_of_a_package_import_one_another_in_a_circle(package: str) -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    # The package itself holds its version, which all may read, and offers by name what lies deeper.
    del modules[package]
    left = {name: modules_imported(path, modules) - {name} for name, path in modules.items()}
    # Modules that import nothing that is left are taken away, again and again: what stays imports a circle.
    while free := {name for name, targets in left.items() if not targets & set(left)}:
        left = {name: targets for name, targets in left.items() if name not in free}
    imported = set().union(*left.values())
    assert {name: sorted(targets & set(left)) for name, targets in left.items() if name in imported} == {}


@pytest.mark.parametrize("package", ALLOWED)
def test_every_import_inside_a_function_finds_what_it_names(package: str) -> None:
    wrong = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for line, name in imports(path):
            if name.split(".")[0] in ALLOWED and not _is_there(name):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def _is_there(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module holds."""
    parent, _, last = name.rpartition(".")
    try:
        return not parent or hasattr(importlib.import_module(parent), last) or bool(importlib.import_module(name))
    except ModuleNotFoundError:
        return False


ALLOWED_TO_READ = {
    # OpenMP is told how to wait by its own environment variables alone; nothing of ours is set there.
    ("dualdiffusion/machine/threads.py", "os.environ"),
    # torch asks for the account's name by an environment variable where the system has none; nothing of ours is read.
    ("dualdiffusion/machine/account.py", "os.environ"),
    # The one parser of all commands puts the values of --set in order before argparse sees them.
    ("dualdiffusion/command_line.py", "sys.argv"),
}


def test_nothing_reads_the_environment_and_the_library_no_command_line() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {found}"
        for package in ALLOWED
        for path in sorted((ROOT / package).rglob("*.py"))
        for found in re.findall(r"os\.environ|getenv|sys\.argv", path.read_text())
        if (found != "sys.argv" or (package == "dualdiffusion" and path.name != "__main__.py"))
        and (str(path.relative_to(ROOT)), found) not in ALLOWED_TO_READ
    ]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("command", TORCH_FREE_COMMANDS)
def test_help_needs_no_torch(command: str) -> None:
    program, *words = command.split()
    how = "run_path" if program.endswith(".py") else "run_module"
    start = f"runpy.{how}({program!r}, run_name='__main__')"
    code = f"import sys, runpy\nsys.argv = {[program, *words, '--help']!r}\ntry: {start}\nexcept SystemExit: pass\n"
    result = run("-c", code + "sys.exit('torch' in sys.modules)")
    assert result.returncode == 0, result.stderr
    assert "usage" in result.stdout


def test_a_package_beside_train_py_can_be_imported() -> None:
    assert (ROOT / "train" / "__init__.py").exists()  # else `import train.trainer` finds train.py
    assert run("-c", "import importlib.util; assert importlib.util.find_spec('train.trainer')").returncode == 0


# Named in README's tree, but no packages of the library.
SET_ASIDE = {"benchmarks", "dataset", "config", "experiments", "generators", "of_benchmarks", "pretrained", "tests"}


def registries() -> set[Path]:
    """Folders that are listed to find what is in them: a new part is one new file, and nothing else names it."""
    found = {path.parent for path in ROOT.rglob("__init__.py") if "add one as a file here" in path.read_text()}
    return {path for path in found if ROOT / ".venv" not in path.parents}


@pytest.mark.parametrize("package", ALLOWED)
def test_each_folder_says_at_its_head_what_is_in_it(package: str) -> None:
    wrong = []
    for init in sorted((ROOT / package).rglob("__init__.py")):
        text = ast.get_docstring(ast.parse(init.read_text()))
        there = {path.name for path in init.parent.glob("*.py") if not path.name.startswith("__")}
        there |= {f"{path.parent.name}/" for path in init.parent.glob("*/__init__.py")}
        named = set(re.findall(r"^([a-z0-9_]+(?:\.py|/))  ", text or "", re.MULTILINE))
        if not text or (init.parent not in registries() and named != there) or (init.parent in registries() and named):
            wrong.append(f"{init.relative_to(ROOT)}: {sorted(named ^ there)}")
    assert wrong == []


def test_the_readme_names_every_folder_of_the_library_and_no_other() -> None:
    tree = (ROOT / "README.md").read_text().split("## Where things are")[1].split("```")[1]
    packages = [path for package in ALLOWED for path in (ROOT / package).glob("**/__init__.py")]
    folders = {path.parent.name for path in packages} - set(ALLOWED)
    named = set(re.findall(r"\b([a-z_]+)/", tree)) - set(ALLOWED) - SET_ASIDE
    assert named - folders == set()
    assert {name for name in folders if f"{name}/" not in tree} == set()
