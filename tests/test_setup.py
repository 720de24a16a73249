"""Setting up: what is installed where, when it is made again, and that nothing is left out that torch needs."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import io
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from types import ModuleType

import pytest

from dualdiffusion.files import write_json
from tests.tiny import ROOT

REQUIREMENTS = "# pins\ntorch==2.11.0\ntorchaudio==2.11.0\naccelerate==1.0\nnumpy==2.4.6\n"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_venv", ROOT / ".ci" / "setup_venv.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Setup:
    """The script in a folder of its own, with a pip that only notes what it is asked for."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.script, self.folder, self.patch = load_script(), folder, patch
        self.installed: list[list[str]] = []
        self.made, self.fails, self.imports = 0, lambda arguments: False, 0
        (folder / "requirements.txt").write_text(REQUIREMENTS)
        (folder / "more.txt").write_text("pytest==9\n")
        patch.chdir(folder)
        self.machine(gpu=False, index=False)
        patch.setattr(self.script.platform, "machine", lambda: "x86_64")
        patch.setattr(self.script.sys, "platform", "linux")
        patch.setattr(self.script.venv, "create", self._create)
        patch.setattr(self.script.Environment, "_pip", lambda _, arguments: self._pip(arguments))
        patch.setattr(self.script.subprocess, "run", self._run)

    def machine(self, *, gpu: bool, index: bool) -> None:
        self.patch.setattr(self.script, "has_gpu", lambda: gpu)
        self.patch.setattr(self.script, "reachable", lambda url: index)

    def __call__(self, *arguments: str) -> int:
        self.installed = []
        self.patch.setattr(self.script.sys, "argv", ["setup_venv.py", *(arguments or (".venv", "requirements.txt"))])
        return self.script.main()

    def _create(self, folder: Path, with_pip: bool, clear: bool) -> None:
        assert with_pip and clear
        self.made += 1
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()

    def _pip(self, arguments: list[str]) -> subprocess.Popen:
        self.installed.append(arguments)
        return subprocess.Popen(["false" if self.fails(arguments) else "true"])

    def _run(self, command: list[object]) -> subprocess.CompletedProcess:
        assert "import accelerate, av, fastapi, torch, torchaudio, uvicorn" in command
        return subprocess.CompletedProcess(command, self.imports)

    def packages(self) -> set[str]:
        return {word.partition("==")[0] for arguments in self.installed for word in arguments}


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    return Setup(tmp_path, monkeypatch)


def test_with_a_gpu_or_when_asked_everything_is_installed(setup: Setup) -> None:
    assert setup("--whole", ".venv", "requirements.txt") == 0
    assert setup.installed == [["-r", "requirements.txt"]]
    setup.machine(gpu=True, index=True)
    setup.folder.joinpath("requirements.txt").write_text(REQUIREMENTS + "rich\n")
    assert setup() == 0
    assert setup.installed == [["-r", "requirements.txt"]]


def test_without_a_gpu_torch_comes_from_its_own_index_where_that_answers(setup: Setup) -> None:
    setup.machine(gpu=False, index=True)
    assert setup() == 0
    first = setup.installed[0]
    assert first[0] == "--no-deps" and setup.script.CPU_INDEX in first
    assert first[-2:] == ["torch==2.11.0", "torchaudio==2.11.0"]
    assert not {name for name in setup.packages() if name.startswith(("nvidia", "cuda"))}
    assert {"accelerate", "numpy", "sympy>=1.13.3"} <= setup.packages()


@pytest.mark.parametrize("answers", [False, True])
def test_without_a_gpu_and_that_index_only_what_torch_loads_is_installed(answers: bool, setup: Setup) -> None:
    setup.machine(gpu=False, index=answers)
    setup.fails = lambda arguments: setup.script.CPU_INDEX in arguments  # as a mirror might that has no such wheels
    assert setup() == 0
    groups = setup.installed[1:] if answers else setup.installed
    assert len(groups) == 4
    on_torch = next(group for group in groups if "torch==2.11.0" in group)
    assert "--no-deps" in on_torch and "accelerate==1.0" in on_torch  # which would fetch all of torch
    assert not setup.packages() & set(setup.script.LEFT_OUT)
    assert any(word.startswith("nvidia-cudnn") for group in groups for word in group)


def test_what_does_not_work_with_less_is_installed_whole(setup: Setup) -> None:
    setup.imports = 1
    assert setup() == 0
    assert setup.installed[-1] == ["-r", "requirements.txt"]
    setup.folder.joinpath("requirements.txt").write_text(REQUIREMENTS + "rich\n")
    setup.imports, setup.fails = 0, lambda arguments: "--no-deps" in arguments
    assert setup() == 0
    assert setup.installed[-1] == ["-r", "requirements.txt"]


@pytest.mark.parametrize(("free_gb", "told"), [(1.7, True), (50, False)])
def test_a_failure_on_a_full_disk_says_where_room_is_needed(
    free_gb: float, told: bool, setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    setup.fails = lambda arguments: True
    setup.patch.setattr(setup.script.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=free_gb * 1e9))
    assert setup() == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: the packages could not be installed")
    assert ("1.7 GB are free at .venv, and they take up to 7 GB" in line) == told


def test_a_failure_leaves_nothing_that_is_taken_for_ready(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    setup.fails = lambda arguments: True
    assert setup() == 1
    assert "could not be installed" in capsys.readouterr().err
    setup.fails = lambda arguments: False
    assert setup() == 0
    assert setup.made == 2


def test_a_ready_environment_stays_and_another_wish_makes_it_anew(setup: Setup) -> None:
    assert setup() == setup() == 0
    assert (setup.made, setup.installed) == (1, [])
    assert setup("--whole", ".venv", "requirements.txt") == 0
    assert setup.made == 2
    assert setup() == 0  # what has everything serves
    assert setup.made == 2
    setup.folder.joinpath("requirements.txt").write_text(REQUIREMENTS.replace("2.4.6", "2.5"))
    assert setup() == 0
    assert setup.made == 3


def test_what_tests_need_is_added_and_a_half_made_addition_is_made_again(setup: Setup) -> None:
    both = (".venv", "requirements.txt", "more.txt")
    assert setup() == setup(*both) == 0
    assert (setup.made, setup.installed) == (1, [["-r", "more.txt"]])
    assert setup(*both) == 0
    assert setup.installed == []
    setup.folder.joinpath("more.txt").write_text("pytest==10\n")
    setup.fails = lambda arguments: True
    assert setup(*both) == 1
    setup.fails = lambda arguments: False
    assert setup() == 0  # the demo does not trust it either
    assert setup.made == 2
    assert setup(*both) == 0
    assert setup.installed == [["-r", "more.txt"]]


def requirements_of(package: str) -> list[str]:
    """What a package that is installed here requires, without its extras."""
    return [line for line in importlib.metadata.requires(package) or [] if "extra ==" not in line]


def names(script: ModuleType, lines: list[str]) -> set[str]:
    return {script.name_of(line).replace("_", "-") for line in lines}


def test_nothing_is_left_out_but_what_is_meant_to_be() -> None:
    script, pins = load_script(), (ROOT / "requirements.txt").read_text()
    installed = [*script.CUDA_TOOLKIT, *script.CUDA_OTHERS, *script.PLAIN, *pins.splitlines()]
    for package in ("torch", "torchaudio", "accelerate"):
        missing = names(script, requirements_of(package)) - names(script, installed) - set(script.LEFT_OUT)
        assert missing == set(), package
    pinned = {script.name_of(line): line for line in (*script.CUDA_TOOLKIT, *script.CUDA_OTHERS)}
    for line in requirements_of("torch"):
        name, wanted = script.name_of(line), line.partition(";")[0].strip()
        if name == "cuda-toolkit":
            extras = [set(re.search(r"\[(.*)\]", text)[1].split(",")) for text in (wanted, pinned[name])]
            assert extras[0] - extras[1] == {"cusolver", "nvrtc", "nvtx"}
            assert wanted.partition("==")[2] == pinned[name].partition("==")[2]
        elif name in pinned:
            assert wanted == pinned[name]


def test_the_demo_needs_no_test_packages_and_plays_the_model_in_the_box() -> None:
    lines = subprocess.run(
        ["make", "--no-print-directory", "-n", "-B", "demo"], cwd=ROOT, capture_output=True, text=True
    ).stdout.splitlines()
    assert lines[-1].endswith("-m webui --model chiptune --port 7860")
    assert not any("tests/requirements.txt" in line or "train.py" in line for line in lines)
    own = subprocess.run(
        ["make", "--no-print-directory", "-n", "-B", "demo", "MODEL=models/demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "unet_demo.json" in own.stdout and own.stdout.splitlines()[-1].endswith("--model models/demo --port 7860")


@pytest.mark.parametrize(("channels", "goes_on"), [(32, True), (16, False)])
def test_a_demo_begun_with_the_tiny_network_of_before_goes_on_by_its_own_settings(
    channels: int, goes_on: bool, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "unet" / "config.json"
    for path, data in (
        (tmp_path / "unet" / "unet.json", {"config": {"backbone": {"model_channels": channels, "other": 1}}}),
        (run, {}),
    ):
        path.parent.mkdir(parents=True)
        write_json(path, data)

    def config() -> str:
        words = ["make", "--no-print-directory", "-n", "-B", "demo-model", f"DEMO={tmp_path}"]
        result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        return re.findall(r"train.py (\S+unet\S+) ", result.stdout)[0]

    assert config() == (str(run) if goes_on else "config/train/unet_demo.json")
    run.unlink()
    assert config() == "config/train/unet_demo.json"


@pytest.mark.parametrize("refused", [errno.ENOSYS, errno.ENOLCK, None])
def test_where_nothing_can_be_locked_it_says_so_and_goes_on(
    refused: int | None, setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(*_: object) -> None:
        raise OSError(refused, os.strerror(refused or 0))

    module = types.SimpleNamespace(flock=flock, LOCK_EX=2) if refused else None  # None: as on Windows, there is none
    setup.patch.setitem(sys.modules, "fcntl", module)
    setup.script.hold(io.StringIO())
    assert "no locks here" in capsys.readouterr().err
