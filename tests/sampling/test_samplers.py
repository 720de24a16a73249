"""Samplers and schedules by closed form: for Gaussian data the best denoiser, and so the result, is known exactly."""

from __future__ import annotations

import math

import pytest
import torch

from dualdiffusion.randomness import ItemRandom, stratified
from sampling.samplers import SAMPLERS, SamplerStep
from sampling.schedules import SCHEDULES

DATA_STD = 0.5
DATA_MEAN = 1.5
# Order of convergence by theory, of each solver of the probability flow ODE.
ORDERS = {"euler": 1, "heun": 2}


def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[clean | x] for data ~ N(DATA_MEAN, DATA_STD^2)."""
    return DATA_MEAN + (x - DATA_MEAN) * DATA_STD**2 / (DATA_STD**2 + sigma**2)


def exact(x: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """Solution of the probability flow ODE for that denoiser: the distance to the mean scales with the total std."""
    scale = math.sqrt((DATA_STD**2 + end**2) / (DATA_STD**2 + start**2))
    return DATA_MEAN + (x - DATA_MEAN) * scale


def sigmas(steps: int) -> list[float]:
    return SCHEDULES["edm"](steps, sigma_min=0.002, sigma_max=10.0, rho=7.0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_fall_from_sigma_max_over_sigma_min_to_zero(name: str) -> None:
    levels = SCHEDULES[name](8, sigma_min=0.01, sigma_max=80.0, rho=7.0)
    assert len(levels) == 9
    assert levels[0] == pytest.approx(80)
    assert levels[-2] == pytest.approx(0.01)
    assert levels[-1] == 0
    assert levels == sorted(levels, reverse=True)
    assert SCHEDULES[name](1, sigma_min=0.01, sigma_max=80.0, rho=7.0)[1] == 0


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_of_gaussian_data_have_its_mean_and_standard_deviation(name: str) -> None:
    random = ItemRandom([0])
    levels = sigmas(60)
    noisy = DATA_MEAN + random.randn((20000,)) * math.hypot(levels[0], DATA_STD)
    samples = SAMPLERS[name](denoise, noisy, levels, generator=random, callback=None)
    assert float(samples.mean()) == pytest.approx(DATA_MEAN, abs=0.03)
    assert float(samples.std()) == pytest.approx(DATA_STD, rel=0.08)


@pytest.mark.parametrize("name", ORDERS)
def test_the_error_falls_with_the_order_that_theory_gives(name: str) -> None:
    x = torch.linspace(-20, 20, 101, dtype=torch.float64)[None]
    errors = []
    for steps in (32, 64, 128):
        levels = SCHEDULES["edm"](steps, sigma_min=0.5, sigma_max=10.0, rho=7.0)[:-1]
        result = SAMPLERS[name](denoise, x, levels, generator=ItemRandom([0]), callback=None)
        errors.append(float((result - exact(x, levels[0], levels[-1])).abs().max()))
    order = math.log2(errors[1] / errors[2])
    assert order == pytest.approx(ORDERS[name], abs=0.3)


def test_churn_keeps_the_distribution() -> None:
    random = ItemRandom([0])
    levels = sigmas(60)
    samples = SAMPLERS["heun"](denoise, random.randn((20000,)) * levels[0], levels, generator=random, s_churn=30)
    assert float(samples.std()) == pytest.approx(DATA_STD, rel=0.05)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_callback_sees_every_step_and_can_end_the_sampling(name: str) -> None:
    seen: list[SamplerStep] = []

    def callback(step: SamplerStep) -> None:
        seen.append(step)
        if step.index == 2:
            raise KeyError

    with pytest.raises(KeyError):
        SAMPLERS[name](denoise, torch.ones(1, 4), sigmas(5), generator=ItemRandom([0]), callback=callback)
    assert [(step.index, step.steps) for step in seen] == [(0, 5), (1, 5), (2, 5)]
    assert seen[0].sigma == pytest.approx(10)


def test_item_k_of_a_batch_has_the_noise_of_its_seed_alone() -> None:
    batch, alone = ItemRandom([3, 4, 5]), ItemRandom([4])
    for _ in range(2):  # also after earlier draws
        assert torch.equal(batch.randn((2, 3))[1:2], alone.randn((2, 3)))
    with pytest.raises(ValueError, match="2 items"):
        batch.randn_like(torch.zeros(2, 3))


def test_stratified_quantiles_fill_every_slice_once() -> None:
    quantiles = stratified(16, seed=0)
    assert sorted((quantiles * 16).long().tolist()) == list(range(16))
    assert not torch.equal(quantiles, stratified(16, seed=1))
