"""Distances between sets of clips against their closed forms, and intervals against their coverage."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sampling.evaluation.distances import (
    KernelMatrices,
    frechet,
    frechet_distance,
    frechet_extrapolated,
    gaussian,
    gaussian_kernel,
    median_distance,
    needs_shrinking,
    polynomial_kernel,
)
from sampling.evaluation.statistics import (
    Quartiles,
    Resampler,
    centred_interval,
    corrected_interval,
    median_difference,
    percentile_interval,
    proportion,
)
from tests.sampling.evaluation.draws import normal, seeded


def random_covariance(size: int, seed: int) -> Tensor:
    x = torch.randn(size, 2 * size, generator=seeded(seed), dtype=torch.float64)
    return x @ x.T / size


# The Frechet distance


def test_the_frechet_distance_of_diagonal_gaussians_is_that_of_means_and_standard_deviations() -> None:
    a, b = torch.tensor([4.0, 1.0, 0.0]).double(), torch.tensor([1.0, 9.0, 2.0]).double()
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    expected = mean.square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    assert frechet(mean, a.diag(), torch.zeros(3).double(), b.diag()) == pytest.approx(float(expected))


def test_the_trace_of_the_root_of_a_product_has_its_closed_form_in_two_dimensions() -> None:
    a, b, zero = random_covariance(2, 0), random_covariance(2, 1), torch.zeros(2).double()
    product = a @ b  # eigenvalues p, q: (sqrt p + sqrt q)^2 = p + q + 2 sqrt(p q)
    cross = (product.trace() + 2 * product.det().sqrt()).sqrt()
    assert not torch.allclose(product, product.T)
    assert frechet(zero, a, zero, b) == pytest.approx(float(a.trace() + b.trace() - 2 * cross))
    assert frechet(zero, a, zero, b) == pytest.approx(frechet(zero, b, zero, a))


def test_equal_sets_are_at_distance_zero_also_with_fewer_frames_than_dimensions() -> None:
    for count in (5, 200):
        x = normal(count, 20, 0)
        assert needs_shrinking(x, x) == (count < 20)
        for shrink in (False, True):
            assert frechet_distance(x, x, shrink=shrink) == pytest.approx(0, abs=1e-8)
            moved = frechet_distance(x, x + 0.5, shrink=shrink)
            assert moved == pytest.approx(20 * 0.25, rel=1e-6)


def test_shrinkage_is_large_for_noise_and_small_for_what_many_frames_show() -> None:
    assert gaussian(normal(30, 20, 0)).shrinkage > 0.8
    stretched = normal(5000, 20, 0) * torch.linspace(0.1, 3, 20).double()
    assert gaussian(stretched).shrinkage < 0.01
    sphere = gaussian(stretched)
    assert sphere.shrunk(1.0).diagonal().std() == pytest.approx(0, abs=1e-12)
    assert float(sphere.shrunk(0.5).trace()) == pytest.approx(float(sphere.covariance.trace()))


def test_extrapolation_takes_away_most_of_the_bias_of_few_clips() -> None:
    groups = [index % 3 for index in range(60)]
    biased, extrapolated = [], []
    for seed in range(6):
        a, b = normal(60, 8, 2 * seed), normal(60, 8, 2 * seed + 1, shift=1.0)
        biased.append(frechet_distance(a, b, shrink=False) - 1)
        extrapolated.append(frechet_extrapolated(a, b, groups, groups, generator=seeded()) - 1)
    bias, rest = sum(biased) / 6, sum(extrapolated) / 6
    assert bias > 0.3
    assert abs(rest) < bias / 2


def test_nothing_is_extrapolated_from_singular_covariances() -> None:
    a = normal(12, 8, 0)
    assert frechet_extrapolated(a, a, [0] * 12, [0] * 12, generator=seeded()) is None


# Kernel distances


def polynomial_mean(a: Tensor, b: Tensor) -> float:
    """E (x y / D + 1)^3 for x around a and y around b, both of unit covariance."""
    size, ab, aa, bb = len(a), float(a @ b), float(a @ a), float(b @ b)
    second = size + aa + bb + ab**2
    third = ab**3 + 3 * ab * aa + 3 * ab * (bb + size + 2)
    return 1 + 3 * ab / size + 3 * second / size**2 + third / size**3


def gaussian_mean(bandwidth: float, a: Tensor, b: Tensor) -> float:
    """E exp(-|x - y|^2 / (2 h^2)) for the same: x - y is normal with covariance 2."""
    h2 = bandwidth**2
    return (h2 / (h2 + 2)) ** (len(a) / 2) * math.exp(-float((a - b).square().sum()) / (2 * (h2 + 2)))


@pytest.mark.parametrize("name", ["polynomial", "gaussian"])
def test_kernel_distances_of_shifted_gaussians_are_those_of_the_closed_forms(name: str) -> None:
    zero, shift = torch.zeros(6).double(), torch.zeros(6).double()
    shift[0] = 1.5
    kernel = polynomial_kernel if name == "polynomial" else gaussian_kernel(3.0)

    def mean(a: Tensor, b: Tensor) -> float:
        return polynomial_mean(a, b) if name == "polynomial" else gaussian_mean(3.0, a, b)

    expected = mean(zero, zero) + mean(shift, shift) - 2 * mean(zero, shift)
    x, y = normal(1500, 6, 0), normal(1500, 6, 1, shift=1.5)
    groups = [0] * 1500
    found = KernelMatrices.of(x, y, kernel, groups, groups).mmd2()
    assert found == pytest.approx(expected, rel=0.15)
    assert KernelMatrices.of(y, x, kernel, groups, groups).mmd2() == pytest.approx(found)


@pytest.mark.parametrize("games", [1, 4])
def test_the_discrepancy_of_equal_distributions_is_zero_on_average(games: int) -> None:
    kernel, values = gaussian_kernel(3.0), []
    groups = [index % games for index in range(12)]
    centres = torch.tensor(groups).double()[:, None, None] * 2  # fixed numbers of clips from different games
    for seed in range(150):
        x, y = normal(12, 4, 2 * seed, frames=2) + centres, normal(12, 4, 2 * seed + 1, frames=2) + centres
        values.append(KernelMatrices.of(x, y, kernel, groups, groups).mmd2())
    values = torch.tensor(values)
    assert float(values.min()) < 0 < float(values.max())
    assert abs(float(values.mean())) < 3 * float(values.std()) / math.sqrt(150)


def test_weights_count_clips_and_copies_of_a_clip_are_not_compared() -> None:
    x, y = normal(6, 3, 0, frames=2), normal(5, 3, 1, frames=2)
    kernel = gaussian_kernel(1.0)
    weights = torch.tensor([1.0, 0, 1, 1, 0, 1])
    weighted = KernelMatrices.of(x, y, kernel, [0] * 6, [0] * 5).mmd2(weights_a=weights)
    chosen = KernelMatrices.of(x[weights > 0], y, kernel, [0] * 4, [0] * 5).mmd2()
    assert weighted == pytest.approx(chosen)
    twice = KernelMatrices.of(x, y, kernel, [0] * 6, [0] * 5).mmd2(weights_a=2 * torch.ones(6), weights_b=None)
    assert twice == pytest.approx(KernelMatrices.of(x, y, kernel, [0] * 6, [0] * 5).mmd2())
    assert frechet_distance(x, y, shrink=False, weights_a=weights) == pytest.approx(
        frechet_distance(x[weights > 0], y, shrink=False)
    )


def test_the_bandwidth_is_the_median_distance() -> None:
    frames = torch.tensor([0.0, 1.0, 3.0]).double()[:, None, None]
    assert median_distance(frames) == 2
    many = normal(500, 50, 0, frames=10)
    assert median_distance(many) == pytest.approx(10, rel=0.05)  # |x - y|^2 is about 2 * 50


# Intervals


def test_the_interval_of_a_share_is_wilsons() -> None:
    found = proportion(8, 10)
    assert (found.low, found.high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert proportion(0, 20).low == 0
    assert proportion(0, 20).high == pytest.approx(0.1611, abs=1e-4)
    assert proportion(20, 20).high == 1
    assert proportion(0, 0).to_json() == {"value": None, "low": None, "high": None}


def test_resampling_keeps_the_number_of_clips_of_each_game() -> None:
    groups = ["a"] * 4 + ["b"] * 6
    draws = torch.stack([Resampler(groups).draw(seeded(seed)) for seed in range(50)])
    assert bool((draws[:, :4].sum(dim=1) == 4).all())
    assert bool((draws[:, 4:].sum(dim=1) == 6).all())
    assert float(draws.std(dim=0).min()) > 0.5
    lonely = torch.stack([Resampler(["a", "b", "b"]).draw(seeded(seed)) for seed in range(50)])
    assert float(lonely[:, 0].std()) > 0.5


def test_intervals_of_means_and_medians_cover_the_truth_as_often_as_they_say() -> None:
    covered, covered_medians, trials, resampler = 0, 0, 150, Resampler([0] * 40)
    for seed in range(trials):
        generator = seeded(seed)
        x = torch.randn(40, generator=generator, dtype=torch.float64) + 3
        weights = torch.stack([resampler.draw(generator) for _ in range(100)])
        covered += 3.0 in percentile_interval(float(x.mean()), weights @ x / 40)
        y = torch.randn(40, generator=generator, dtype=torch.float64)
        covered_medians += 3.0 in median_difference(x, y, draws=200, generator=generator)
    assert 0.88 < covered / trials < 0.99
    assert 0.88 < covered_medians / trials <= 1


def test_corrected_intervals_cover_the_truth_below_a_biased_estimate() -> None:
    covered, estimates, corrected, resampler = 0, [], [], Resampler([0] * 40)
    for seed in range(20):
        a, b = normal(40, 6, 2 * seed), normal(40, 6, 2 * seed + 1, shift=1.5)
        value = frechet_distance(a, b, shrink=False)
        generator = seeded(seed)

        def draw(a: Tensor = a, b: Tensor = b, generator: torch.Generator = generator) -> float:
            w, v = (resampler.draw(generator) for _ in range(2))
            return frechet_distance(a, b, shrink=False, weights_a=w, weights_b=v)

        draws = torch.tensor([draw() for _ in range(60)], dtype=torch.float64)
        found = corrected_interval(value, draws, 0.0)
        covered += 2.25 in found
        corrected.append(found.value)
        estimates.append(value)
    assert sum(estimates) / 20 > 2.5  # biased upwards by more than a tenth
    assert abs(sum(corrected) / 20 - 2.25) < 0.2
    assert covered >= 16


def test_a_centred_interval_has_the_spread_of_the_draws_and_lies_around_the_estimate() -> None:
    draws = torch.linspace(10, 20, 1001).double()
    found = centred_interval(3.0, draws)
    assert (found.low, found.high) == pytest.approx((3 - 4.75, 3 + 4.75))


def test_quartiles_leave_out_what_is_not_finite_and_say_so() -> None:
    found = Quartiles.of(torch.tensor([1.0, 2.0, 3.0, math.inf, math.nan]))
    assert (found.lower, found.median, found.upper, found.count, found.finite) == (1.5, 2, 2.5, 5, 3)
    assert Quartiles.of(torch.tensor([math.nan])).median is None
