"""What only POSIX has stands in one file, and everything runs without it, as far as that can be tried on POSIX.

On Windows and macOS themselves nothing of this was ever run.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.dataset_processing.sounds import make_source
from tests.tiny import ROOT
from tests.train.test_training import fresh_model
from tests.webui.conftest import REQUEST, free_port, until
from tests.webui.serve import make_model
from tests.without_posix import ARGUMENTS, MODULES, NAMES, OURS, is_theirs

KNOWS = ROOT / "dualdiffusion" / "machine" / "system.py"
FILES = [ROOT / "train.py", *(path for package in OURS for path in sorted((ROOT / package).rglob("*.py")))]


def posix_names(path: Path) -> list[str]:
    """`file:line name` of everything in a file that only POSIX or Linux has."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [module] if module.split(".")[0] in MODULES else []
            names += [alias.name for alias in node.names if alias.name in NAMES.get(module, ())]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [node.attr] if node.attr in NAMES.get(node.value.id, ()) else []
        elif isinstance(node, ast.keyword):
            names = [node.arg] if node.arg in ARGUMENTS else []
        elif isinstance(node, ast.Constant) and is_theirs(node.value):
            names = [node.value]
        found += [f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} {name}" for name in names]
    return found


def test_what_only_posix_has_stands_in_one_file() -> None:
    assert [name for path in FILES if path != KNOWS for name in posix_names(path)] == []
    assert posix_names(KNOWS)  # which is not found clean by a test that finds nothing


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process, and of all that it starts, in which these names are taken away."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "sitecustomize.py").write_text("from tests.without_posix import take_away\ntake_away()\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "OMP_NUM_THREADS": "1"}


def run(environment: dict[str, str], *words: object) -> str:
    """What a command prints, of both streams; it must end with 0."""
    result = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=560,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


# All of it in one process: what takes long is torch's start.
EVERYTHING = """
import contextlib, importlib, json, os, sys
from pathlib import Path
from dualdiffusion.machine import system
assert system.fcntl is system.resource is system.HANGUP is None and not hasattr(system.os, "fork")
modules, config, model, out = json.loads(sys.argv[1])
if __name__ == "__main__":
    for name in modules:
        importlib.import_module(name)
    from dualdiffusion.command_line import run_command
    from dualdiffusion.__main__ import main
    for words in (
        ["train", config],
        ["sample", "--model", model, "--game", "Castle", "--seconds", "1", "--steps", "2", "--out", out],
    ):
        with contextlib.suppress(SystemExit):
            run_command(lambda: main(words))
"""


def module_names() -> list[str]:
    # The player of game music is a program of its own, beside its files.
    files = [path for path in FILES if path.name != "__main__.py" and path.parent.name != "player"]
    paths = [path.relative_to(ROOT).with_suffix("") for path in files]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.parts != ("train",)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_module_is_imported_and_a_training_and_a_clip_are_made_without_it(
    elsewhere: dict[str, str], model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    config = tiny.write_train_config(tmp_path / "train.json", "unet", path, dataset, total_samples=8, num_workers=1)
    config.write_text(config.read_text().replace('"demo_games": 1', '"demo_games": 0'))
    script = tmp_path / "everything.py"
    script.write_text(EVERYTHING)
    words = [module_names(), str(config), str(path), str(tmp_path / "clips")]
    output = run(elsewhere, script, json.dumps(words))
    assert "unet: trained on 8 samples" in output
    assert "Traceback" not in output
    assert output.count("this file system has no locks") == 1  # the mark stands for one, and is gone at the end
    assert not list(path.glob("*.held"))
    assert len(list((tmp_path / "clips").glob("*.flac"))) == 1


@pytest.mark.slow
def test_a_dataset_is_made_by_several_processes_without_it(elsewhere: dict[str, str], tmp_path: Path) -> None:
    source = make_source(tmp_path / "music", tracks=2, seconds=8)
    words = ["--set", f"source={source}", f"dataset={tmp_path / 'dataset'}", "processes=2"]
    output = run(elsewhere, "-m", "dataset_processing", "run", "config/dataset/default.json", *words)
    assert "4 tracks kept" in output
    assert "Traceback" not in output


def test_the_page_makes_a_clip_without_it(elsewhere: dict[str, str], tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    words = ["-m", "tests.webui.serve", make_model(tmp_path / "model"), tmp_path / "out", port]
    with open(log, "wb") as file:
        server = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, env=elsewhere, stdout=file, stderr=file)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            until(lambda: "Dual Diffusion plays" in log.read_text(), "the server is there", 60)
            until(lambda: client.get("/api/health").json()["worker_pid"], "the model's process is there", 60)
            job = client.post("/api/jobs", json=REQUEST).json()["id"]
            until(lambda: client.get(f"/api/jobs/{job}").json()["status"] == "done", "the clip is done", 60)
            worker = client.get("/api/health").json()["worker_pid"]
        server.terminate()
        server.wait(30)
        deadline = time.monotonic() + 15
        while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{worker}").exists()
        assert "Traceback" not in log.read_text()
    finally:
        server.kill()
