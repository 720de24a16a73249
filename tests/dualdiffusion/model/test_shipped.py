"""Models that come with the package: found by name everywhere, loaded in one call, and never written to."""

from __future__ import annotations

import functools
import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import dualdiffusion
import webui.__main__ as webui_command
from dualdiffusion.__main__ import report_folder
from dualdiffusion.errors import UserError
from dualdiffusion.model import shipped
from dualdiffusion.model.export import export
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import save_weights
from dualdiffusion.model.shipped import find_model, is_shipped, shipped_names
from sampling.generator import Generator
from sampling.request import Request
from tests import commands, tiny
from tests.tiny import assert_one_line_error, run
from webui.service import Service
from webui.settings import Settings

CHIPTUNE = shipped.SHIPPED / "chiptune"
REQUEST = Request(games={"Castle": 1.0}, seconds=0.5, steps=2, seed=3)


@pytest.fixture(scope="module")
def own_shipped(model: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of shipped models with one, called tinytune, which nobody may write to."""
    folder = tmp_path_factory.mktemp("pretrained")
    export(model, folder / "tinytune")
    for path in folder.rglob("*"):
        path.chmod(stat.S_IRUSR if path.is_file() else stat.S_IRUSR | stat.S_IXUSR)
    before = listing(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "SHIPPED", folder)
        yield folder
    assert listing(folder) == before


def listing(folder: Path) -> list[tuple[str, float]]:
    return sorted((str(path), path.stat().st_mtime) for path in folder.rglob("*"))


def ship(folder: Path) -> None:
    shipped.SHIPPED = folder


def command(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A command of the project, whose shipped models are those in `folder`."""
    return commands.run(words, timeout=120, prepare=functools.partial(ship, folder))


def test_a_name_is_a_shipped_model_and_a_path_that_exists_wins(
    own_shipped: Path, model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shipped_names() == ["tinytune"]
    assert find_model("tinytune").path == own_shipped / "tinytune"
    assert find_model(model.path).path == model.path
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tinytune").mkdir()
    assert find_model("tinytune").path == Path("tinytune")
    assert not is_shipped(Path("tinytune"))


def test_what_is_not_found_is_one_line_with_the_shipped_names_the_nearest_first(
    own_shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("aaa", "tinytuna"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_index.json").write_text("{}")
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path)
    with pytest.raises(UserError) as error:
        find_model("models/tinytun")
    assert str(error.value).startswith("models/tinytun: no such model folder")
    assert "(there is: tinytuna, aaa)" in str(error.value)
    assert "make demo-model" in str(error.value) and "\n" not in str(error.value)


def test_a_name_does_not_lead_out_of_the_folder_of_shipped_models(own_shipped: Path) -> None:
    for name in ("../tinytune", "tinytune/../tinytune", "tinytune/unet", ""):
        assert not is_shipped(Path(name))
    with pytest.raises(UserError, match="no such model folder"):
        find_model("tinytune/unet")


def test_a_shipped_model_loads_in_one_call_in_float32(own_shipped: Path) -> None:
    model = dualdiffusion.load("tinytune")
    assert model.labels.names == list(tiny.GAMES)
    assert model.format.config.sample_rate == tiny.SAMPLE_RATE
    assert {tensor.dtype for part in (model.vae, model.denoiser) for tensor in part.parameters()} == {torch.float32}
    assert not model.vae.training and not model.denoiser.training
    folder = ModelFolder(own_shipped / "tinytune")
    assert model.fingerprint == f"{folder.fingerprint('vae')}-{folder.fingerprint('unet')}"


def test_importing_the_package_needs_no_torch_until_a_model_is_loaded() -> None:
    code = "import sys, dualdiffusion; assert dualdiffusion.load; sys.exit('torch' in sys.modules)"
    assert run("-c", code).returncode == 0


def test_unknown_models_and_weights_are_told_in_one_line(own_shipped: Path) -> None:
    with pytest.raises(UserError, match="there is: tinytune"):
        dualdiffusion.load("tinytone")
    with pytest.raises(UserError, match="has no EMA 'ema_9'; it has: raw"):
        dualdiffusion.load("tinytune", ema="ema_9")


def test_a_loaded_model_generates_what_the_command_generates(own_shipped: Path, tmp_path: Path) -> None:
    generator = Generator.of(dualdiffusion.load("tinytune"))
    result = generator.generate(REQUEST)
    assert result.model == "tinytune"
    words = ["--game", "Castle", "--seconds", 0.5, "--steps", 2, "--seed", 3, "--out", tmp_path]
    made = command(own_shipped, "-m", "sampling", "--model", "tinytune", *words)
    assert made.returncode == 0, made.stderr
    # A clip names its model in a way that holds on every machine, so that it can be made again.
    again = command(own_shipped, "-m", "sampling", "--from", made.stdout.strip(), "--out", tmp_path / "again")
    assert "identical to" in again.stdout, again.stdout + again.stderr


def test_a_model_loaded_with_an_ema_says_so_in_its_clips(model: ModelFolder, tmp_path: Path) -> None:
    folder = tiny.make_model(tmp_path / "model")
    other = tiny.make_denoiser(seed=9)
    save_weights(folder.weights_path("unet", "ema_0.100"), other.state_dict())
    chosen = Generator.of(dualdiffusion.load(folder.path, ema="ema_0.100"))
    result = chosen.generate(REQUEST)
    assert result.request.ema == "ema_0.100"
    default = Generator.load(folder, "cpu")
    assert not torch.equal(result.audio, default.generate(REQUEST).audio)
    repeated = default.generate(result.request)
    assert torch.equal(result.audio, repeated.audio)
    assert result.fingerprint == repeated.fingerprint != default.fingerprint


def test_every_command_takes_a_name(own_shipped: Path, dataset: Path, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"model": "tinytune", "games": {"Cave": 1}, "seconds": 0.3, "steps": 1}))
    clips = command(own_shipped, "-m", "sampling", "--request", request, "--out", tmp_path / "clips")
    assert clips.returncode == 0, clips.stderr
    each = ["--each-game", "--seconds", 0.3, "--steps", 1, "--out", tmp_path / "each"]
    assert command(own_shipped, "-m", "sampling", "--model", "tinytune", *each).returncode == 0
    assert len(list((tmp_path / "each").glob("*.flac"))) == len(tiny.GAMES)
    weak = ["--set", "guidance.weak_model=tinytune", "guidance.weak_scale=2", "--game", "Cave", "--seconds", 0.3]
    guided = command(own_shipped, "-m", "sampling", "--model", "tinytune", *weak, "--steps", 1, "--out", tmp_path)
    assert guided.returncode == 0, guided.stderr
    report = ["latent-report", "tinytune", dataset, "--out", tmp_path / "report", "--set", "seconds=1"]
    assert command(own_shipped, "-m", "dualdiffusion", *report).returncode in (0, 1)  # random weights do not pass
    assert (tmp_path / "report" / "latent_report.json").exists()
    wrong = command(own_shipped, "-m", "sampling", "evaluate", "--model", "tinytun", "--dataset", dataset)
    assert_one_line_error(wrong, "tinytun: no such model folder", "there is: tinytune")


def test_training_starts_on_a_shipped_vae_and_leaves_it_as_it_is(own_shipped: Path, tmp_path: Path) -> None:
    dataset = tiny.make_dataset(tmp_path / "dataset", tracks=2)
    tiny.make_latents(dataset, ModelFolder(own_shipped / "tinytune"))
    trainer = ["--set", "module_trainer.autoencoder=tinytune", "total_samples=8", "validation.every_samples=8"]
    config = tiny.write_train_config(tmp_path / "unet.json", "unet", tmp_path / "own", dataset)
    result = command(own_shipped, "train.py", config, *trainer)
    assert result.returncode == 0, result.stderr
    assert ModelFolder(tmp_path / "own").fingerprint("vae") == find_model("tinytune").fingerprint("vae")


@pytest.mark.parametrize("target", ["tinytune", "PRETRAINED/tinytune"])
def test_training_into_a_shipped_model_is_refused(
    target: str, own_shipped: Path, dataset: Path, tmp_path: Path
) -> None:
    target = target.replace("PRETRAINED", str(own_shipped))
    config = tiny.write_train_config(tmp_path / "unet.json", "unet", Path(target), dataset)
    result = command(own_shipped, "train.py", config)
    assert_one_line_error(result, "model: ", "comes with the program", "models/tinytune")


def test_the_latent_report_of_a_shipped_model_goes_into_outputs(own_shipped: Path, dataset: Path) -> None:
    assert report_folder(find_model("tinytune"), None) == Path("outputs/tinytune/reports")
    assert report_folder(ModelFolder(Path("models/x")), None) == Path("models/x/reports")
    assert report_folder(find_model("tinytune"), Path("own")) == Path("own")


def test_the_page_plays_it_by_name_and_knows_that_it_has_no_runs(
    own_shipped: Path, model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Settings] = []
    monkeypatch.setattr("webui.__main__.serve", lambda settings, listener: served.append(settings))
    words = ["webui", "--port", "0", "--outputs", str(tmp_path), "--model"]
    for name in ("tinytune", str(model.path)):
        monkeypatch.setattr("sys.argv", [*words, name])
        webui_command.main()
    assert [settings.model for settings in served] == [own_shipped / "tinytune", model.path]
    services = [Service(settings) for settings in served]
    assert [service.health()["shipped"] for service in services] == [True, False]
    assert services[0].health()["model"] == "tinytune"
    for service in services:
        service.store.close()


@pytest.mark.skipif(not CHIPTUNE.exists(), reason="dualdiffusion/pretrained/chiptune is not in this checkout")
def test_the_models_that_are_in_the_box_are_small_have_a_card_and_play(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "SHIPPED", CHIPTUNE.parent)  # which the other tests' models have replaced
    size = sum(path.stat().st_size for path in CHIPTUNE.rglob("*") if path.is_file())
    assert size <= 24e6
    card = (CHIPTUNE / "README.md").read_text()
    for words in ("## Data", "CC0", "## Training", "samples in", "validation loss", "Hardware: ", "make chiptune"):
        assert words in card, words
    assert not list(CHIPTUNE.rglob("runs")) and not list(CHIPTUNE.rglob(".lock"))
    model = dualdiffusion.load("chiptune")
    assert model.window_columns
    game = model.labels.names[0]
    result = Generator.of(model).generate(Request(games={game: 1.0}, seconds=2.0, steps=4, phase_iterations=4))
    assert result.audio.shape == (2, 2 * result.sample_rate)
    assert 0.01 < float(result.audio.abs().max()) <= 1
