"""Model folders: what is saved is what is loaded, and nothing else can be loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module
from tests import tiny

MODULES = ("format", "vae", "unet")


@pytest.fixture
def copy(model: ModelFolder, tmp_path: Path) -> ModelFolder:
    shutil.copytree(model.path, tmp_path / "moved")
    return ModelFolder(tmp_path / "moved")


@pytest.mark.parametrize("name", MODULES)
def test_a_model_folder_can_be_moved_and_loaded_elsewhere(model: ModelFolder, copy: ModelFolder, name: str) -> None:
    original, moved = load_module(model, name), load_module(copy, name)
    assert original.config == moved.config
    for (key, a), b in zip(original.state_dict().items(), moved.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    assert model.fingerprint(name) == copy.fingerprint(name)


def test_the_fingerprint_of_a_vae_changes_with_its_weights_and_with_its_format(copy: ModelFolder) -> None:
    before = copy.fingerprint("vae")
    path = copy.weights_path("format")
    save_file({**load_file(path), "mean": torch.tensor(0.5)}, path)
    after_format = copy.fingerprint("vae")
    weights = load_file(copy.weights_path("vae"))
    weights["output_gain"] += 1
    save_file(weights, copy.weights_path("vae"))
    assert len({before, after_format, copy.fingerprint("vae")}) == 3


def edit_json(path: Path, change: dict) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("unet/unet.json", {"type": "os/path.Join"}, "does not describe a module"),
        ("unet/unet.json", {"config": {"backbone": {"type": "os.System"}}}, "no file os.py in models/"),
        ("unet/unet.json", {"config": {"backbone": {**tiny.UNET, "model_channels": 16}}}, "the config says"),
        ("model_index.json", {"format_version": 99}, "this software reads version 1"),
        ("model_index.json", {"modules": []}, "is not a model index"),
    ],
)
def test_folders_that_lie_are_refused_in_one_line(copy: ModelFolder, name: str, change: dict, message: str) -> None:
    edit_json(copy.path / name, change)
    with pytest.raises(UserError, match=message) as error:
        load_module(copy, "unet")
    assert "\n" not in str(error.value)


def test_damaged_weights_are_named(copy: ModelFolder) -> None:
    path = copy.weights_path("vae")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged weights"):
        load_module(copy, "vae")


def test_missing_parts_are_answered_with_what_to_do(copy: ModelFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no EMA 'ema_9'; it has: raw"):
        load_module(copy, "unet", ema="ema_9")
    with pytest.raises(UserError, match=r"accelerate launch train\.py"):
        load_module(ModelFolder(tmp_path / "none"), "vae")
    with pytest.raises(UserError, match="make demo-model"):
        ModelFolder(tmp_path / "none").labels()


def test_asking_where_a_module_is_does_not_gather_its_weights(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = [load_module(model, name) for name in MODULES]
    monkeypatch.setattr(torch.nn.Module, "state_dict", None)  # which makes a new dictionary of all tensors
    assert [module.device for module in modules] == [torch.device("cpu")] * 3
