"""Rearranging the code changes no result: trained on from a stored checkpoint, the weights are those of before."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.train.checkpoints import class_path


def test_training_and_sampling_give_what_they_gave_before_bit_for_bit(tmp_path: Path) -> None:
    folder = class_path.unpack(tmp_path)
    before = load_file(folder / class_path.CAME_OUT)
    now = class_path.train_and_sample(folder)
    assert before.keys() == now.keys()
    same_machine = json.loads((folder / class_path.MACHINE).read_text()) == class_path.machine()
    for name, tensor in before.items():
        if same_machine:
            assert torch.equal(now[name], tensor), name
        else:  # other instructions round differently
            torch.testing.assert_close(now[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_the_stored_training_really_trains(tmp_path: Path) -> None:
    folder = class_path.unpack(tmp_path)
    before = load_file(folder / class_path.MODEL / "unet" / "unet.safetensors")
    after = load_file(folder / class_path.CAME_OUT)
    assert any(not torch.equal(after[f"raw/{name}"], tensor) for name, tensor in before.items())
