"""Transforms: what each does, that it takes only its own random numbers, and that a compiled one is the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dualdiffusion.component import Component, component_from_json
from dualdiffusion.config import InvalidPartError
from dualdiffusion.contracts import Transform
from tests.dualdiffusion.test_contracts import parts

ALL = parts("dualdiffusion.transforms")
AUDIO = torch.randn(64, 2, 100, generator=torch.Generator().manual_seed(0))


def built(name: str, **settings: object) -> nn.Module:
    return component_from_json("dualdiffusion.transforms", {"type": name, **settings}).build()


def changed(transform: nn.Module, data: Tensor = AUDIO) -> tuple[Tensor, Tensor]:
    """What a transform makes of audio, and the random numbers that it was given."""
    random = torch.rand(len(data), transform.numbers, generator=torch.Generator().manual_seed(1))
    return transform({"data": data, "random": random})["data"], random


@pytest.mark.parametrize("part", ALL, ids=lambda part: part.name)
def test_a_transform_keeps_its_contract_and_compiles_to_the_same(part: Component) -> None:
    transform = part.build()
    assert isinstance(transform, Transform)
    random = torch.rand(64, transform.numbers + 2, generator=torch.Generator().manual_seed(1))
    sample = {"data": AUDIO, "random": random, "other": torch.ones(1)}
    result = transform(sample)
    assert torch.equal(result["random"], random[:, transform.numbers :])
    assert torch.equal(result["other"], sample["other"])
    assert result["data"].shape == AUDIO.shape
    assert not torch.equal(result["data"], AUDIO)
    whole = torch.compile(transform, backend="aot_eager", fullgraph=True)
    assert torch.allclose(whole(sample)["data"], result["data"], atol=1e-6)


def test_a_mirror_changes_the_sides_of_its_share_of_the_samples() -> None:
    mirrored, random = changed(built("stereo.Mirror", share=0.3))
    chosen = random[:, 0] < 0.3
    assert 5 < int(chosen.sum()) < 35
    assert torch.equal(mirrored[chosen], AUDIO[chosen].flip(1))
    assert torch.equal(mirrored[~chosen], AUDIO[~chosen])
    assert torch.equal(changed(built("stereo.Mirror", share=1.0), AUDIO[:, :1])[0], AUDIO[:, :1])


def test_a_level_lies_between_both_ends() -> None:
    ratio = changed(built("level.Level", low=-12, high=-6))[0] / AUDIO
    decibels = 20 * ratio.flatten(1).mean(1).log10()
    assert -12 <= float(decibels.min()) < -11
    assert -7 < float(decibels.max()) <= -6
    assert float((ratio - ratio[:, :1, :1]).abs().max()) < 1e-4
    with pytest.raises(InvalidPartError):
        built("level.Level", low=0, high=-1)


def test_silence_is_one_region_inside_the_sample() -> None:
    made, random = changed(built("regions.Silence", share=0.5, longest=0.4))
    chosen = random[:, 0] < 0.5
    assert torch.equal(made[~chosen], AUDIO[~chosen])
    silent = (made[chosen] == 0).all(1)
    assert 0 < int(silent.sum(1).max()) <= 41
    assert all(int((row[1:] != row[:-1]).sum()) <= 2 for row in silent)
    assert torch.equal(made[chosen].mT[~silent], AUDIO[chosen].mT[~silent])
