"""A training step only queues work on its device: it never waits for a number to come back."""

from __future__ import annotations

from pathlib import Path

import torch

from dualdiffusion.component import component_from_json
from dualdiffusion.data.audio_crops import Batch
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.randomness import StepRandom
from tests import tiny
from train.module_trainers.unet import UNetTrainer


def unet_trainer(model: ModelFolder, dataset: Path) -> UNetTrainer:
    settings = {"denoiser": {"backbone": {**tiny.UNET, "label_dim": None}}, "crop_seconds": 1.024}
    part = component_from_json("train.module_trainers", {"type": "unet.UNetTrainer", **settings})
    return part.cls(part.config, model=model, dataset=DatasetFolder(dataset), seed=0)


def batch_of(count: int, device: str) -> tuple[Batch, StepRandom]:
    games = torch.arange(count) % len(tiny.GAMES)
    batch = Batch(torch.zeros(count, 4, 4, 8, device=device), games, torch.arange(count))
    return batch, StepRandom(0, first=0, batch_size=count, indices=range(count))


def test_the_unets_step_reads_nothing_back(model: ModelFolder, dataset: Path) -> None:
    trainer = unet_trainer(model, dataset)
    for device in ("cpu", "meta"):  # on the meta device there are no numbers, and whatever asks for one fails
        trainer.module.to(device)
        trainer.to(device)
        batch, random = batch_of(8, device)
        output = trainer.step(batch, generator=random)
        assert output.loss.device.type == device
        assert output.loss.shape == (8,)


def test_each_sample_is_counted_in_the_range_of_its_noise_level(model: ModelFolder, dataset: Path) -> None:
    trainer = unet_trainer(model, dataset)
    batch, random = batch_of(16, "cpu")
    output = trainer.step(batch, generator=random)
    by_range = {key: value for key, value in output.metrics.items() if key.startswith("loss_by_sigma/")}
    assert len(by_range) == trainer.config.loss_buckets
    sigma, weighted = output.metrics["histogram/ln_sigma"].exp(), output.metrics["loss/weighted"]
    for key, losses in by_range.items():
        low, high = map(float, key.removeprefix("loss_by_sigma/").rsplit("-", 1))
        inside = (sigma > low * 0.99) & (sigma < high * 1.01)
        assert set(losses.tolist()) <= set(weighted[inside].tolist())
    assert sorted(torch.cat(list(by_range.values())).tolist()) == sorted(weighted.tolist())
    share = sum(v for k, v in output.metrics.items() if k.startswith("effective_weight_by_sigma/"))
    assert torch.allclose(share, trainer.config.loss_buckets * torch.exp(-output.metrics["loss/logvar"]))
