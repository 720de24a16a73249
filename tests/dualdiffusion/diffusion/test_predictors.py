"""Predictors and discrete noise levels by closed form: for Gaussian data each best answer of a network is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import validate
from dualdiffusion.diffusion.levels import Discrete, betas
from dualdiffusion.diffusion.loss import denoising_loss
from dualdiffusion.diffusion.preconditioning import Denoiser, edm_weight
from dualdiffusion.diffusion.predictors import EDM, Predictor
from dualdiffusion.errors import UserError
from tests import tiny
from tests.gaussian import DATA, MEAN, PREDICTORS, SIGMA, STD, best_answer, known, largest_error


@pytest.mark.parametrize("cls", PREDICTORS)
def test_the_best_answer_of_each_predictor_gives_the_known_estimate(cls: type[Predictor]) -> None:
    assert largest_error(cls) < 1e-9


class BestNetwork(torch.nn.Module):
    """A backbone that knows the data, and the noise level from what it is told of it alone."""

    def __init__(self, name: str, sigma: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.name, self.sigma, self.label_dim = name, sigma, 0

    def forward(self, x: Tensor, c_noise: Tensor, *, conditioning: Conditioning, position: Tensor | None) -> Tensor:
        return best_answer(self.name, x.double(), self.sigma(c_noise.double())[:, None, None, None]).float()


LEVELS = Discrete.Config(betas="compvis")
TOLD = [
    ("EDM", {}, lambda c: (4 * c).exp()),
    ("Velocity", {"input": "time"}, lambda c: DATA * (c * math.pi / 2).tan()),
    ("Noise", {"input": "levels", "levels": {"betas": "compvis"}}, lambda c: DATA * Discrete(LEVELS).sigma(c)),
    ("Clean", {}, lambda c: (4 * c).exp()),
    ("Flow", {"input": "time"}, lambda c: DATA * c / (1 - c)),
]


def denoiser_of(name: str, **settings: object) -> Denoiser:
    backbone = component_from_json("dualdiffusion.models", tiny.UNET)
    part = component_from_json("dualdiffusion.diffusion", {"type": f"predictors.{name}", **settings})
    torch.manual_seed(0)
    return Denoiser(Denoiser.Config(backbone=backbone, sigma_data=DATA, predictor=part)).eval()


@pytest.mark.parametrize(("name", "settings", "sigma"), TOLD, ids=[told[0] for told in TOLD])
def test_a_denoiser_around_a_network_that_knows_the_data_gives_the_known_estimate_and_one_validation_loss(
    name: str, settings: dict, sigma: Callable[[Tensor], Tensor]
) -> None:
    denoiser = denoiser_of(name, **settings)
    denoiser.backbone = BestNetwork(name, sigma)
    generator = torch.Generator().manual_seed(0)
    clean = MEAN + STD * torch.randn(16, 2, 4, 4, generator=generator)
    noise, levels = torch.randn(16, 2, 4, 4, generator=generator), torch.logspace(-1, 0.5, 16)
    x = clean + levels[:, None, None, None] * noise
    expected = known(x, levels[:, None, None, None])
    assert float((denoiser(x, levels, Conditioning()) - expected).abs().max()) < 2e-6  # of float32
    loss = denoising_loss(denoiser, clean, noise, levels, Conditioning())
    error = (expected - clean).square().flatten(1).mean(1)
    assert torch.allclose(loss.weighted, edm_weight(levels, DATA) * error, rtol=1e-4)


@pytest.mark.parametrize(("name", "settings"), [told[:2] for told in TOLD], ids=[told[0] for told in TOLD])
def test_a_predictor_leaves_a_compiled_denoiser_one_graph(name: str, settings: dict) -> None:
    predictor = component_from_json("dualdiffusion.diffusion", {"type": f"predictors.{name}", **settings}).build()

    def numbers(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale = predictor.scalings(sigma, DATA)
        return scale.skip, scale.out * scale.input, predictor.noise(sigma, DATA)

    levels = torch.logspace(-1, 0.5, 16)
    compiled = torch.compile(numbers, backend="eager", fullgraph=True)
    assert all(torch.equal(a, b) for a, b in zip(compiled(levels), numbers(levels), strict=True))


@pytest.mark.parametrize("cls", PREDICTORS)
def test_the_output_weight_makes_the_error_of_the_estimate_that_of_the_network(cls: type[Predictor]) -> None:
    weight = cls().output_weight(SIGMA, DATA)
    beside = weight / edm_weight(SIGMA, DATA)
    s, d = SIGMA, DATA
    whole = s**2 + d**2
    plain = {"EDM": whole / whole, "Velocity": whole / whole, "Noise": d**2 / whole, "Clean": s**2 / whole}
    assert torch.allclose(beside, {**plain, "Flow": (s + d) ** 2 / whole}[cls.__name__], rtol=1e-9)


def test_without_a_word_a_denoiser_predicts_as_edm_does_and_velocity_is_that_with_the_other_sign() -> None:
    edm, velocity = denoiser_of("EDM"), denoiser_of("Velocity")
    backbone = component_from_json("dualdiffusion.models", tiny.UNET)
    assert Denoiser.Config(backbone=backbone, sigma_data=DATA) == edm.config
    x, levels = torch.randn(2, 4, 4, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 2.0])
    torch.nn.init.constant_(edm.backbone.output_gain, 0.5)
    torch.nn.init.constant_(velocity.backbone.output_gain, -0.5)
    estimate = edm(x, levels, Conditioning())
    assert torch.equal(estimate, velocity(x, levels, Conditioning()))
    skip = EDM().scalings(levels[:, None, None, None], DATA).skip
    assert not torch.allclose(estimate, skip * x)  # the network says something


@pytest.mark.parametrize(
    ("part", "key", "reason"),
    [
        ({"type": "predictors.EDM", "input": "time"}, "predictor.input", "unknown"),
        ({"type": "predictors.Noise", "input": "levels"}, "predictor", "levels: are needed"),
        ({"type": "predictors.Flow", "levels": {"betas": "linear"}}, "predictor", "levels: need"),
        ({"type": "predictors.Velocity", "input": "tme"}, "predictor.input", "time"),
        ({"type": "levels.Discrete"}, "predictor", "is no predictor; take one of predictors.EDM"),
        ({"type": "predictors.Velocty"}, "predictor", "Velocity"),
        ({"type": "predictors.Noise", "input": "levels", "levels": {"betas": "cosine", "last": 0.1}}, "", "leave them"),
    ],
)
def test_a_predictor_with_what_it_cannot_take_is_one_line_that_names_the_key(part: dict, key: str, reason: str) -> None:
    with pytest.raises(UserError) as error:
        validate(Denoiser.Config, {"backbone": tiny.UNET, "predictor": part}, "file.json")
    text = str(error.value)
    assert "\n" not in text and key in text and reason in text


@pytest.mark.parametrize(
    ("name", "ends"),
    [("linear", (0.0100, 157.41)), ("compvis", (0.0292, 14.61)), ("quadratic", None), ("sigmoid", None)],
)
def test_discrete_levels_are_the_product_of_their_betas_and_lead_back_to_their_index(
    name: str, ends: tuple[float, float] | None
) -> None:
    levels, index = Discrete(Discrete.Config(betas=name)), torch.arange(1000)
    sigma = levels.sigma(index)
    kept = torch.cumprod(1 - torch.tensor(betas(levels.config), dtype=torch.float64), 0)
    assert torch.allclose(sigma, ((1 - kept) / kept).sqrt(), rtol=1e-9)
    if ends:
        assert [float(sigma[0]), float(sigma[-1])] == pytest.approx(ends, rel=2e-3)
    assert torch.allclose(levels.index(sigma), index.float(), atol=1e-4)
    between = torch.linspace(0, 999, 777, dtype=torch.float64)
    assert torch.allclose(levels.index(levels.sigma(between)), between.float(), atol=1e-4)
    assert levels.index(torch.tensor([1e-9, 1e9])).tolist() == [0, 999]


@pytest.mark.parametrize("config", [{"steps": 100_000}, {"last": 0.99}])
def test_levels_of_which_next_to_nothing_is_kept_are_finite(config: dict) -> None:
    levels = Discrete(Discrete.Config(betas="linear", **config)).sigma(torch.arange(config.get("steps", 1000)))
    assert levels.isfinite().all() and (levels.diff() > 0).all()


def test_cosine_levels_are_even_in_their_angle() -> None:
    levels = Discrete(Discrete.Config(betas="cosine", steps=100))
    angle = levels.sigma(torch.arange(100)).atan() / (math.pi / 2)
    # cos^2 of (t + 0.008) / 1.008 quarter turns is divided by its value at t = 0, and so is next to even.
    assert torch.allclose(angle[:-1], (torch.arange(1, 100) / 100 + 0.008).double() / 1.008, atol=0.01)
    assert all(0 < beta < 1 for beta in betas(levels.config))
