"""Going back up, by closed form: re-injection in a range of noise levels, and restarts (Xu et al. 2023)."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from dualdiffusion.randomness import SeededNoise
from sampling.solvers.noise import BrownianNoise
from sampling.solvers.renoising import Interval, Renoising, intervals, passes
from sampling.solvers.samplers import ONE_ITEM_AT_A_TIME, SAMPLERS
from sampling.solvers.schedules import SCHEDULES
from tests.sampling.solvers.test_samplers import DATA_MEAN, DATA_STD, STOCHASTIC, counted, denoise, denoise_modes, exact

LEVELS = [10.0, 6.0, 3.0, 1.5, 0.8, 0.4, 0.2, 0.1, 0.0]
AGAIN = Renoising(restarts=2, restart_min=0.3, restart_max=2.0)
BOTH = Renoising(reinjection=0.5, reinjection_min=0.2, reinjection_max=4.0, restarts=2, restart_min=0.3)


def steps_of(renoising: Renoising, levels: list[float] = LEVELS) -> list[Interval]:
    return list(intervals(levels, SeededNoise([0]), None, renoising))


def levels(count: int) -> list[float]:
    return SCHEDULES["edm"](count, sigma_min=0.01, sigma_max=10.0, rho=7.0)


def test_reinjection_in_a_range_leaves_the_steps_outside_as_they_are() -> None:
    inside = {
        interval.sigma for interval in steps_of(Renoising(reinjection=0.5, reinjection_min=0.4, reinjection_max=3.0))
    }
    assert inside == set(LEVELS[:-1])
    for interval in steps_of(Renoising(reinjection=0.5, reinjection_min=0.4, reinjection_max=3.0)):
        overshoots = interval.sigma_next < interval.sigma_end
        assert overshoots == (0.4 < interval.sigma <= 3.0), interval.sigma
        if overshoots:
            assert interval.h == pytest.approx(2 * interval.net_h)


def test_restarts_go_through_their_levels_again_and_noise_leads_there() -> None:
    seen = steps_of(AGAIN)
    down, again = [10.0, 6.0, 3.0, 1.5, 0.8], [1.5, 0.8]
    assert [interval.sigma for interval in seen] == [*down, *again, *again, 0.4, 0.2, 0.1]
    assert [interval.restart for interval in seen if interval.restart] == [1.5, 1.5]
    assert [interval.sigma for interval in seen if interval.starts] == [10.0, 1.5, 1.5]
    assert [interval.again for interval in seen] == [False] * 5 + [True] * 4 + [False] * 3
    assert [(interval.index, interval.steps) for interval in seen] == [(index, 12) for index in range(12)]
    # The noise that leads back up has just the variance that is missing.
    interval = next(interval for interval in seen if interval.restart)
    x = interval.end(torch.zeros(1, 20000), torch.zeros(1, 20000))
    assert float(x.std()) == pytest.approx(math.sqrt(1.5**2 - 0.4**2), rel=0.02)


@pytest.mark.parametrize(
    ("low", "high", "walks"),
    [
        (0.0, 100.0, [(0, 7), (0, 7), (0, 8)]),  # down to the last level above 0 and back to the first
        (0.5, 0.9, [(0, 8)]),  # a single level is no way to go
        (20.0, 30.0, [(0, 8)]),
        (2.0, 1.0, [(0, 8)]),
    ],
)
def test_restarts_take_the_levels_that_lie_inside(low: float, high: float, walks: list[tuple[int, int]]) -> None:
    assert passes(LEVELS, Renoising(restarts=2, restart_min=low, restart_max=high)) == walks
    assert passes(LEVELS, Renoising(restart_min=low, restart_max=high)) == [(0, 8)]


def test_each_restart_shrinks_an_error_as_theory_says() -> None:
    """The ODE scales a distance to the mean by the total standard deviation, and noise leaves it as it is."""
    path, low, high = levels(400), 0.1, 1.0
    ends = [level for level in path if low <= level <= high]
    shrinks = math.sqrt((DATA_STD**2 + ends[-1] ** 2) / (DATA_STD**2 + ends[0] ** 2))
    offset = 8.0
    x = DATA_MEAN + offset + SeededNoise([1]).randn((20000,)) * math.hypot(path[0], DATA_STD)
    without = float(exact(torch.tensor(DATA_MEAN + offset), path[0], 0.0)) - DATA_MEAN
    for restarts in (0, 1, 3):
        renoising = Renoising(restarts=restarts, restart_min=low, restart_max=high)
        result = SAMPLERS["heun"](denoise, x, path, generator=SeededNoise([2]), reinjection=renoising)
        assert float(result.mean()) - DATA_MEAN == pytest.approx(without * shrinks**restarts, abs=0.02)


@pytest.mark.parametrize("renoising", [AGAIN, BOTH])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_distribution_stays_right(name: str, renoising: Renoising) -> None:
    random, path = SeededNoise([0]), levels(90)
    noisy = DATA_MEAN + random.randn((20000,)) * math.hypot(path[0], DATA_STD)
    samples = SAMPLERS[name](denoise, noisy, path, generator=random, reinjection=renoising)
    assert float(samples.mean()) == pytest.approx(DATA_MEAN, abs=0.03)
    assert float(samples.std()) == pytest.approx(DATA_STD, rel=0.12)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_what_is_gone_through_again_has_other_noise_than_before(name: str) -> None:
    """One Brownian path for both passes would make them depend on one another, and the result too narrow or wide."""
    noise, path = BrownianNoise([1], sigma_min=0.01, sigma_max=10.0), levels(90)
    seen: list[float] = []
    ask = noise.noise
    noise.noise = lambda x, sigma, sigma_next: seen.append(sigma) or ask(x, sigma, sigma_next)
    x = noise.randn((5000,)) * math.hypot(10.0, DATA_STD) + DATA_MEAN
    result = SAMPLERS[name](denoise, x, path, generator=noise, reinjection=AGAIN)
    assert float(result.std()) == pytest.approx(DATA_STD, rel=0.14)
    assert all(before >= after for before, after in itertools.pairwise(seen))


@pytest.mark.parametrize("name", SAMPLERS)
def test_seeds_decide_and_items_stay_apart(name: str) -> None:
    seeds, path = [3, 4, 5], levels(12)
    x = SeededNoise(seeds).randn((4, 16)) * 10

    def result(x: torch.Tensor, *seeds: int) -> torch.Tensor:
        return SAMPLERS[name](denoise_modes, x, path, generator=SeededNoise(seeds), reinjection=BOTH)

    alone = result(x[1:2], 4)
    assert torch.equal(alone, result(x[1:2], 4))
    assert not torch.equal(alone, result(x[1:2], 7))
    if name not in ONE_ITEM_AT_A_TIME:
        assert torch.equal(result(x, *seeds)[1:2], alone)


@pytest.mark.parametrize("name", SAMPLERS)
def test_progress_counts_what_is_gone_through_again(name: str) -> None:
    fractions: list[float] = []
    counting, asked = counted(denoise)
    options = {"generator": SeededNoise([0]), "callback": lambda step: fractions.append((step.index + 1) / step.steps)}
    SAMPLERS[name](counting, torch.ones(1, 4) * 10, levels(20), **options, reinjection=AGAIN)
    once, few = counted(denoise)
    SAMPLERS[name](once, torch.ones(1, 4) * 10, levels(20), generator=SeededNoise([0]))
    assert len(asked) > len(few)
    assert fractions == sorted(fractions) and fractions[-1] == 1 and all(fraction < 1 for fraction in fractions[:-1])
