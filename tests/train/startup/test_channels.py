"""Numbers of channels are nothing to configure: they follow from format and autoencoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dualdiffusion.component import component_from_json
from dualdiffusion.config import load_config
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, read_jsonl, write_jsonl
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module, save_module
from tests import tiny
from train.denoiser.setup import settled_denoiser
from train.module_trainers.unet import UNetTrainer
from train.startup.channels import with_channels
from train.startup.initial_weights import Source
from train.train_config import TrainConfig

CHANNELS = 6


@pytest.fixture
def wide(tmp_path: Path) -> ModelFolder:
    """A model without a UNet, whose VAE has other latent channels than a UNet has by itself."""
    folder = ModelFolder(tmp_path / "model")
    tiny.labels().save(folder.labels_path)
    format = component_from_json("dualdiffusion.formats", tiny.FORMAT).build()
    save_module(folder, "format", format)
    vae = component_from_json("dualdiffusion.models", {**tiny.VAE, "latent_channels": CHANNELS})
    save_module(folder, "vae", vae.build())
    return folder


def told(**known: object) -> dict:
    return {
        "type": "conditioned.Conditioned",
        "conditioners": {"known": {"type": "regions.Known", **known}},
        "input_concat_ids": ["known"],
        "backbone": {**tiny.UNET, "label_dim": None},
    }


def trainer_for(model: ModelFolder, dataset: Path, backbone: dict) -> UNetTrainer:
    settings = {"type": "unet.UNetTrainer", "denoiser": {"backbone": backbone}, "crop_seconds": 1.024}
    part = component_from_json("train.module_trainers", settings)
    return part.cls(part.config, model=model, dataset=DatasetFolder(dataset), seed=0)


def test_a_unet_has_the_channels_of_its_vae_and_so_have_its_conditioners(wide: ModelFolder, dataset: Path) -> None:
    module = trainer_for(wide, dataset, told()).module
    assert module.in_channels == CHANNELS
    assert module.told["known"].columns_told == CHANNELS + 1
    save_module(wide, "unet", module)
    stored = read_json(wide.config_path("unet"))["config"]["backbone"]
    assert stored["backbone"]["in_channels"] == stored["conditioners"]["known"]["latent_channels"] == CHANNELS
    assert trainer_for(wide, dataset, told()).module.in_channels == CHANNELS  # the same settings: it goes on
    given = component_from_json("dualdiffusion.diffusion", {"type": "preconditioning.Denoiser", "backbone": told()})
    assert Source(wide, wide, None).part("unet", given, "module_trainer.denoiser") is given  # it may start from it too


def test_a_key_by_rows_has_the_bands_of_its_format(wide: ModelFolder, dataset: Path) -> None:
    backbone = {**told(), "conditioners": {"known": {"type": "keys.KeyRows"}}}
    # No track has a key: the conditioner is looked at before that is told.
    with pytest.raises(UserError, match="told known, but no track has facts of it"):
        trainer_for(wide, dataset, backbone)
    given = component_from_json(
        "train.module_trainers", {"type": "unet.UNetTrainer", "denoiser": {"backbone": backbone}}
    )
    format, vae = (load_module(wide, name) for name in ("format", "vae"))
    part = settled_denoiser(given.config, wide.labels(), wide, (format, vae))
    key = part.build().told["known"]
    rows = format.rows // vae.downsampling
    assert torch.allclose(torch.tensor(key.row_bands).flatten(), format.centers().float(), rtol=1e-4)
    assert len(key.row_bands) == rows
    few = {**told(), "conditioners": {"known": {"type": "keys.KeyRows", "row_bands": [[100.0, 200.0]]}}}
    with pytest.raises(UserError, match=rf"known\.row_bands: has 1 rows, but the VAE gives {rows}; leave it out"):
        trainer_for(wide, dataset, few)


@pytest.mark.parametrize(
    ("backbone", "key"),
    [
        ({**tiny.UNET, "label_dim": None, "in_channels": 4}, r"backbone\.in_channels: is 4, but the VAE has 6"),
        (told(latent_channels=4), r"backbone\.conditioners\.known\.latent_channels: is 4, but the VAE has 6"),
    ],
)
def test_a_number_that_is_given_and_wrong_is_one_line(
    wide: ModelFolder, dataset: Path, backbone: dict, key: str
) -> None:
    with pytest.raises(UserError, match=rf"module_trainer\.denoiser\.{key} latent channels; leave it out"):
        trainer_for(wide, dataset, backbone)


def test_transformers_have_them_too_and_the_line_names_their_own_key(wide: ModelFolder, dataset: Path) -> None:
    transformer = {"type": "dit.DiT", "width": 16, "depth": 1, "heads": 1}
    assert trainer_for(wide, dataset, transformer).module.in_channels == CHANNELS
    adapted = {**told(), "backbone": {**transformer, "channels": 4}}
    with pytest.raises(UserError, match=r"denoiser\.backbone\.backbone\.channels: is 4, but the VAE has 6"):
        trainer_for(wide, dataset, adapted)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch": [2]}, r"denoiser\.backbone\.patch: takes 1 latent rows, but the VAE gives"),
        ({"patch": [3, 2]}, r"denoiser\.backbone\.patch: takes a multiple of 3 latent rows"),
    ],
)
def test_a_network_for_other_rows_is_one_line_that_names_its_key(
    wide: ModelFolder, dataset: Path, changes: dict, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        trainer_for(wide, dataset, {"type": "dit.DiT", "width": 16, "depth": 1, "heads": 1, **changes})


def test_a_vae_and_an_identity_have_the_channels_of_their_format(dataset: Path, tmp_path: Path) -> None:
    mono = tmp_path / "mono"
    mono.mkdir()
    for split in ("train", "validation"):
        write_jsonl(mono / f"{split}.jsonl", [{**r, "channels": 1} for r in read_jsonl(dataset / f"{split}.jsonl")])
    format = {**tiny.FORMAT, "num_channels": 1}
    config = load_config(
        TrainConfig,
        tiny.write_train_config(tmp_path / "c.json", "vae", tmp_path / "m", mono),
        [f"module_trainer.format={json.dumps(format)}"],
    )
    part, model = config.module_trainer, ModelFolder(config.model)
    plan = part.cls.plan(part.config, model=model, labels=tiny.labels(), batch_size=1)
    assert plan.module.in_channels == 1 and plan.shapes["spectrogram"][1] == 1
    identity = component_from_json("dualdiffusion.models", {"type": "identity.Identity", "patch": 2})
    assert with_channels(identity, 1).build().latent_channels == 4
    given = component_from_json("dualdiffusion.models", {"type": "identity.Identity", "channels": 2, "patch": 2})
    assert with_channels(given, 1).build().latent_channels == 8  # what is said stays, and is told where it is wrong
