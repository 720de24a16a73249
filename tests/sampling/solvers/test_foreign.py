"""Networks from elsewhere, likelihood and the sampler object, on Gaussian data, where all answers are known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.diffusion.levels import Discrete
from dualdiffusion.errors import UserError
from dualdiffusion.randomness import SeededNoise
from sampling.diffusion import Diffusion
from sampling.foreign import DenoiserLike, Foreign, compvis, openai, v_diffusion
from sampling.guidance import conditional, guided
from sampling.likelihood import log_likelihood
from sampling.solvers.samplers import ONE_ITEM_AT_A_TIME, SAMPLERS
from sampling.solvers.schedules import SCHEDULES
from tests import tiny

MEAN, STD = 0.3, 0.7


def known(x: Tensor, sigma: Tensor, mean: float = MEAN) -> Tensor:
    return mean + STD**2 / (STD**2 + sigma**2) * (x - mean)


class Exact:
    """The denoiser of Gaussian data."""

    sigma_data = 1.0

    def __call__(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, *, position: Tensor | None = None
    ) -> Tensor:
        return known(x, sigma.reshape(-1, *[1] * (x.ndim - 1)))

    def log_variance(self, sigma: Tensor) -> Tensor:
        return torch.zeros_like(sigma)


def answers(x: Tensor, a: Tensor, b: Tensor, mean: float = MEAN) -> tuple[Tensor, Tensor]:
    """E[noise | x] and E[clean | x] for x = a clean + b noise."""
    gain = 1 / (a**2 * STD**2 + b**2)
    return b * gain * (x - a * mean), mean + a * STD**2 * gain * (x - a * mean)


def shaped(numbers: Tensor, x: Tensor) -> Tensor:
    return numbers.to(x).reshape(-1, *[1] * (x.ndim - 1))


def v_network(x: Tensor, t: Tensor) -> Tensor:
    assert bool(((t > 0) & (t < 1)).all())
    a, b = shaped((t * math.pi / 2).cos(), x), shaped((t * math.pi / 2).sin(), x)
    noise, clean = answers(x, a, b)
    return a * noise - b * clean


def at_index(betas: str, index: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    sigma = Discrete(Discrete.Config(betas=betas)).sigma(index.double())
    kept = 1 / (1 + sigma**2)
    return shaped(kept.sqrt(), x), shaped((1 - kept).sqrt(), x)


def noise_network(x: Tensor, index: Tensor) -> Tensor:
    noise, _ = answers(x, *at_index("linear", index, x))
    return torch.cat([noise, 1e6 * torch.ones_like(noise)], dim=1)  # a variance, which is not to be looked at


def latent_network(x: Tensor, index: Tensor) -> Tensor:
    return answers(x, *at_index("compvis", index, x))[0]


def latent_v_network(x: Tensor, index: Tensor) -> Tensor:
    a, b = at_index("compvis", index, x)
    noise, clean = answers(x, a, b)
    return a * noise - b * clean


WRAPPED = {
    "v-diffusion": v_diffusion(v_network),
    "OpenAI": openai(noise_network),
    "CompVis": compvis(latent_network),
    "CompVis, v": compvis(latent_v_network, velocity=True),
}
each = pytest.mark.parametrize("denoiser", WRAPPED.values(), ids=list(WRAPPED))


@each
def test_a_wrapped_network_is_the_known_denoiser(denoiser: Foreign) -> None:
    sigma = torch.tensor([0.03, 0.2, 1.0, 5.0, 14.0])
    noise = torch.randn(5, 2, 3, 8, generator=torch.Generator().manual_seed(0))
    x = MEAN + noise * (STD + shaped(sigma, noise))
    error = denoiser(x, sigma) - known(x, shaped(sigma, x))
    assert float((error / shaped(sigma, x).clamp(min=1)).abs().max()) < 1e-5


@each
def test_every_sampler_runs_on_it_and_repeats_itself(denoiser: Foreign) -> None:
    denoise = conditional(denoiser, Conditioning(), position=None)
    sigmas = SCHEDULES["exponential"](10, sigma_min=0.05, sigma_max=14.0)

    def sample(name: str) -> Tensor:
        noise = SeededNoise([3] if name in ONE_ITEM_AT_A_TIME else [3, 4])
        return SAMPLERS[name](denoise, noise.randn((1, 16, 16)) * sigmas[0], sigmas, generator=noise)

    for name in SAMPLERS:
        found = sample(name)
        assert bool(found.isfinite().all()), name
        assert torch.equal(found, sample(name)), name
        assert float(found.mean()) == pytest.approx(MEAN, abs=0.15), name
        assert float(found.std()) == pytest.approx(STD, abs=0.25), name


def test_conditions_reach_a_wrapped_network_and_guidance_leaves_them_out_in_its_other_pass() -> None:
    def network(x: Tensor, t: Tensor, *, classes: Tensor) -> Tensor:
        a, b = shaped((t * math.pi / 2).cos(), x), shaped((t * math.pi / 2).sin(), x)
        noise, clean = answers(x, a, b, mean=0.0)
        return a * noise - b * (clean + shaped(classes, x))

    def told(conditioning: Conditioning) -> dict[str, Tensor]:
        labels, kept = conditioning.labels, conditioning.labels_kept
        return {"classes": labels.argmax(1) * (1 if kept is None else kept)}

    denoiser, x = v_diffusion(network, told=told), torch.zeros(1, 1, 2, 2)
    conditioning = Conditioning(torch.eye(3)[[2]])
    alone = conditional(denoiser, conditioning, position=None)(x, 1.0)
    pushed = guided(denoiser, conditioning, cfg_scale=3, position=None)(x, 1.0)
    assert float(pushed.mean()) == pytest.approx(3 * float(alone.mean()), rel=1e-4)
    assert float(alone.mean()) > 0.5


def test_an_answer_of_another_shape_is_told() -> None:
    with pytest.raises(ValueError, match="learned_variance"):
        openai(latent_network)(torch.zeros(1, 1, 2, 2), torch.ones(1))


def exact_log_likelihood(x: Tensor, sigma_min: float) -> Tensor:
    variance = STD**2 + sigma_min**2
    return (-((x - MEAN) ** 2 / variance + math.log(2 * math.pi * variance)) / 2).flatten(1).mean(1)


def data(items: int = 3) -> Tensor:
    return MEAN + STD * torch.randn(items, 2, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_log_likelihood_of_gaussian_data_is_the_known_one_and_of_second_order() -> None:
    x = data() * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None, None, None]
    ends = {"sigma_min": 0.02, "sigma_max": 200.0}
    found = [log_likelihood(Exact(), x, steps=steps, **ends) for steps in (16, 32, 64)]
    assert float((found[2] - exact_log_likelihood(x, 0.02)).abs().max()) < 1e-3
    # What is left at many steps is that the data's mean and variance are not quite gone at sigma_max.
    coarse, fine = ((a - b).abs().max() for a, b in itertools.pairwise(found))
    assert math.log2(float(coarse / fine)) == pytest.approx(2, abs=0.5)


def test_log_likelihood_of_a_wrapped_network_is_that_of_the_denoiser_itself() -> None:
    x = data().float()
    wrapped, own = (log_likelihood(denoiser, x, steps=16) for denoiser in (v_diffusion(v_network), Exact()))
    assert torch.allclose(wrapped, own, atol=1e-5)


@pytest.mark.slow
def test_more_probes_come_closer_to_the_trace_of_a_network_that_mixes_its_numbers() -> None:
    mixing = torch.eye(8) * 0.5 + 0.2 * torch.randn(8, 8, generator=torch.Generator().manual_seed(0))

    class Mixed(Exact):
        def __call__(
            self, x: Tensor, sigma: Tensor, conditioning: Conditioning, *, position: Tensor | None = None
        ) -> Tensor:
            return (x / (1 + shaped(sigma, x) ** 2)) @ mixing

    x = torch.zeros(1, 1, 1, 8)
    settings = {"steps": 4, "sigma_max": 10.0}
    many = float(log_likelihood(Mixed(), x, probes=2000, **settings))

    def spread(probes: int) -> float:
        found = [float(log_likelihood(Mixed(), x, seed=seed, probes=probes, **settings)) for seed in range(20)]
        return math.sqrt(sum((value - many) ** 2 for value in found) / len(found))

    assert 0 < 2.5 * spread(16) < spread(1)


class TwoBumps(Exact):
    """The denoiser of numbers around -1 or 1, whose probability flow is not linear."""

    spread = 0.3

    def bumps(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """ln of each bump's density with noise of sigma, and the best guess within it; (2, *x.shape)."""
        variance, middle = self.spread**2 + sigma**2, shaped(torch.tensor([-1.0, 1.0]), x[None])
        logs = -((x - middle) ** 2) / (2 * variance) - (2 * math.pi * variance).log() / 2 - math.log(2)
        return logs, middle + self.spread**2 / variance * (x - middle)

    def __call__(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, *, position: Tensor | None = None
    ) -> Tensor:
        logs, guesses = self.bumps(x, shaped(sigma, x))
        return (logs.softmax(0) * guesses).sum(0)


BUMPED = torch.linspace(-2.5, 2.5, 24, dtype=torch.float64).reshape(-1, 1, 1, 1)  # one number an item: exact traces


def test_log_likelihood_of_data_around_two_places_is_the_known_one_and_of_second_order() -> None:
    denoiser = TwoBumps()
    expected = denoiser.bumps(BUMPED, torch.tensor(0.02, dtype=torch.float64))[0].logsumexp(0).flatten()
    levels = {"sigma_min": 0.02, "sigma_max": 200.0}
    errors = [
        float((log_likelihood(denoiser, BUMPED, steps=steps, **levels) - expected).abs().max()) for steps in (64, 128)
    ]
    assert errors[0] < 0.03 and errors[1] < errors[0] / 3


def test_log_likelihood_is_that_of_an_adaptive_solver_of_another_package() -> None:
    solver = pytest.importorskip("torchdiffeq", reason="torchdiffeq is not installed: pip install torchdiffeq")
    denoiser, low, high = TwoBumps(), math.log(0.02), math.log(200.0)

    def flow(time: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = state[0].detach().requires_grad_()
            slope = x - denoiser(x, time.exp(), Conditioning())  # of x over ln(sigma)
            (divergence,) = torch.autograd.grad(slope.sum(), x)
        return slope.detach(), divergence

    times = torch.tensor([low, high], dtype=torch.float64)
    start = (BUMPED, torch.zeros_like(BUMPED))
    x, change = (part[-1] for part in solver.odeint(flow, start, times, rtol=1e-9, atol=1e-9, method="dopri5"))
    variance = 1 + 200.0**2
    expected = (change - x**2 / (2 * variance) - math.log(2 * math.pi * variance) / 2).flatten()
    found = log_likelihood(denoiser, BUMPED, steps=512, sigma_min=0.02, sigma_max=200.0)
    assert float((found - expected).abs().max()) < 1e-3


class Module(Exact, nn.Module):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(torch.ones(()))

    def __call__(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, *, position: Tensor | None = None
    ) -> Tensor:
        return self.weight * super().__call__(x, sigma, conditioning)


def test_the_sampler_object_is_the_denoiser_in_training_and_the_sampler_in_evaluation() -> None:
    denoiser: DenoiserLike = Module()
    diffusion = Diffusion(denoiser, sampler="euler_ancestral", schedule="cosine", steps=6)
    x, sigma = data().float(), torch.tensor([0.1, 1.0, 10.0])
    estimate = diffusion.train()(x, sigma)
    assert torch.equal(estimate, denoiser(x, sigma, Conditioning()))
    estimate.sum().backward()
    assert denoiser.weight.grad is not None
    assert next(diffusion.parameters()) is denoiser.weight
    sigmas = SCHEDULES["cosine"](6, sigma_min=0.01, sigma_max=80.0)
    denoise = conditional(denoiser, Conditioning(), position=None)
    expected = SAMPLERS["euler_ancestral"](denoise, x * sigmas[0], sigmas, generator=SeededNoise([5, 6, 7]))
    found = diffusion.eval()(x, seeds=[5, 6, 7])
    assert torch.equal(found, expected) and not found.requires_grad


def test_the_sampler_object_says_what_is_wrong() -> None:
    with pytest.raises(UserError, match="sampler: must be one of"):
        Diffusion(Exact(), sampler="heum")
    with pytest.raises(ValueError, match="sigma"):
        Diffusion(Exact()).train()(data())
    with pytest.raises(ValueError, match="sigma"):
        Diffusion(Exact()).eval()(data(), torch.ones(3))


def test_our_own_denoiser_is_sampled_and_weighed_like_others() -> None:
    denoiser = tiny.make_denoiser()
    x = torch.randn(2, 4, 4, 8, generator=torch.Generator().manual_seed(0))
    assert Diffusion(denoiser, steps=2, schedule="learned").eval()(x).shape == x.shape
    labels = Conditioning(torch.eye(3)[[0, 0]])
    found = log_likelihood(denoiser, x[:1].expand(2, -1, -1, -1), labels, steps=2)
    assert bool(found.isfinite().all()) and float(found[0]) == pytest.approx(float(found[1]), abs=1e-5)
    assert float(log_likelihood(denoiser, x[:1], steps=2)) != float(found[0])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_estimates_at_whole_steps_are_those_of_diffusers(prediction: str) -> None:
    diffusers = pytest.importorskip("diffusers", reason="the oracle diffusers is not installed here")
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
    )
    scheduler.set_timesteps(50)
    step = scheduler.timesteps[10]
    answer = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    kept = scheduler.alphas_cumprod[step]
    sigma = ((1 - kept) / kept).sqrt()[None].float()
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    denoiser = compvis(lambda x, index: answer, velocity=prediction == "v_prediction")
    expected = scheduler.step(answer, step, x, return_dict=True).pred_original_sample
    assert torch.allclose(denoiser(x / kept.sqrt(), sigma), expected, atol=1e-5)
