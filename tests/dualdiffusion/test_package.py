"""The program as a package: what an installation holds, the console command, and the way in from Python."""

from __future__ import annotations

import base64
import importlib
import io
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import soundfile
import torch

import dualdiffusion
from dualdiffusion import audio
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.programs import PROGRAMS
from sampling.output.clips import read_settings
from tests import commands
from tests.tiny import ROOT, make_model

PACKAGES = ("dualdiffusion", "train", "sampling", "dataset_processing", "webui", "config")
GAMES = {"Castle": 0.7, "Cave": 0.3}
ASKED = {"seconds": 0.5, "seed": 1, "steps": 3}
# What pip does of a build, without what it needs the network for.
BUILD = """
import sys
from setuptools import Distribution
from setuptools.config.pyprojecttoml import apply_configuration
distribution = Distribution({"script_name": "setup.py"})
apply_configuration(distribution, "pyproject.toml")
distribution.command_options["egg_info"] = {"egg_base": ("test", sys.argv[1])}
distribution.command_options["build_py"] = {"build_lib": ("test", sys.argv[1])}
distribution.run_command("build_py")
print(*distribution.install_requires, sep="\\n")
"""


class Installed:
    """What an installation has: its packages in a folder, and the requirements it names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-W", "ignore", "-c", BUILD, folder]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
        assert result.returncode == 0, result.stderr
        self.requirements = result.stdout.splitlines()

    def python(self, *words: object, elsewhere: Path) -> subprocess.CompletedProcess[str]:
        """Runs Python in another folder, with this installation and nothing of the clone."""
        # -P: nothing is imported from the folder that it runs in.
        command = [sys.executable, "-P", *map(str, words)]
        environment = {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def tracked(package: str) -> set[str]:
    """Files of a package, as they lie in the clone."""
    files = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*") if path.is_file()}
    return {str(path) for path in files if "__pycache__" not in path.parts}


@pytest.mark.parametrize("package", PACKAGES)
def test_an_installation_has_every_file_that_a_program_needs(package: str, installed: Installed) -> None:
    missing = {name for name in tracked(package) if not (installed.folder / name).exists()}
    assert missing <= {"webui/screenshot.png"}  # which is for readers


def test_an_installation_asks_for_what_requirements_say_and_for_nothing_else(installed: Installed) -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert installed.requirements == [line for line in lines if line and not line.startswith("#")]


def test_the_installed_command_is_there() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["dualdiffusion"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


PLAYED = """
import sys
from pathlib import Path
import dualdiffusion
clip = dualdiffusion.load("chiptune").generate(games={"Castle": 0.7, "Cave": 0.3}, seconds=0.5, seed=1, steps=1)
print(clip.save("a.flac"))
print(Path(dualdiffusion.__file__).parent.parent)
print([name for name in ("train", "webui", "dataset_processing", "fastapi", "accelerate") if name in sys.modules])
"""


@pytest.mark.slow
def test_a_model_plays_from_any_folder_and_nothing_of_page_or_training_is_loaded(
    installed: Installed, tmp_path: Path
) -> None:
    result = installed.python("-c", PLAYED, elsewhere=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["a.flac", str(installed.folder), "[]"]
    assert soundfile.info(tmp_path / "a.flac").samplerate == 16000


def test_configs_that_came_along_are_found_from_any_folder(installed: Installed, tmp_path: Path) -> None:
    words = ("-m", "dualdiffusion", "sample", "--model", "chiptune", "--set", "nonsense=1", "--request")
    result = installed.python(*words, "config/sampling/demo.json", elsewhere=tmp_path)
    assert result.returncode == 2 and "nonsense: unknown key" in result.stderr  # it was read
    result = installed.python(*words, "config/sampling/none.json", elsewhere=tmp_path)
    assert (result.returncode, result.stderr) == (2, "error: config/sampling/none.json: no such file\n")


def test_the_command_lists_its_commands_and_each_says_what_to_type() -> None:
    text = commands.run(["-m", "dualdiffusion", "--help"], timeout=240).stdout
    assert set(re.findall(r"^ {4}([a-z-]+)", text, re.MULTILINE)) == {*PROGRAMS, "latent-report", "export", "import"}
    for name in PROGRAMS:
        result = commands.run(["-m", "dualdiffusion", name, "--help"], timeout=240)
        assert result.stdout.startswith(f"usage: dualdiffusion {name} "), result.stderr


def test_the_command_does_what_the_modules_do(model: ModelFolder, tmp_path: Path) -> None:
    words = ["--model", model.path, "--game", "Castle", "--seconds", 0.5, "--steps", 2]
    for start, out in ((["dualdiffusion", "sample"], tmp_path / "a"), (["sampling"], tmp_path / "b")):
        result = commands.run(["-m", *start, *words, "--out", out], timeout=240)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "a/Castle-seed0.flac").read_bytes() == (tmp_path / "b/Castle-seed0.flac").read_bytes()
    result = commands.run(["-m", "dualdiffusion", "evaluate", "--model", "nothing"], timeout=240)
    assert result.returncode == 2 and result.stderr.startswith("error: nothing: no such model folder")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A model that recommends something."""
    folder = make_model(tmp_path_factory.mktemp("own") / "model")
    write_json(folder.request_path, {"cfg_scale": 3.5, "sampler": "euler", "steps": 4})
    return folder


def test_a_clip_is_what_the_command_line_makes_of_the_same_request(own: ModelFolder, tmp_path: Path) -> None:
    clip = dualdiffusion.load(own.path).generate(games=GAMES, **ASKED)
    words = ["--model", own.path, "--game", "Castle=0.7", "--game", "Cave=0.3", "--out", tmp_path]
    for name, value in ASKED.items():
        words += [f"--{name}", value]
    result = commands.run(["-m", "sampling", *words], timeout=240)
    assert result.returncode == 0, result.stderr
    made = Path(result.stdout.strip())
    saved = clip.save(tmp_path / "mine.flac")
    samples, sample_rate = audio.read(saved)
    theirs, _ = audio.read(made)
    assert torch.equal(samples, theirs) and sample_rate == clip.sample_rate and samples.abs().max() > 0
    assert read_settings(saved) == read_settings(made)
    assert clip.request == read_settings(saved)[0]


def test_what_is_not_asked_is_as_the_model_recommends(own: ModelFolder) -> None:
    request = dualdiffusion.load(own.path).generate({"Cave": 1}, **ASKED).request
    assert (request.cfg_scale, request.sampler) == (3.5, "euler")  # recommended
    assert (request.steps, request.seed) == (3, 1)  # asked for


def test_a_clip_is_saved_as_its_name_says_and_never_over_another(own: ModelFolder, tmp_path: Path) -> None:
    clip = dualdiffusion.load(own.path).generate(GAMES, **ASKED)
    assert clip.save(tmp_path / "new" / "a.wav", bits=24).name == "a.wav"
    assert soundfile.info(tmp_path / "new" / "a.wav").subtype == "PCM_24"
    assert clip.save(str(tmp_path / "new" / "a.wav")).name == "a (2).wav"
    with pytest.raises(UserError, match=r"a\.aac: format: input should be 'flac'"):
        clip.save(tmp_path / "a.aac")


def test_a_notebook_shows_a_player_that_holds_the_audio(own: ModelFolder, tmp_path: Path) -> None:
    clip = dualdiffusion.load(own.path).generate(GAMES, **ASKED)
    text = clip._repr_html_()
    data = base64.b64decode(re.search(r'<audio controls src="data:audio/flac;base64,([^"]+)">', text)[1])
    samples, sample_rate = soundfile.read(io.BytesIO(data), dtype="float32")
    stored, _ = audio.read(clip.save(tmp_path / "a.flac"))
    assert sample_rate == clip.sample_rate and torch.equal(torch.from_numpy(samples.T), stored)
    assert "Castle 0.7, Cave 0.3 (seed 1)" in text
    assert repr(clip) == "<clip: Castle 0.7, Cave 0.3, seed 1, 0.5 s at 8000 Hz>"


def test_a_game_cannot_write_into_the_notebooks_page(tmp_path: Path, own: ModelFolder) -> None:
    folder = ModelFolder(shutil.copytree(own.path, tmp_path / "model"))
    folder.labels_path.write_text(folder.labels_path.read_text().replace("Cave", "<b>Cave"))
    assert "<b>" not in dualdiffusion.load(folder.path).generate({"<b>Cave": 1}, **ASKED)._repr_html_()


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"games": {"Casle": 1}}, "unknown game 'Casle'; nearest: Castle"),
        ({"games": {"Castle": 1}, "step": 3}, "generate: step: unknown key; did you mean steps?"),
        ({"games": {"Castle": 1}, "ema": "ema_9"}, "has no EMA 'ema_9'"),
    ],
)
def test_what_cannot_be_made_is_told_in_one_line(own: ModelFolder, asked: dict, word: str) -> None:
    with pytest.raises(UserError, match=re.escape(word)) as error:
        dualdiffusion.load(own.path).generate(**asked)
    assert "\n" not in str(error.value)
