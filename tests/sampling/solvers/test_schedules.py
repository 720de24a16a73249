"""Schedules by what they are evenly spaced in, over the ranges that a request allows; and their picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sampling.command.schedule_picture import schedule_picture
from sampling.solvers.samplers import SAMPLERS
from sampling.solvers.schedules import EVEN_SHARE, NEED_ERROR, SCHEDULES

RANGES = [(1e-4, 1000.0), (0.01, 80.0), (1e-4, 1.1e-4), (9.99999, 10.0), (1.0, 1.0 + 1e-6)]


def flat(sigmas: list[float]) -> list[float]:
    return [1.0] * len(sigmas)


def well_known(sigmas: list[float]) -> list[float]:
    """The error of a model that knows much about the data around sigma 1 and nothing at the ends."""
    return [1 - 0.8 * math.exp(-(math.log(sigma) ** 2) / 2) for sigma in sigmas]


def levels_of(name: str, steps: int, low: float = 0.01, high: float = 80.0, rho: float = 7.0) -> list[float]:
    return SCHEDULES[name](steps, sigma_min=low, sigma_max=high, rho=rho, error=well_known)


@pytest.mark.parametrize("rho", [1.0, 7.0, 100.0])
@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize("name", SCHEDULES)
def test_levels_fall_strictly_from_sigma_max_to_sigma_min_and_then_to_zero(
    name: str, ends: tuple[float, float], rho: float
) -> None:
    low, high = ends
    for steps in (1, 2, 3, 30, 1000):
        levels = levels_of(name, steps, low, high, rho)
        assert len(levels) == steps + 1
        assert levels[0] == high
        assert levels[-1] == 0
        assert steps == 1 or levels[-2] == low
        assert all(a > b for a, b in itertools.pairwise(levels))


@pytest.mark.parametrize(
    ("name", "rho", "scale"),
    [
        ("edm", 7.0, lambda s: s ** (1 / 7)),
        ("exponential", 7.0, math.log),
        ("polyexponential", 1.0, math.log),
        ("polyexponential", 3.0, lambda s: math.log(s / 0.01) ** (1 / 3)),
        ("linear", 7.0, lambda s: s),
        ("edm", 1.0, lambda s: s),
        ("cosine", 7.0, math.atan),
        ("flow", 7.0, lambda s: s / (1 + s)),
        # The time at which the variance preserving process has this noise, from the quadratic formula.
        ("vp", 7.0, lambda s: (math.sqrt(0.1**2 + 2 * 19.9 * math.log(1 + s * s)) - 0.1) / 19.9),
    ],
)
def test_levels_are_evenly_spaced_in(name: str, rho: float, scale: Callable[[float], float]) -> None:
    values = [scale(sigma) for sigma in levels_of(name, 12, rho=rho)[:-1]]
    differences = [b - a for a, b in itertools.pairwise(values)]
    assert differences == pytest.approx([(values[-1] - values[0]) / 11] * 11, rel=1e-3)


def test_rho_crowds_the_levels_towards_low_noise() -> None:
    for name in ("edm", "polyexponential"):
        means = [np.mean(np.log(levels_of(name, 30, rho=rho)[:-1])) for rho in (1.0, 2.0, 7.0)]
        assert means == sorted(means, reverse=True)


def test_learned_with_a_flat_error_is_cosine_but_for_the_even_share() -> None:
    levels = SCHEDULES["learned"](12, sigma_min=0.01, sigma_max=80.0, rho=7.0, error=flat)[:-1]

    def share(sigma: float) -> float:
        cosine = (math.atan(sigma) - math.atan(0.01)) / (math.atan(80) - math.atan(0.01))
        return (1 - EVEN_SHARE) * cosine + EVEN_SHARE * math.log(sigma / 0.01) / math.log(80 / 0.01)

    assert [share(sigma) for sigma in levels] == pytest.approx([1 - k / 11 for k in range(12)], abs=1e-3)


def test_learned_takes_more_steps_where_the_model_errs_more() -> None:
    def steps_between(low: float, high: float, error: Callable[[list[float]], list[float]]) -> int:
        levels = SCHEDULES["learned"](200, sigma_min=0.01, sigma_max=80.0, rho=7.0, error=error)
        return sum(low < sigma < high for sigma in levels)

    def errs_at_low_noise(sigmas: list[float]) -> list[float]:
        return [0.9 if sigma < 0.5 else 0.1 for sigma in sigmas]

    def errs_at_high_noise(sigmas: list[float]) -> list[float]:
        return [0.1 if sigma < 0.5 else 0.9 for sigma in sigmas]

    low = [steps_between(0.01, 0.5, error) for error in (errs_at_low_noise, flat, errs_at_high_noise)]
    assert low[0] > 1.3 * low[1] > 1.5 * low[2]
    # Only the ratios of errors matter.
    whole = levels_of("learned", 30)
    halved = SCHEDULES["learned"](
        30, sigma_min=0.01, sigma_max=80.0, rho=7.0, error=lambda sigmas: [e / 2 for e in well_known(sigmas)]
    )
    assert halved == pytest.approx(whole)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -3.0, 1e300])
def test_learned_bears_errors_that_make_no_sense(bad: float) -> None:
    for everywhere in (True, False):
        levels = SCHEDULES["learned"](
            30,
            sigma_min=0.01,
            sigma_max=80.0,
            rho=7.0,
            error=lambda sigmas, everywhere=everywhere: [bad if everywhere or sigma > 1 else 0.5 for sigma in sigmas],
        )
        assert all(a > b for a, b in itertools.pairwise(levels))
        assert max(math.log(a / b) for a, b in itertools.pairwise(levels[:-1])) < 3  # the even share sees to that


def test_only_those_named_need_the_models_error() -> None:
    for name, schedule in SCHEDULES.items():
        if name in NEED_ERROR:
            with pytest.raises(ValueError, match="error"):
                schedule(5, sigma_min=0.01, sigma_max=80.0, rho=7.0)
        else:
            assert schedule(5, sigma_min=0.01, sigma_max=80.0, rho=7.0) == levels_of(name, 5)


def test_learned_costs_less_error_than_edm_at_equal_steps() -> None:
    """For data of two modes, whose best denoiser and its mean squared error are known; against 600 steps."""
    means, std = torch.tensor([-0.98, 0.98], dtype=torch.float64), 0.2

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        variance = std**2 + sigma**2
        share = (-((x[..., None] - means) ** 2) / (2 * variance)).softmax(-1)
        return (share * (means + (x[..., None] - means) * std**2 / variance)).sum(-1)

    normal = torch.linspace(-5, 5, 801, dtype=torch.float64)
    weight = (-(normal**2) / 2).exp() / (-(normal**2) / 2).exp().sum()

    def error(sigmas: list[float]) -> list[float]:
        known = [float((weight * denoise(means[1] + math.hypot(std, s) * normal, s) ** 2).sum()) for s in sigmas]
        return [(1 - k) * (1 + s**2) / s**2 for k, s in zip(known, sigmas, strict=True)]

    x = 80 * torch.linspace(-2.5, 2.5, 501, dtype=torch.float64)[None]

    def result(sampler: str, schedule: str, steps: int) -> torch.Tensor:
        levels = SCHEDULES[schedule](steps, sigma_min=0.01, sigma_max=80.0, rho=7.0, error=error)
        return SAMPLERS[sampler](denoise, x, levels, generator=None)

    best = result("heun", "edm", 600)
    for sampler in ("euler", "heun"):
        errors = [float((result(sampler, name, 14) - best).square().mean().sqrt()) for name in ("learned", "edm")]
        assert errors[0] < 0.75 * errors[1]


def test_the_picture_shows_every_schedule_and_the_error() -> None:
    schedules = {name: levels_of(name, 30) for name in SCHEDULES}
    picture = schedule_picture(schedules, well_known)
    colors = {color for count, color in picture.getcolors(1 << 20) if count > 100}
    alone = [schedule_picture({name: levels}) for name, levels in itertools.islice(schedules.items(), 1)]
    assert len(colors) >= len(SCHEDULES) + 2  # and ink and paper
    assert picture.width > alone[0].width
    higher, lower = (
        np.argwhere(np.array(schedule_picture({"a": [*levels, 0.0]}))[..., 2] == 140)[:, 0].mean()
        for levels in ([80.0, 60.0, 0.01], [80.0, 0.02, 0.01])
    )
    assert higher < lower  # pixels count from above


@pytest.mark.parametrize(
    "levels",
    [
        [1.0],
        [1.0, 0.0],
        [10.0, 9.999999, 0.0],
        [1000.0, 1e-300, 0.0],
        SCHEDULES["edm"](1000, sigma_min=1e-4, sigma_max=1e3, rho=7),
    ],
)
def test_any_levels_can_be_drawn(levels: list[float]) -> None:
    for error in (None, flat, lambda sigmas: [math.nan] * len(sigmas), lambda sigmas: [0.0] * len(sigmas)):
        assert schedule_picture({"x": levels}, error).height > 300


def test_nothing_to_draw_is_said() -> None:
    for nothing in ({}, {"x": [0.0]}):
        with pytest.raises(ValueError, match="level above 0"):
            schedule_picture(nothing)
