"""Training a UNet straight from audio, which frozen format and VAE encode in the step (`pre_encoded: false`)."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dataset_processing.step import Paths, Record
from dataset_processing.steps.encode import Encode
from dualdiffusion import audio
from dualdiffusion.component import component_from_json
from dualdiffusion.conditioners.numbers import Number
from dualdiffusion.config import load_config
from dualdiffusion.data.audio_crops import Batch, collate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.data.latent_crops import CropReader
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_jsonl, write_jsonl
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.randomness import StepRandom
from tests import tiny
from tests.benchmarks.memory import measure
from tests.dataset_processing.steps.latents import OneProcess
from tests.train.test_training import assert_equal, digest, fresh_model, train_until
from train.data.loader import PackedBatch
from train.denoiser.latent_source import EncodedLatents
from train.memory.preflight import make_plan, predict
from train.module_trainers.unet import UNetTrainer
from train.startup.channels import with_channels
from train.train_config import TrainConfig

COLUMN = 64 * 8  # samples
FROM_AUDIO = ("module_trainer.pre_encoded=false",)
MIRROR = {"type": "stereo.Mirror"}


@pytest.fixture(scope="module")
def stored(dataset: Path, model: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset with the latents that the model's VAE makes of it, of two offsets."""
    path = tmp_path_factory.mktemp("stored") / "dataset"
    shutil.copytree(dataset, path, ignore=shutil.ignore_patterns("latents"))
    config = Encode.Config.from_json({"model": str(model.path), "device": "cpu", "offsets": 2, "batch_size": 1})
    tracks = [track for split in ("train", "validation") for track in DatasetFolder(path).tracks(split)]
    records = [Record(track.file_name, game=track.game, fields={"file_name": track.file_name}) for track in tracks]
    Encode(config, paths=Paths(path / "source", path)).run_all(records, OneProcess())
    return path


@pytest.fixture(scope="module")
def audio_alone(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset as it is before its encode step."""
    path = tmp_path_factory.mktemp("audio") / "dataset"
    shutil.copytree(dataset, path, ignore=shutil.ignore_patterns("latents"))
    return path


def config_for(folder: Path, model: ModelFolder, dataset: Path, *changes: str, **settings: object) -> Path:
    path = tiny.write_train_config(
        folder / "train.json", "unet", fresh_model(model, folder / "model", "unet"), dataset, **settings
    )
    path.write_text(json.dumps(load_config(TrainConfig, path, [*FROM_AUDIO, *changes]).to_json()))
    return path


def trainer_for(model: ModelFolder, dataset: Path, **settings: object) -> UNetTrainer:
    given = {"denoiser": {"backbone": {**tiny.UNET, "label_dim": None}}, "crop_seconds": 1.024, **settings}
    part = component_from_json("train.module_trainers", {"type": "unet.UNetTrainer", **given})
    return part.cls(part.config, model=model, dataset=DatasetFolder(dataset), seed=0)


def random_of(batch: Batch) -> StepRandom:
    indices = batch.indices.tolist()
    return StepRandom(0, first=indices[0], batch_size=len(indices), indices=indices)


def test_the_loss_of_a_crop_is_that_on_stored_latents(model: ModelFolder, stored: Path) -> None:
    of_latents, of_audio = (trainer_for(model, stored, pre_encoded=pre) for pre in (True, False))
    batches = [collate([trainer.validation_data()[index] for index in range(3)]) for trainer in (of_latents, of_audio)]
    losses = []
    for trainer, batch in zip((of_latents, of_audio), batches, strict=True):
        trainer.module.eval()
        with torch.no_grad():
            losses.append(trainer.step(batch, generator=random_of(batch)).score)
    assert torch.allclose(*losses, rtol=1e-3)
    assert float(losses[0].min()) > 0


@pytest.mark.parametrize(("variation", "column"), [(0, 0), (1, 0), (0, 3), (1, 20), (0, 46), (1, 45)])
def test_latents_are_the_stored_ones_wherever_the_crop_lies(
    model: ModelFolder, stored: Path, variation: int, column: int
) -> None:
    """At the track's beginning (0), where its context leaves the track (3), in the middle, and at its end."""
    trainer = trainer_for(model, stored, pre_encoded=False)
    data, track = trainer.train_data(seed=0), DatasetFolder(stored).tracks("train")[0]
    data.place = lambda index: (0, column * COLUMN + variation * COLUMN // 2)
    found = trainer.latents(collate([data[0]]), None).data[0]
    path = DatasetFolder(stored).latents_path(track, trainer.fingerprint)
    wanted = CropReader().read(path, variation, column, trainer.columns)
    assert torch.allclose(found, wanted, atol=1e-3 * float(wanted.abs().max()))


def test_crops_begin_at_every_sample_and_never_leave_their_track(model: ModelFolder, audio_alone: Path) -> None:
    data = trainer_for(model, audio_alone, pre_encoded=False).train_data(seed=0)
    starts = torch.tensor([data.place(index)[1] for index in range(2000)])
    assert 0 <= int(starts.min()) < 100 and 32000 - 16 * COLUMN - 100 < int(starts.max()) <= 32000 - 16 * COLUMN
    within = (starts % 64).bincount(minlength=64)  # of a hop
    assert int((within > 0).sum()) == 64
    assert data.place(7) == trainer_for(model, audio_alone, pre_encoded=False).train_data(seed=0).place(7)


def test_a_crop_is_told_what_is_true_of_its_own_place(model: ModelFolder, audio_alone: Path, tmp_path: Path) -> None:
    backbone = {
        "type": "conditioned.Conditioned",
        "conditioners": {"place": {"type": "numbers.Number"}, "known": {"type": "regions.Known"}},
        "input_concat_ids": ["known"],
        "global_cond_ids": ["place"],
        "backbone": {**tiny.UNET, "label_dim": None},
    }
    fresh = ModelFolder(fresh_model(model, tmp_path / "model", "unet"))
    trainer = trainer_for(fresh, audio_alone, pre_encoded=False, denoiser={"backbone": backbone})
    data, number = trainer.train_data(seed=0), Number.Config()
    for index in range(3):
        seconds = (data.place(index)[1] + 8 * COLUMN) / tiny.SAMPLE_RATE  # its middle
        told = data[index].values["place"]
        assert told.shape == (1, 16)
        assert float(told.mean()) == pytest.approx(float(number._told(torch.tensor([seconds / 4.0]))), abs=0.05)
    batch = collate([data[index] for index in range(4)])
    assert trainer.step(batch, generator=random_of(batch)).loss.isfinite().all()  # "known" tells latents, not audio


def test_transforms_change_training_alone_and_are_refused_where_latents_are_stored(
    model: ModelFolder, audio_alone: Path
) -> None:
    plain, mirrored = (trainer_for(model, audio_alone, pre_encoded=False, transforms=t) for t in ([], [MIRROR]))
    data = plain.train_data(seed=0)
    batch = collate([data[index] for index in range(8)])
    as_is = plain.latents(batch, random_of(batch)).data
    changed = mirrored.latents(batch, random_of(batch)).data
    same = (changed == as_is).flatten(1).all(1)
    assert 0 < int(same.sum()) < 8
    flipped = plain.latents(replace(batch, data=batch.data.flip(1)), None).data
    assert torch.allclose(changed[~same], flipped[~same], atol=1e-5)
    assert torch.equal(mirrored.latents(batch, None).data, as_is)  # as in validation
    with pytest.raises((UserError, ValueError), match=r"transforms: change audio.*pre_encoded"):
        trainer_for(model, audio_alone, transforms=[MIRROR])


def test_encoding_is_in_its_own_precision_and_leaves_no_gradient(model: ModelFolder, audio_alone: Path) -> None:
    trainer = trainer_for(model, audio_alone, pre_encoded=False)
    batch = collate([trainer.train_data(seed=0)[index] for index in range(2)])
    wanted = trainer.latents(batch, None).data
    with torch.autocast("cpu", torch.bfloat16):  # of the training
        assert torch.equal(trainer.latents(batch, None).data, wanted)
    assert wanted.dtype == torch.float32 and not wanted.requires_grad
    trainer.step(batch, generator=random_of(batch)).loss.sum().backward()
    assert all(parameter.grad is None for parameter in trainer.vae.parameters())


def test_a_vae_that_knows_games_is_told_those_that_it_knows(audio_alone: Path, tmp_path: Path) -> None:
    part = component_from_json("dualdiffusion.models", {**tiny.VAE, "label_dim": 2})
    format = component_from_json("dualdiffusion.formats", tiny.FORMAT).build()
    torch.manual_seed(0)
    vae = part.build().eval()
    for name, parameter in vae.named_parameters():
        if name.endswith("gain"):
            torch.nn.init.constant_(parameter, 0.5)
    source = EncodedLatents(DatasetFolder(audio_alone), format, vae, 16, {})
    clip = source.crops("train", 0)[0]
    batch = collate([replace(clip, game_id=game) for game in range(4)])
    first, second, unknown, other = source(batch, None).data
    assert not torch.equal(first, second) and not torch.equal(first, unknown)
    assert torch.allclose(unknown, other, atol=1e-6)  # games that it has never seen: no label


@pytest.mark.slow
def test_a_dataset_without_latents_trains_and_a_run_that_was_stopped_goes_on_bit_for_bit(
    model: ModelFolder, audio_alone: Path, tmp_path: Path
) -> None:
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    changes = ("total_samples=24", f"module_trainer.transforms=[{json.dumps(MIRROR)}]")
    straight, stopped = (
        config_for(tmp_path / name, model, audio_alone, *changes, num_workers=workers)
        for name, workers in (("straight", 0), ("stopped", 1))
    )
    done = tiny.run("train.py", straight)
    assert done.returncode == 0, done.stdout + done.stderr
    assert train_until(stopped, tmp_path / "stopped/model/runs/unet", 16, signal.SIGTERM) == 143
    done = tiny.run("train.py", stopped)
    assert "going on from sample" in done.stdout
    assert_equal(*(digest(tmp_path / name / "model", "unet") for name in ("straight", "stopped")))


@pytest.mark.slow
def test_memory_is_predicted_with_the_encoding(model: ModelFolder, audio_alone: Path, tmp_path: Path) -> None:
    wider = ("micro_batch_size=2", "module_trainer.denoiser.backbone.model_channels=32")
    config = load_config(TrainConfig, config_for(tmp_path, model, audio_alone, *wider))
    plan, _ = make_plan(config, 2)
    seen = (16 + 2 * 9) * COLUMN + 2 * 7 * 64  # on each side by the VAE 9 columns, by the format 7 frames
    assert plan.shapes["audio"] == (2, 2, seen)
    assert predict(config, device_type="cpu").peak == pytest.approx(measure(config), rel=0.1)
    # Of a small network, the encoding is what needs most.
    narrow = "module_trainer.denoiser.backbone.model_channels=8"
    encoding, stored = (
        predict(load_config(TrainConfig, tmp_path / "train.json", [narrow, *more]), device_type="cpu").peak
        for more in ((), ("module_trainer.pre_encoded=true",))
    )
    assert encoding > 1.5 * stored


def test_what_does_not_fit_is_one_line(model: ModelFolder, audio_alone: Path, tmp_path: Path) -> None:
    other = tmp_path / "dataset"
    shutil.copytree(audio_alone, other)
    for rate, channels, word in ((16000, 2, "16000 Hz"), (8000, 1, "1 channels")):
        records = [
            {**record, "sample_rate": rate, "channels": channels} for record in read_jsonl(audio_alone / "train.jsonl")
        ]
        write_jsonl(other / "train.jsonl", records)
        with pytest.raises(UserError, match=word):
            trainer_for(model, other, pre_encoded=False).train_data(seed=0)
    with pytest.raises(UserError, match=r"no track of 10\.24 s or more"):
        trainer_for(model, audio_alone, pre_encoded=False, crop_seconds=10.24).train_data(seed=0)


def test_a_batch_that_comes_through_a_pipe_holds_all_that_it_held() -> None:
    batch = Batch(
        torch.randn(2, 2, 8),
        torch.tensor([0, 1]),
        torch.tensor([4, 5]),
        {"tempo": torch.randn(2, 4, 8)},
        {"tempo": torch.tensor([1.0, 0.0])},
        (3, 1),
    )
    found = PackedBatch.of(batch).unpacked()
    assert found.skips == (3, 1) and torch.equal(found.data, batch.data) and torch.equal(found.indices, batch.indices)
    assert torch.equal(found.values["tempo"], batch.values["tempo"])
    assert torch.equal(found.known["tempo"], batch.known["tempo"])


def test_raw_audio_needs_nothing_around_it(audio_alone: Path) -> None:
    raw = {"type": "waveform.Waveform", "sample_rate": tiny.SAMPLE_RATE, "num_channels": 2, "patch": 16}
    format = component_from_json("dualdiffusion.formats", raw).build()
    identity = with_channels(component_from_json("dualdiffusion.models", {"type": "identity.Identity"}), 32).build()
    source = EncodedLatents(DatasetFolder(audio_alone), format, identity, 40, {})
    data = source.crops("train", 0)
    item, start = data.place(3)
    found = source(collate([data[3]]), None).data
    samples, _ = audio.read(data.tracks[item].path, start=start, frames=40 * 16)
    assert torch.equal(found, format.encode(samples[None]))


def test_without_a_vae_nothing_is_encoded_beforehand(audio_alone: Path, tmp_path: Path) -> None:
    model = ModelFolder(tmp_path / "model")
    identity = {"format": tiny.FORMAT, "vae": {"type": "identity.Identity", "patch": 4}}
    trainer = trainer_for(model, audio_alone, pre_encoded=False, **identity)
    assert model.module_names() == ["format", "vae"]
    batch = collate([trainer.train_data(seed=0)[index] for index in range(8)])
    latents = trainer.latents(batch, None).data
    assert latents.shape == (8, 2 * 4 * 4, 8, trainer.columns)
    assert float(latents.std()) == pytest.approx(1, abs=0.2)  # as its statistics make it
    assert trainer.step(batch, generator=random_of(batch)).loss.isfinite().all()
