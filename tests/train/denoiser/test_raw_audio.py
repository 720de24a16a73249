"""A model of raw audio: samples folded into channels and a network in one dimension, from training to the clip."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from dataset_processing.step import Paths, Record
from dataset_processing.steps.encode import Encode
from dualdiffusion import audio
from dualdiffusion.codec import Codec
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.model.folder import ModelFolder
from sampling.generator import Generator
from sampling.preview import Preview
from sampling.request import Request
from sampling.tasks.canvas import most_columns
from tests import tiny
from tests.dataset_processing.steps.latents import OneProcess
from tests.sampling.conftest import command
from tests.sampling.test_unconditional import SHORT

__all__ = ["command"]
PATCH = 16
FORMAT = {"type": "waveform.Waveform", "sample_rate": tiny.SAMPLE_RATE, "num_channels": 2, "patch": PATCH}
BACKBONE = {
    "type": "unet_1d.UNet1D",
    "model_channels": 16,
    "channel_mult": [1, 2],
    "strides": [2],
    "attn_levels": [1],
    "channels_per_head": 16,
    "norm_groups": 4,
    "noise_channels": 16,
}


def config_for(path: Path, model: Path, dataset: Path, **changes: object) -> Path:
    trainer = {
        "type": "unet.UNetTrainer",
        "format": FORMAT,
        "vae": {"type": "identity.Identity"},
        "denoiser": {"backbone": BACKBONE},
        "crop_seconds": 0.512,
        "demo_games": 1,
        "demo_seconds": 0.3,
        "demo_steps": 2,
        **changes,
    }
    own = {"total_samples": 8, "optimizer": {"learning_rate": 0.003}, "demo_every_samples": 8}
    return tiny.write_train_config(path, "unet", model, dataset, module_trainer=trainer, **own)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelFolder, Path, Path]:
    """A model, its dataset, and its training config."""
    folder = tmp_path_factory.mktemp("raw")
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
    return model, own, path


def test_learning_works_and_the_need_of_memory_is_foreseen(trained: tuple[ModelFolder, Path, Path]) -> None:
    result = tiny.run("-m", "train", "overfit", trained[2], "--steps", 100, "--set", "module_trainer.pre_encoded=false")
    assert result.returncode == 0, result.stdout + result.stderr
    losses = [float(found) for found in re.findall(r"loss (\d+\.\d+)", result.stdout)]
    assert losses[-1] < 0.6 * losses[0]
    foreseen = tiny.run("-m", "train", "preflight", trained[2])
    assert foreseen.returncode == 0, foreseen.stderr
    assert json.loads(foreseen.stdout)["runs"][0]["need"] > 0
    said = tiny.run("train.py", trained[2], "--dry-run", "--set", "total_samples=16")
    assert said.returncode == 0 and "4 x 32 x 1 x 256" in said.stdout, said.stdout


def test_clips_count_seconds_whatever_a_column_is(trained: tuple[ModelFolder, Path, Path], tmp_path: Path) -> None:
    generator = Generator.load(trained[0], "cpu")
    assert generator.window_columns == 256  # of 2 ms each
    source = tmp_path / "source.flac"
    audio.write_flac(source, audio.read(next(trained[1].glob("audio/*/*.flac")))[0][:, :8000], tiny.SAMPLE_RATE)
    game, painted = {"games": {"Cave": 1.0}}, {"source": {"path": str(source)}, "inpaint": ((0.3, 0.6),)}
    whole = {"seconds": 1.301}, {"loop": True, "seconds": 0.4001}, {"loop": True, "seconds": 0.7}
    for changes, samples in zip((*whole, painted), (10408, 3201, 5600, 8000), strict=True):
        result = generator.generate(Request(**game, **{**SHORT, **changes}))
        assert result.audio.shape == (2, samples)
        assert result.audio.isfinite().all() and result.audio.abs().max() > 0
        assert result.spectrogram.shape[1:] == (128, samples // 80), "the audio's, as there are no rows to show"
    kept, _ = audio.read(source)
    assert torch.equal(result.audio[:, :2272], kept[:, :2272]), "what is kept is the source, to the sample"
    assert not torch.allclose(result.audio[:, 3200:4000], kept[:, 3200:4000], atol=1e-3)
    request = Request(**game, **SHORT, source={"path": str(source)})
    assert most_columns(request, generator.grid(generator.unet(None))) == 256


def test_what_is_encoded_in_tiles_is_what_is_encoded_at_once(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator.load(trained[0], "cpu")
    codec, samples = Codec(generator.format, generator.vae), 0.1 * torch.randn(2, 8000)
    tiles = []
    codec._on_tile = lambda: tiles.append(1)
    once = codec.encode(codec.spectrogram(samples))
    assert not tiles, "tiles have seconds, not columns"
    monkeypatch.setattr("dualdiffusion.codec.TILE_COLUMNS", 64)
    monkeypatch.setattr("dualdiffusion.codec.TILE_SECONDS", 0.1)
    assert torch.equal(codec.encode(codec.spectrogram(samples)), once)
    assert torch.allclose(generator.format.decode(codec.decode(once))[0], samples, atol=1e-6)
    assert len(tiles) > 10


def test_a_preview_shows_seconds_of_the_sound(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator.load(trained[0], "cpu")
    latents = torch.randn(1, 2 * PATCH, 1, 1000)  # 2 s
    codec = Codec(generator.format, generator.vae)
    assert Preview(codec).picture(latents).size == (200, 128)
    monkeypatch.setattr("sampling.preview.PREVIEW_SECONDS", 0.333)
    part = Preview(codec)
    assert {part.picture(latents).size for _ in range(7)} == {(200, 128)}
    odd = Preview(codec)
    beyond = torch.randn(1, 2 * PATCH, 1, odd._most + 1)  # whose last part is less than half a pixel
    assert odd.picture(beyond).size == odd.picture(beyond).size


def test_an_evaluation_works(command, trained: tuple[ModelFolder, Path, Path], tmp_path: Path) -> None:
    words = ["--games", "Castle", "Cave", "--clips", 2, "--seconds", 1.5, "--steps", 2, "--resamples", 20]
    words += ["--embedding", "mel_statistics", "--json", tmp_path / "all.json"]
    done = command("evaluate", "--model", trained[0].path, *words)
    assert done.returncode == 0, done.stderr
    stages = json.loads((tmp_path / "all.json").read_text())["music"]["stages"]
    through = [stages[f"training through the {what}"]["sharpness"]["value"] for what in ("format", "VAE")]
    assert through[0] == pytest.approx(through[1], rel=1e-3), "nothing is lost"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vae": {"type": "identity.Identity", "channels": 2}}, ["vae.channels: is 2", "set it to 32"]),
        ({"vae": {"type": "identity.Identity", "channels": 32, "patch": 2}}, ["vae.patch: is 2", "no frequency axis"]),
        ({"denoiser": {"backbone": {**tiny.UNET, "label_dim": None, "in_channels": 32}}}, ["unet_1d.UNet1D"]),
        ({"denoiser": {"backbone": {**BACKBONE, "in_channels": 8}}}, ["backbone.in_channels: is 8", "32 latent"]),
    ],
)
def test_parts_that_do_not_fit_are_one_line(changes: dict, words: list[str], dataset: Path, tmp_path: Path) -> None:
    path = config_for(tmp_path / "c.json", tmp_path / "model", dataset, **changes)
    tiny.assert_one_line_error(tiny.run("train.py", path), *words)
    assert not (tmp_path / "model" / "model_index.json").exists()
