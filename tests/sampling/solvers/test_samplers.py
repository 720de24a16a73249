"""Samplers by closed form: for Gaussian data, and mixtures of them, the best denoiser and the result are known exactly.

Everything is asked of every sampler that is listed; its order of convergence is 1 where ORDERS says nothing.
"""

from __future__ import annotations

import inspect
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dualdiffusion.randomness import SeededNoise, stratified
from sampling.solvers import samplers
from sampling.solvers.maths import adams_bashforth_weights, phi
from sampling.solvers.sample_dpm_solver import fast_orders
from sampling.solvers.samplers import ONE_ITEM_AT_A_TIME, SAMPLERS, Denoise, SamplerStep
from sampling.solvers.schedules import SCHEDULES
from tests import tiny

DATA_STD = 0.5
DATA_MEAN = 1.5
MODES = ((-1.0, 0.3), (1.0, 0.7))  # mean and share
MODE_STD = 0.2

# Order of convergence of each solver of the probability flow ODE, as the number of evaluations grows. The first steps
# of the multistep methods know fewer estimates than the later ones: Euler's step, taken once, has an error of h^2, and
# so none is above 2 in the limit. `test_multistep_methods_have_their_own_order_once_started` is about the others.
ORDERS = {
    "ddim": 1,
    "dpm_2": 2,
    "dpm_2_ancestral": 2,
    "dpm_adaptive": 3,
    "dpm_fast": 3,
    "dpmpp_2m": 2,
    "dpmpp_2m_sde": 2,
    "dpmpp_2s_ancestral": 2,
    "dpmpp_3m_sde": 2,
    "dpmpp_sde": 2,
    "euler": 1,
    "euler_ancestral": 1,
    "heun": 2,
    "lms": 2,
}
STOCHASTIC = [name for name in SAMPLERS if "eta" in inspect.signature(SAMPLERS[name]).parameters]


def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[clean | x] for data ~ N(DATA_MEAN, DATA_STD^2)."""
    return DATA_MEAN + (x - DATA_MEAN) * DATA_STD**2 / (DATA_STD**2 + sigma**2)


def denoise_modes(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[clean | x] for data from two Gaussians, MODES: each one's estimate by its probability given x."""
    variance = MODE_STD**2 + sigma**2
    means = [mean + (x - mean) * MODE_STD**2 / variance for mean, _ in MODES]
    logits = [math.log(share) - (x - mean) ** 2 / (2 * variance) for mean, share in MODES]
    return (torch.stack(means) * torch.stack(logits).softmax(0)).sum(0)


def exact(x: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """Solution of the probability flow ODE for `denoise`: the distance to the mean scales with the total std."""
    scale = math.sqrt((DATA_STD**2 + end**2) / (DATA_STD**2 + start**2))
    return DATA_MEAN + (x - DATA_MEAN) * scale


def sigmas(steps: int) -> list[float]:
    return SCHEDULES["edm"](steps, sigma_min=0.002, sigma_max=10.0, rho=7.0)


def counted(denoise: Denoise) -> tuple[Denoise, list[float]]:
    """`denoise`, and the noise levels at which it has been asked."""
    levels: list[float] = []

    def counting(x: torch.Tensor, sigma: float) -> torch.Tensor:
        levels.append(sigma)
        return denoise(x, sigma)

    return counting, levels


def error_and_evaluations(name: str, levels: list[float], **options: float) -> tuple[float, int]:
    """Largest distance to the exact solution at the last level, and what it cost."""
    x = torch.linspace(-20, 20, 101, dtype=torch.float64)[None]
    counting, asked = counted(denoise)
    if name in STOCHASTIC:
        options["eta"] = 0.0
    result = SAMPLERS[name](counting, x, levels, generator=SeededNoise([0]), **options)
    return float((result - exact(x, levels[0], levels[-1])).abs().max()), len(asked)


def measured_order(coarse: tuple[float, int], fine: tuple[float, int]) -> float:
    return math.log(coarse[0] / fine[0]) / math.log(fine[1] / coarse[1])


def levels_between(steps: int, high: float, low: float) -> list[float]:
    """`steps` steps that do not end in 0."""
    return SCHEDULES["edm"](steps + 1, sigma_min=low, sigma_max=high, rho=7.0)[:-1]


def test_a_sampler_is_one_new_file(tmp_path: Path) -> None:
    folder = tmp_path / "sampling" / "solvers"
    shutil.copytree(Path(samplers.__file__).parent, folder)
    (tmp_path / "sampling" / "__init__.py").touch()
    (folder / "sample_lazy.py").write_text(
        "ONE_ITEM_AT_A_TIME = ('lazy',)\n"
        "def sample_lazy(denoise, x, sigmas, *, generator, callback=None, reinjection=0.0, patience: int = 3):\n"
        "    return x\n"
    )
    code = (
        "from sampling.solvers.samplers import ONE_ITEM_AT_A_TIME, SAMPLERS\n"
        "from sampling.solvers.options import options_config\n"
        "print(*SAMPLERS, *ONE_ITEM_AT_A_TIME, *options_config('lazy').from_json({'patience': 4}).to_json().values())"
    )
    shutil.copytree(
        tiny.ROOT / "dualdiffusion", tmp_path / "dualdiffusion", ignore=shutil.ignore_patterns("pretrained")
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert names[: len(SAMPLERS) + 1] == sorted([*SAMPLERS, "lazy"])
    assert {"dpm_adaptive", "lazy"} <= set(names[len(SAMPLERS) + 1 :]) and "4" in names


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_error_falls_with_the_order_that_theory_gives(name: str) -> None:
    if name == "dpm_adaptive":  # its steps follow from what it tolerates
        runs = [error_and_evaluations(name, [2.0, 0.1], rtol=tol, atol=tol) for tol in (1e-6, 1e-7)]
    else:  # numbers of steps that leave dpm_fast a last step of second order
        runs = [error_and_evaluations(name, levels_between(steps, 2.0, 0.1)) for steps in (65, 131)]
    assert measured_order(*runs) == pytest.approx(ORDERS.get(name, 1), abs=0.3)


@pytest.mark.parametrize(("name", "options", "order"), [("lms", {}, 4), ("dpmpp_3m_sde", {"curvature": 2.0}, 3)])
def test_multistep_methods_have_their_own_order_once_started(name: str, options: dict, order: int) -> None:
    # Where noise is nearly all there is, the first steps have next to no error.
    levels = [SCHEDULES["exponential"](n, sigma_min=0.5, sigma_max=100.0, rho=1.0)[:-1] for n in (161, 321)]
    runs = [error_and_evaluations(name, each, **options) for each in levels]
    assert measured_order(*runs) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize(("name", "steps"), [("euler", 1), ("dpmpp_2m", 1), ("lms", 1), ("heun", 2), ("dpm_2", 2)])
def test_an_evaluation_a_step_or_two(name: str, steps: int) -> None:
    counting, asked = counted(denoise)
    SAMPLERS[name](counting, torch.ones(1, 4), sigmas(5), generator=SeededNoise([0]))
    assert len(asked) == 5 * steps - (steps - 1)  # the step to 0 needs one


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("reinjection", [0.0, 0.4])
def test_samples_of_gaussian_data_have_its_mean_and_standard_deviation(name: str, reinjection: float) -> None:
    random = SeededNoise([0])
    levels = sigmas(90)
    noisy = DATA_MEAN + random.randn((20000,)) * math.hypot(levels[0], DATA_STD)
    samples = SAMPLERS[name](denoise, noisy, levels, generator=random, reinjection=reinjection)
    assert float(samples.mean()) == pytest.approx(DATA_MEAN, abs=0.03)
    assert float(samples.std()) == pytest.approx(DATA_STD, rel=0.08 if reinjection == 0 else 0.12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_more_steps_take_the_error_of_large_reinjection_away(name: str) -> None:
    """Of the standard deviation; what Monte Carlo leaves is 0.5 %."""

    def deviation(scale: int) -> float:
        random = SeededNoise([1])
        levels = sigmas(60 * scale)
        options = {"rtol": 0.03 / scale**3, "atol": 0.005 / scale**3} if name == "dpm_adaptive" else {}
        noisy = DATA_MEAN + random.randn((20000,)) * math.hypot(levels[0], DATA_STD)
        samples = SAMPLERS[name](denoise, noisy, levels, generator=random, reinjection=0.75, **options)
        return abs(float(samples.std()) / DATA_STD - 1)

    assert deviation(6) < max(0.4 * deviation(1), 0.015)


@pytest.mark.parametrize("reinjection", [0.0, 0.4])
@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_of_two_modes_have_their_shares_means_and_widths(name: str, reinjection: float) -> None:
    random = SeededNoise([0])
    levels = SCHEDULES["edm"](90, sigma_min=0.01, sigma_max=20.0, rho=7.0)
    noisy = sum(mean * share for mean, share in MODES) + random.randn((20000,)) * levels[0]
    samples = SAMPLERS[name](denoise_modes, noisy, levels, generator=random, reinjection=reinjection)[0]
    for (mean, share), mode in zip(MODES, (samples[samples < 0], samples[samples >= 0]), strict=True):
        assert len(mode) / 20000 == pytest.approx(share, abs=0.025)
        assert float(mode.mean()) == pytest.approx(mean, abs=0.04)
        assert float(mode.std()) == pytest.approx(MODE_STD, rel=0.12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_reinjection_stays_within_the_levels_that_were_given(name: str) -> None:
    counting, asked = counted(denoise)
    levels = sigmas(8)
    SAMPLERS[name](counting, torch.ones(1, 4), levels, generator=SeededNoise([0]), reinjection=0.97)
    assert levels[-2] * (1 - 1e-6) <= min(asked)
    assert max(asked) <= levels[0] * (1 + 1e-6)
    for wrong in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="reinjection"):
            SAMPLERS[name](denoise, torch.ones(1, 4), levels, generator=SeededNoise([0]), reinjection=wrong)


def test_reinjection_of_a_half_is_the_ancestral_step() -> None:
    """The levels in between are the same, sigma_next^2 / sigma, and so is the noise that is added."""
    levels, x = levels_between(6, 10.0, 0.5), torch.ones(1, 8, dtype=torch.float64)
    reinjected = SAMPLERS["euler"](denoise, x, levels, generator=SeededNoise([0]), reinjection=0.5)
    # The last step, to the lowest level, is without.
    before = SAMPLERS["euler_ancestral"](denoise, x, levels[:-1], generator=SeededNoise([0]))
    assert torch.allclose(reinjected, SAMPLERS["euler"](denoise, before, levels[-2:], generator=SeededNoise([0])))


def test_churn_keeps_the_distribution() -> None:
    random = SeededNoise([0])
    levels = sigmas(60)
    samples = SAMPLERS["heun"](denoise, random.randn((20000,)) * levels[0], levels, generator=random, s_churn=30)
    assert float(samples.std()) == pytest.approx(DATA_STD, rel=0.05)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"dpm_fast", "dpm_adaptive"}))
def test_the_callback_sees_every_step_and_can_end_the_sampling(name: str) -> None:
    seen: list[SamplerStep] = []

    def callback(step: SamplerStep) -> None:
        seen.append(step)
        if step.index == 2:
            raise KeyError

    with pytest.raises(KeyError):
        SAMPLERS[name](denoise, torch.ones(1, 4), sigmas(5), generator=SeededNoise([0]), callback=callback)
    assert [(step.index, step.steps) for step in seen] == [(0, 5), (1, 5), (2, 5)]
    assert seen[0].sigma == pytest.approx(10)


@pytest.mark.parametrize("reinjection", [0.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 3, 20])
@pytest.mark.parametrize("name", SAMPLERS)
def test_progress_rises_to_one_and_the_last_x_is_the_result(name: str, steps: int, reinjection: float) -> None:
    seen: list[SamplerStep] = []
    x, levels = 20 * SeededNoise([5]).randn((50,)), sigmas(steps)
    random = SeededNoise([0])
    result = SAMPLERS[name](denoise, x, levels, generator=random, callback=seen.append, reinjection=reinjection)
    assert [step.index for step in seen] == list(range(len(seen)))
    fractions = [(step.index + 1) / step.steps for step in seen]
    assert fractions == sorted(fractions)
    assert all(fraction < 1 for fraction in fractions[:-1])
    assert fractions[-1] == 1
    assert torch.equal(seen[-1].x, result)
    if name != "lms" or reinjection > 0:  # which extrapolates here too
        assert torch.allclose(result, seen[-1].denoised, atol=1e-6)  # at sigma 0 there is no noise left
    assert seen[0].sigma == levels[0]


@pytest.mark.parametrize("reinjection", [0.0, 0.5])
@pytest.mark.parametrize("name", SAMPLERS)
def test_an_item_of_a_batch_is_the_item_alone_bit_for_bit(name: str, reinjection: float) -> None:
    seeds = [3, 4, 5]
    # A multiple of what a processor takes at once: what remains has other roundings in the denoiser's exponentials.
    x = SeededNoise(seeds).randn((4, 16)) * 10
    levels = sigmas(6)
    alone = SAMPLERS[name](denoise_modes, x[1:2], levels, generator=SeededNoise([4]), reinjection=reinjection)
    if name in ONE_ITEM_AT_A_TIME:
        with pytest.raises(ValueError, match="one item"):
            SAMPLERS[name](denoise_modes, x, levels, generator=SeededNoise(seeds), reinjection=reinjection)
    else:
        batch = SAMPLERS[name](denoise_modes, x, levels, generator=SeededNoise(seeds), reinjection=reinjection)
        assert torch.equal(batch[1:2], alone)


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"linear"}))  # whose last step is far too long for any
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_schedule_suits_every_sampler(name: str, schedule: str) -> None:
    """Also where levels lie so close that a difference between estimates is all rounding, as in polyexponential."""
    x = 80 * SeededNoise([0]).randn((50,))
    for steps in (1, 40):
        levels = SCHEDULES[schedule](
            steps, sigma_min=0.01, sigma_max=80.0, rho=7.0, error=lambda sigmas: [1.0] * len(sigmas)
        )
        result = SAMPLERS[name](denoise, x, levels, generator=SeededNoise([1]))
        assert float((result - DATA_MEAN).abs().max()) < 8 * DATA_STD


@pytest.mark.parametrize("name", STOCHASTIC)
def test_without_eta_nothing_is_drawn(name: str) -> None:
    x = torch.ones(1, 4)
    results = [SAMPLERS[name](denoise, x, sigmas(5), generator=SeededNoise([seed]), eta=0.0) for seed in (0, 1)]
    assert torch.equal(*results)


def test_two_names_of_one_method() -> None:
    assert SAMPLERS["ddim"] is SAMPLERS["euler"]


def test_a_dpm_adaptive_that_cannot_get_a_number_ends() -> None:
    x = torch.ones(1, 4)
    result = SAMPLERS["dpm_adaptive"](lambda x, sigma: x * math.nan, x, sigmas(9), generator=SeededNoise([0]))
    assert bool(result.isnan().all())


@pytest.mark.parametrize("evaluations", range(12))
def test_dpm_fast_uses_the_evaluations_it_has(evaluations: int) -> None:
    assert sum(fast_orders(evaluations)) == evaluations
    counting, asked = counted(denoise)
    SAMPLERS["dpm_fast"](counting, torch.ones(1, 4), sigmas(evaluations + 1), generator=SeededNoise([0]))
    assert len(asked) == evaluations + 1


def test_the_midpoint_and_the_heun_way_differ_in_their_third_order() -> None:
    levels, x = levels_between(40, 2.0, 0.1), torch.linspace(-9, 9, 11, dtype=torch.float64)[None]

    def result(kind: str) -> torch.Tensor:
        return SAMPLERS["dpmpp_2m_sde"](denoise, x, levels, generator=SeededNoise([0]), eta=0.0, solver_type=kind)

    assert 0 < float((result("heun") - result("midpoint")).abs().max()) < 0.01
    with pytest.raises(ValueError, match="midpoint or heun"):
        result("hoin")


@pytest.mark.parametrize(
    ("name", "options", "degree"),
    [("dpmpp_2m_sde", {"solver_type": "heun"}, 1), ("dpmpp_3m_sde", {"curvature": 2.0}, 2)],
)
def test_multistep_methods_integrate_estimates_that_are_polynomials_exactly(
    name: str, options: dict, degree: int
) -> None:
    """Once started. For D = p(lambda) the solution is x / sigma = the integral of p e^lambda, and a constant."""

    def estimate(x: torch.Tensor, sigma: float) -> torch.Tensor:
        lam = -math.log(sigma)
        return 1 + lam + (lam**2 if degree == 2 else 0) + 0 * x

    seen: list[SamplerStep] = []
    levels = [9.0, 6.0, 4.0, 3.5, 2.0, 0.8, 0.3, 0.25]
    x = torch.full((1, 1), 5.0, dtype=torch.float64)
    SAMPLERS[name](estimate, x, levels, generator=SeededNoise([0]), callback=seen.append, eta=0.0, **options)
    constants = []
    for sigma, state in zip(levels, [x, *(step.x for step in seen)], strict=True):
        lam = -math.log(sigma)
        integral = (1 + (lam - 1) + (lam**2 - 2 * lam + 2 if degree == 2 else 0)) / sigma
        constants.append(float(state) / sigma - integral)
    assert constants[degree:] == pytest.approx([constants[degree]] * (len(constants) - degree))
    assert constants[degree - 1] != pytest.approx(constants[degree])  # the steps before are not exact


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_has_the_signature_and_defaults_for_its_own_options(name: str) -> None:
    positional, keywords = [], {}
    for parameter in inspect.signature(SAMPLERS[name]).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = parameter.default
        else:
            positional.append(parameter.name)
    assert positional == ["denoise", "x", "sigmas"]
    assert keywords.pop("generator") is inspect.Parameter.empty
    assert keywords.pop("callback") is None
    assert keywords.pop("reinjection") == 0
    assert all(isinstance(default, float | int | str) for default in keywords.values())


@pytest.mark.parametrize("degree", range(4))
def test_adams_bashforth_integrates_polynomials_exactly(degree: int) -> None:
    levels, end = [9.0, 6.5, 5.0, 3.0], 2.2
    integral = sum(w * level**degree for w, level in zip(adams_bashforth_weights(levels, end), levels, strict=True))
    assert integral == pytest.approx((end ** (degree + 1) - levels[-1] ** (degree + 1)) / (degree + 1))


@pytest.mark.parametrize("h", [-30.0, -1.0, -0.1000001, -0.0999999, -1e-9, 0.0, 1e-9, 0.0999999, 0.1000001, 1.0])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_phi_is_the_integral_of_the_exponential_against_a_power(order: int, h: float) -> None:
    """phi_k(h) is the integral of e^((1 - s) h) s^(k - 1) / (k - 1)! over s from 0 to 1; here by the midpoint rule."""
    s = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    integral = (torch.exp((1 - s) * h) * s ** (order - 1)).mean() / math.factorial(order - 1)
    assert phi(order, h) == pytest.approx(float(integral), rel=1e-6)


def test_item_k_of_a_batch_has_the_noise_of_its_seed_alone() -> None:
    batch, alone = SeededNoise([3, 4, 5]), SeededNoise([4])
    for _ in range(2):  # also after earlier draws
        assert torch.equal(batch.randn((2, 3))[1:2], alone.randn((2, 3)))
    with pytest.raises(ValueError, match="2 items"):
        batch.randn_like(torch.zeros(2, 3))


def test_stratified_quantiles_fill_every_slice_once() -> None:
    quantiles = stratified(16, seed=0)
    assert sorted((quantiles * 16).long().tolist()) == list(range(16))
    assert not torch.equal(quantiles, stratified(16, seed=1))
