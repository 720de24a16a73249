"""Devices without float64, such as Apple's GPUs: nothing that samples or measures makes such a tensor there.

The CPU plays such a device: it refuses every tensor of float64, as those do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.diffusion.levels import Discrete
from dualdiffusion.machine.precision import widest_dtype
from dualdiffusion.randomness import SeededNoise
from sampling.foreign import compvis, openai, v_diffusion
from sampling.guidance import Guidance, guided
from sampling.likelihood import log_likelihood
from sampling.solvers.noise import BrownianNoise
from sampling.solvers.samplers import SAMPLERS
from sampling.solvers.schedules import SCHEDULES
from tests import tiny
from tests.gaussian import PREDICTORS

LEVELS = SCHEDULES["edm"](6, sigma_min=0.01, sigma_max=80.0)
FOREIGN = (v_diffusion, lambda call: openai(call, learned_variance=False), compvis)


class Refusing(TorchDispatchMode):
    """Inside the block, float64 is refused."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(part, Tensor) and part.dtype == torch.float64 for part in tree_iter(result)):
            raise TypeError(f"{func}: this device has no float64")
        return result


@pytest.fixture
def poor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The CPU as a device without float64."""
    for module in ("sampling.likelihood", "dualdiffusion.diffusion.levels"):
        monkeypatch.setattr(f"{module}.widest_dtype", lambda device: torch.float32)
    with Refusing():
        yield


def network(x: Tensor, told: Tensor) -> Tensor:
    return x * torch.cos(told.float())[:, None, None, None]


def test_which_devices_lack_it_and_that_it_is_refused_here(poor: None) -> None:
    known = {name: widest_dtype(torch.device(name)) for name in ("cpu", "cuda", "mps")}
    assert known == {"cpu": torch.float64, "cuda": torch.float64, "mps": torch.float32}
    with pytest.raises(TypeError, match="no float64"):
        torch.ones(2).double()


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_with_either_noise(poor: None, name: str) -> None:
    for noise in (SeededNoise([0]), BrownianNoise([0], sigma_min=0.01, sigma_max=80.0)):
        x = 80 * noise.randn((2, 4, 8))
        assert SAMPLERS[name](lambda x, sigma: x / (1 + sigma**2), x, LEVELS, generator=noise).isfinite().all()


@pytest.mark.parametrize("cls", PREDICTORS, ids=lambda cls: cls.__name__)
def test_predictors_however_the_noise_level_is_told(poor: None, cls: type) -> None:
    for told in ({}, {"input": "time"}, {"input": "levels", "levels": Discrete.Config()}):
        if cls.__name__ == "EDM" and told:
            continue
        predictor = build_elsewhere(lambda told=told: cls(cls.Config(**told)))
        sigma = torch.tensor([0.02, 1.0, 50.0])
        made = [*vars(predictor.scalings(sigma, 0.5)).values(), predictor.noise(sigma, 0.5)]
        assert all(tensor.isfinite().all() for tensor in made)


def build_elsewhere(build: Callable[[], Any]) -> Any:
    """On the CPU as it is: tables are made there, and brought to the device in what it has."""
    with torch.utils._python_dispatch._disable_current_modes():
        return build()


def test_a_likelihood_is_nearly_that_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    for wrap in FOREIGN:
        denoiser = wrap(network)
        wanted = log_likelihood(denoiser, x, steps=8)
        assert wanted.dtype == torch.float64
        with monkeypatch.context() as patch, Refusing():
            for module in ("sampling.likelihood", "dualdiffusion.diffusion.levels"):
                patch.setattr(f"{module}.widest_dtype", lambda device: torch.float32)
            found = log_likelihood(denoiser, x, steps=8)
        assert found.dtype == torch.float32
        assert float((found - wanted).abs().max()) < 1e-4 * max(1.0, math.fabs(float(wanted.abs().max())))


def test_guidance(poor: None) -> None:
    denoiser = build_elsewhere(tiny.make_denoiser)
    asked, guidance = Conditioning(torch.ones(1, 3)), Guidance(rescale=0.3, projected_parallel=0.0)
    denoise = guided(denoiser, asked, cfg_scale=2.0, position=None, guidance=guidance)
    assert denoise(torch.ones(1, 4, 4, 8), 1.0).isfinite().all()
