"""Noise for samplers: unit normal, one stream per item, and of Brownian noise: one path whatever the steps."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from dualdiffusion.randomness import SeededNoise
from sampling.solvers.noise import BrownianNoise, NoiseSource
from sampling.solvers.samplers import ONE_ITEM_AT_A_TIME, SAMPLERS
from sampling.solvers.schedules import SCHEDULES

LOW, HIGH = 0.01, 80.0
X = torch.zeros(1, 20000)
# Samplers whose noise belongs to intervals. What churn and re-injection add is white.
SDE = [name for name in SAMPLERS if (SAMPLERS[name].__kwdefaults__ or {}).get("eta") == 1.0]


def brownian(*seeds: int) -> BrownianNoise:
    return BrownianNoise(seeds, sigma_min=LOW, sigma_max=HIGH)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).mean() / (a.std() * b.std()))


def test_noise_of_any_interval_is_unit_normal_and_apart_ones_are_independent() -> None:
    source = brownian(0)
    levels = [80.0, 79.0, 20.0, 3.0, 0.7, 0.11, 0.1, 0.01]
    parts = [source.noise(X, high, low) for high, low in itertools.pairwise(levels)]
    for part in parts:
        assert float(part.mean()) == pytest.approx(0, abs=0.03)
        assert float(part.std()) == pytest.approx(1, rel=0.02)
        assert float((part**4).mean()) == pytest.approx(3, abs=0.2)
    for a, b in itertools.combinations(parts, 2):
        assert abs(correlation(a, b)) < 0.03


@pytest.mark.parametrize("levels", [[80.0, 5.0, 0.01], [9.0, 8.99, 8.5], [3.0, 2.0, 1.0, 0.5], [0.012, 0.011, 0.01]])
def test_the_noise_of_an_interval_is_the_sum_of_its_parts(levels: list[float]) -> None:
    source = brownian(0)

    def increment(high: float, low: float) -> torch.Tensor:
        return source.noise(X, high, low) * math.sqrt(math.log(high / low))

    parts = sum(increment(high, low) for high, low in itertools.pairwise(levels))
    # Levels are rounded to a grid, so that the lengths that an increment is divided by are not quite these.
    assert float((parts - increment(levels[0], levels[-1])).abs().max()) < 0.05 * math.sqrt(
        math.log(levels[0] / levels[-1])
    )


def test_the_path_does_not_depend_on_what_was_asked_before() -> None:
    source, other = brownian(7), brownian(7)
    for level in (79.0, 40.0, 3.0, 0.02, 61.0):
        other.noise(X, HIGH, level)
    assert torch.equal(source.noise(X, 3.1, 0.4), other.noise(X, 3.1, 0.4))
    assert not torch.equal(source.noise(X, 3.1, 0.4), brownian(8).noise(X, 3.1, 0.4))
    small = torch.zeros(1, 3, 4)
    assert torch.equal(source.noise(small, 3.1, 0.4), brownian(7).noise(small, 3.1, 0.4))  # nothing kept of X's shape


def test_what_is_kept_does_not_grow_with_the_steps() -> None:
    source = brownian(0)
    levels = SCHEDULES["edm"](300, sigma_min=LOW, sigma_max=HIGH, rho=7.0)
    for high, low in itertools.pairwise(levels[:-1]):
        source.noise(X[:, :4], high, low)
    assert len(source._points) <= BrownianNoise.CACHE


def test_item_k_of_a_batch_is_its_seed_alone_bit_for_bit() -> None:
    shape = (2, 5)
    batch, alone = brownian(3, 4, 5), brownian(4)
    for high, low in ((80.0, 30.0), (30.0, 29.0), (1.0, 0.01)):
        assert torch.equal(
            batch.noise(torch.zeros(3, *shape), high, low)[1:2], alone.noise(torch.zeros(1, *shape), high, low)
        )
    assert torch.equal(batch.randn_like(torch.zeros(3, *shape))[1:2], alone.randn_like(torch.zeros(1, *shape)))
    for source in (batch, SeededNoise([3, 4, 5])):
        with pytest.raises(ValueError, match="2 items"):
            source.noise(torch.zeros(2, *shape), 2.0, 1.0)


def test_levels_beyond_the_ends_and_intervals_below_the_grid_still_give_unit_noise() -> None:
    source = brownian(0)
    for high, low in ((500.0, 80.0), (0.01, 0.0), (1.0 + 1e-9, 1.0), (0.01, 0.001)):
        assert float(source.noise(X, high, low).std()) == pytest.approx(1, rel=0.02)
    assert float(source.noise(X, 500.0, 0.0).std()) == pytest.approx(1, rel=0.02)
    for ends in ((1.0, 1.0), (0.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="sigma_min"):
            BrownianNoise([0], sigma_min=ends[0], sigma_max=ends[1])


def test_the_initial_noise_is_that_of_the_seed_and_apart_from_the_path() -> None:
    source = brownian(5)
    initial = source.randn(X.shape[1:])
    assert torch.equal(initial, SeededNoise([5]).randn(X.shape[1:]))
    assert abs(correlation(initial, source.noise(X, HIGH, LOW))) < 0.03


def test_noise_has_the_type_of_x() -> None:
    for source in (brownian(0), SeededNoise([0])):
        assert source.noise(X.double(), 2.0, 1.0).dtype == torch.float64


def change_by_doubling(name: str, source: type[SeededNoise], steps: int) -> float:
    """Root mean square change of the result when each step is halved, for Gaussian data of standard deviation 0.5."""

    def result(steps: int) -> torch.Tensor:
        noise: NoiseSource = brownian(1) if source is BrownianNoise else SeededNoise([1])
        levels = SCHEDULES["exponential"](steps + 1, sigma_min=LOW, sigma_max=HIGH, rho=1.0)
        return SAMPLERS[name](lambda x, sigma: x * 0.25 / (0.25 + sigma**2), 80 * start, levels, generator=noise)

    start = SeededNoise([2]).randn((500,))
    return float((result(2 * steps) - result(steps)).square().mean().sqrt())


@pytest.mark.parametrize("name", SDE)
def test_with_brownian_noise_a_sampler_converges_as_steps_grow_and_with_white_noise_not(name: str) -> None:
    few, more = (change_by_doubling(name, BrownianNoise, steps) for steps in (25, 100))
    assert more < 0.6 * few
    assert more < 0.15
    assert change_by_doubling(name, SeededNoise, 100) > 0.4  # two independent samples are 0.7 apart


@pytest.mark.parametrize("reinjection", [0.0, 0.5])
@pytest.mark.parametrize("name", SDE)
def test_brownian_noise_keeps_the_distribution(name: str, reinjection: float) -> None:
    levels = SCHEDULES["edm"](90, sigma_min=LOW, sigma_max=10.0, rho=7.0)
    noise = BrownianNoise([1], sigma_min=LOW, sigma_max=10.0)
    x = noise.randn((5000,)) * math.hypot(10.0, 0.5)
    result = SAMPLERS[name](
        lambda x, sigma: x * 0.25 / (0.25 + sigma**2), x, levels, generator=noise, reinjection=reinjection
    )
    assert float(result.std()) == pytest.approx(0.5, rel=0.14)


@pytest.mark.parametrize("name", sorted(set(SDE) - ONE_ITEM_AT_A_TIME))
def test_a_sampler_with_brownian_noise_treats_each_item_as_alone(name: str) -> None:
    levels = SCHEDULES["edm"](5, sigma_min=LOW, sigma_max=HIGH, rho=7.0)
    x = 80 * SeededNoise([3, 4]).randn((4, 16))
    batch = SAMPLERS[name](lambda x, sigma: x / (1 + sigma**2), x, levels, generator=brownian(3, 4))
    alone = SAMPLERS[name](lambda x, sigma: x / (1 + sigma**2), x[1:], levels, generator=brownian(4))
    assert torch.equal(batch[1:], alone)
