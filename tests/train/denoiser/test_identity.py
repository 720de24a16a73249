"""A model without a VAE: `identity.Identity` in its place, from the first training command to the clip."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import dualdiffusion
from dataset_processing.step import Paths, Record
from dataset_processing.steps.encode import Encode
from dualdiffusion import audio
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.models.identity import Identity
from sampling.generator import Generator
from sampling.request import Request
from tests import tiny
from tests.dataset_processing.steps.latents import OneProcess
from tests.sampling.conftest import command
from tests.sampling.test_unconditional import SHORT

__all__ = ["command"]
PATCH = 4
IDENTITY = {"type": "identity.Identity", "patch": PATCH}
BACKBONE = {**tiny.UNET, "label_dim": None}  # how many channels it has follows from format and patch


def config_for(path: Path, model: Path, dataset: Path, **changes: object) -> Path:
    trainer = {
        "type": "unet.UNetTrainer",
        "format": tiny.FORMAT,
        "vae": IDENTITY,
        "denoiser": {"backbone": BACKBONE},
        "crop_seconds": 1.024,
        "demo_games": 0,
        **changes,
    }
    return tiny.write_train_config(path, "unet", model, dataset, module_trainer=trainer, total_samples=8)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelFolder, Path]:
    """A model that no VAE was trained for, and its dataset."""
    folder = tmp_path_factory.mktemp("identity")
    model, own = ModelFolder(folder / "model"), folder / "dataset"
    shutil.copytree(dataset, own, ignore=shutil.ignore_patterns("latents"))
    path = config_for(folder / "c.json", model.path, own)
    tiny.assert_one_line_error(tiny.run("train.py", path), "--steps encode")  # which needs the model's format
    encode = Encode.Config.from_json({"model": str(model.path), "device": "cpu", "offsets": 1, "mirror": False})
    tracks = [track for split in ("train", "validation") for track in DatasetFolder(own).tracks(split)]
    records = [Record(t.file_name, game=t.game, fields={"file_name": t.file_name}) for t in tracks]
    Encode(encode, paths=Paths(own / "source", own)).run_all(records, OneProcess())
    done = tiny.run("train.py", path)
    assert done.returncode == 0, done.stderr
    return model, own


@pytest.mark.parametrize("patch", [1, 4])
def test_what_was_encoded_comes_back_bit_for_bit(patch: int) -> None:
    vae = Identity(Identity.Config(channels=2, patch=patch))
    x, position = torch.randn(3, 2, 16, 24), torch.linspace(-1, 1, 16)
    posterior = vae.encode(x, position=position, conditioning=Conditioning())
    assert posterior.mode.shape == (3, *vae.latent_shape((2, 16, 24))) == (3, 2 * patch**2, 16 // patch, 24 // patch)
    assert (vae.downsampling, vae.noise_std, list(vae.parameters())) == (patch, 0.0, [])
    assert torch.equal(vae.decode(posterior.mode, position=position, conditioning=Conditioning()), x)


def test_its_latents_have_zero_mean_and_unit_variance_over_the_dataset(trained: tuple[ModelFolder, Path]) -> None:
    model = dualdiffusion.load(trained[0].path)
    assert isinstance(model.vae, Identity) and model.window_columns == 32  # of 4 frames each
    clips = [audio.read(track.path)[0] for track in DatasetFolder(trained[1]).tracks("train")]
    codec = Generator.of(model)
    x = torch.cat([model.format.encode(clip[None]) for clip in clips])[..., : len(clips[0][0]) // 64 // PATCH * PATCH]
    latents = model.vae.normalize_latents(
        model.vae.encode(x, position=codec.position, conditioning=Conditioning()).mode
    )
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.1
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.1


def test_windows_loops_and_in_painting_work(trained: tuple[ModelFolder, Path], tmp_path: Path) -> None:
    generator = Generator.load(trained[0], "cpu")
    source = tmp_path / "source.flac"
    audio.write_flac(source, audio.read(next(trained[1].glob("audio/*/*.flac")))[0][:, :8000], tiny.SAMPLE_RATE)
    game, painted = {"games": {"Cave": 1.0}}, {"source": {"path": str(source)}, "inpaint": ((0.3, 0.6),)}
    for changes, seconds in (({"seconds": 1.5}, 1.5), ({"loop": True}, 0.5), (painted, 1.0)):
        result = generator.generate(Request(**game, **{**SHORT, **changes}))
        assert result.audio.shape == (2, seconds * tiny.SAMPLE_RATE)
        assert result.audio.isfinite().all() and result.audio.abs().max() > 0
    kept, _ = audio.read(source)
    assert torch.equal(result.audio[:, :800], kept[:, :800]), "what is kept is the source, to the sample"
    assert not torch.allclose(result.audio[:, 3200:4000], kept[:, 3200:4000], atol=1e-3)


def test_an_evaluation_works(command, trained: tuple[ModelFolder, Path], tmp_path: Path) -> None:
    words = ["--games", "Castle", "Cave", "--clips", 2, "--seconds", 1.5, "--steps", 2, "--resamples", 20]
    words += ["--embedding", "mel_statistics", "--json", tmp_path / "all.json"]
    done = command("evaluate", "--model", trained[0].path, *words)
    assert done.returncode == 0, done.stderr
    stages = json.loads((tmp_path / "all.json").read_text())["music"]["stages"]
    through = [stages[f"training through the {what}"]["sharpness"]["value"] for what in ("format", "VAE")]
    assert through[0] == pytest.approx(through[1], rel=1e-3), "nothing is lost but in the format"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vae": None}, ["format, vae: belong together"]),
        ({"vae": tiny.VAE}, ["vae_edm2.VAE has to be trained first"]),
        ({"vae": {**IDENTITY, "channels": 1}}, ["module_trainer.vae.channels: is 1", "set it to 2"]),
        ({"format": {"type": "waveform.Waveform"}}, ["module_trainer.format.type", "no frequency axis"]),
        ({"denoiser": {"backbone": {**BACKBONE, "in_channels": 4}}}, ["backbone.in_channels: is 4", "32 latent"]),
    ],
)
def test_parts_that_do_not_fit_are_one_line_and_leave_nothing_behind(
    changes: dict, words: list[str], dataset: Path, tmp_path: Path
) -> None:
    path = config_for(tmp_path / "c.json", tmp_path / "model", dataset, **changes)
    tiny.assert_one_line_error(tiny.run("train.py", path), *words)
    foreseen = tiny.run("-m", "train", "preflight", path)
    assert not foreseen.stderr.count("Traceback") and all(word in foreseen.stdout + foreseen.stderr for word in words)
    assert not (tmp_path / "model" / "model_index.json").exists()


def test_there_is_no_vae_to_judge(trained: tuple[ModelFolder, Path]) -> None:
    done = tiny.run("-m", "dualdiffusion", "latent-report", trained[0].path, trained[1])
    tiny.assert_one_line_error(done, "Identity", "nothing to judge")


def test_the_vae_trainer_says_that_there_is_nothing_to_train(dataset: Path, tmp_path: Path) -> None:
    path = tiny.write_train_config(tmp_path / "c.json", "vae", tmp_path / "model", dataset)
    config = json.loads(path.read_text())
    config["module_trainer"]["vae"] = {"type": "identity.Identity"}
    path.write_text(json.dumps(config))
    tiny.assert_one_line_error(tiny.run("train.py", path), "module_trainer.vae.type", "nothing to train")


def test_memory_is_predicted_before_the_model_exists(dataset: Path, tmp_path: Path) -> None:
    path = config_for(tmp_path / "c.json", tmp_path / "model", dataset)
    done = tiny.run("-m", "train", "preflight", path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["need"] > 0
    assert not (tmp_path / "model").exists()
