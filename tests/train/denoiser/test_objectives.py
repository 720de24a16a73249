"""Weightings, losses and densities that objectives are compared with: closed forms, and what is left as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import load_config, validate
from dualdiffusion.diffusion.loss import DenoisingLoss, denoising_loss, squared, weight_beside_edm
from dualdiffusion.diffusion.preconditioning import Denoiser, edm_weight
from dualdiffusion.diffusion.predictors import Velocity
from dualdiffusion.diffusion.sigma_sampling import SigmaDensity
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from sampling.generator import Generator
from sampling.request import Request
from tests import tiny
from tests.train.test_training import fresh_model
from train.losses.denoising import Huber, Scales, Squared, cosines
from train.train_config import TrainConfig

FLOW = {"type": "predictors.Flow", "input": "time"}
LEVELS = torch.tensor([0.05, 0.3, 1.0, 4.0, 30.0])


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 5, 4, 4, 8, generator=generator).unbind()
    return latents, noise


def loss_of(denoiser: Denoiser, **settings: object) -> DenoisingLoss:
    return denoising_loss(denoiser, *pair(), LEVELS, Conditioning(), **settings)


def test_each_weighting_is_its_formula_beside_edms() -> None:
    denoiser = tiny.make_denoiser()
    assert weight_beside_edm("edm", denoiser, LEVELS) is None
    soft = LEVELS**2 / (LEVELS**2 + 1) ** 2
    assert torch.allclose(weight_beside_edm("soft_min_snr", denoiser, LEVELS), soft)
    assert torch.allclose(weight_beside_edm("output", denoiser, LEVELS), torch.ones(5))
    on_estimate = weight_beside_edm("snr", denoiser, LEVELS) * edm_weight(LEVELS, 1.0)
    assert torch.allclose(on_estimate, LEVELS**-2)


def test_snr_weighting_is_the_plain_loss_of_the_noise_that_the_estimate_implies() -> None:
    denoiser, (latents, noise) = tiny.make_denoiser(), pair()
    loss = loss_of(denoiser, weighting="snr")
    s = LEVELS[:, None, None, None]
    implied = (latents + s * noise - denoiser(latents + s * noise, LEVELS, Conditioning())) / s
    plain = (implied - noise).square().flatten(1).mean(1)
    assert torch.allclose(loss.factor * loss.weighted, plain, rtol=1e-4)  # float32: a difference of noisy latents


def test_what_does_not_count_has_no_part_in_the_loss_which_is_the_mean_over_the_rest() -> None:
    denoiser, (latents, noise) = tiny.make_denoiser(), pair()
    assert torch.equal(loss_of(denoiser, counted=torch.ones(5, 1, 1, 8)).weighted, loss_of(denoiser).weighted)
    last = torch.tensor([0.0] * 6 + [4.0] * 2).expand(5, 1, 1, 8)
    denoised = denoiser(latents + LEVELS[:, None, None, None] * noise, LEVELS, Conditioning())
    error = (denoised - latents)[..., 6:].square().flatten(1).mean(1)
    found = loss_of(denoiser, counted=last).weighted
    assert torch.allclose(found, edm_weight(LEVELS, 1.0) * error, rtol=1e-4)


def gradient(denoiser: Denoiser, loss: Tensor) -> Tensor:
    parameter = next(p for name, p in denoiser.named_parameters() if "out" in name and p.ndim == 4)
    return torch.autograd.grad(loss, parameter, retain_graph=True)[0]


def test_a_weight_inside_the_learned_log_variance_cancels_and_so_stands_outside() -> None:
    """With u at its best, ln of the weighted error, the gradient of w m / e^u + u is that of ln m whatever w is."""
    denoiser = tiny.make_denoiser()
    plain, soft = loss_of(denoiser), loss_of(denoiser, weighting="soft_min_snr")
    error, factor = plain.objective[0], soft.factor[0]

    def trained_at_best(inside: Tensor | float, outside: Tensor | float) -> Tensor:
        u = (inside * error).detach().log()
        return outside * (inside * error * torch.exp(-u) + u)

    without = gradient(denoiser, trained_at_best(1.0, 1.0))
    assert torch.allclose(gradient(denoiser, trained_at_best(factor, 1.0)), without, rtol=1e-5)
    assert torch.allclose(gradient(denoiser, trained_at_best(1.0, factor)), factor * without, rtol=1e-5)
    assert float(factor) < 0.01
    # Which is what is trained on; and u is drawn to the same place whatever the weighting.
    assert torch.equal(soft.learned, soft.factor * plain.learned)
    assert torch.equal(soft.weighted, plain.weighted)
    detached = soft.variance_detached - plain.variance_detached
    assert torch.allclose(detached, (soft.factor - 1) * plain.objective, atol=1e-5)


def test_squared_is_what_was_trained_on_before_and_huber_comes_to_it_as_c_grows() -> None:
    denoiser = tiny.make_denoiser()
    plain = loss_of(denoiser)
    named = loss_of(denoiser, distance=Squared(Squared.Config()))
    assert torch.equal(named.learned, plain.learned) and torch.equal(named.weighted, plain.weighted)
    large, small = (loss_of(denoiser, distance=Huber(Huber.Config(c=c))) for c in (1e4, 1e-3))
    assert torch.allclose(large.objective, plain.objective, rtol=1e-4)
    assert torch.equal(small.weighted, plain.weighted)  # what validation compares
    difference, weight = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(0)), LEVELS
    error = difference * weight.sqrt()[:, None, None, None]
    absolute = Huber(Huber.Config(c=1e-3))(difference, weight) / 2e-3
    assert torch.allclose(absolute, error.abs().flatten(1).mean(1), atol=2e-3)


def test_one_scale_is_the_mean_square_and_more_weigh_slow_errors_by_their_octaves() -> None:
    difference, weight = torch.randn(5, 2, 8, 16, generator=torch.Generator().manual_seed(0)), LEVELS
    one = Scales(Scales.Config(scales=1))(difference, weight)
    assert torch.allclose(one, squared(difference, weight), rtol=1e-5)
    assert torch.allclose(cosines(16) @ cosines(16).T, torch.eye(16), atol=1e-6)
    three = Scales(Scales.Config(scales=3))

    def count(row: int, column: int) -> float:
        wave = cosines(8)[row][:, None] * cosines(16)[column]
        return float(three(wave[None, None], torch.ones(1)) / squared(wave[None, None], torch.ones(1)))

    # Mean frequencies of the rows and columns of a transform of size n are from 0.5 / n to 0.5 cycles per latent.
    assert count(0, 0) / count(7, 15) == pytest.approx(3, rel=1e-4)
    assert count(0, 0) == pytest.approx(count(1, 0), rel=1e-4)
    assert count(7, 15) == pytest.approx(count(7, 0), rel=1e-4) == pytest.approx(count(0, 15), rel=1e-4)


def test_log_logistic_quantiles_are_those_of_the_formula_and_uniform_flow_time_is_one() -> None:
    quantiles = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    density = SigmaDensity(distribution="log_logistic", mean=-0.4, std=1.2)
    expected = [-0.4 + 1.2 * math.sqrt(3) / math.pi * math.log(q / (1 - q)) for q in quantiles.tolist()]
    assert density.ln_sigma(quantiles).tolist() == pytest.approx(expected, abs=1e-9)
    sigma = SigmaDensity(
        distribution="log_logistic", mean=0, std=math.pi / math.sqrt(3), sigma_min=1e-4, sigma_max=1e4
    ).sigma(quantiles)
    assert torch.allclose((sigma / (1 + sigma)).double(), quantiles, atol=1e-6)


@pytest.mark.parametrize("name", ["flow", "velocity"])
def test_another_objective_is_a_few_keys(name: str) -> None:
    path = tiny.ROOT / "config" / "experiments" / f"unet_tiny_{name}.json"
    config = load_config(TrainConfig, path)
    assert config.module_trainer.config.denoiser.predictor.name == f"predictors.{name.capitalize()}"


@pytest.mark.parametrize(
    ("module", "changes", "told"),
    [
        ("unet", {"loss": {"type": "point.L1"}}, "module_trainer.loss"),
        ("vae", {"loss": {"type": "denoising.Huber"}}, "module_trainer.loss"),
        ("unet", {"weighting": "min_snr"}, "module_trainer.weighting"),
        ("unet", {"loss": {"type": "denoising.Scales", "scales": 0}}, "module_trainer.loss.scales"),
    ],
)
def test_a_loss_that_does_not_fit_is_one_line_that_names_the_key(
    module: str, changes: dict, told: str, tmp_path: Path
) -> None:
    data = json.loads(tiny.write_train_config(tmp_path / "a.json", module, tmp_path, tmp_path).read_text())
    data["module_trainer"].update(changes)
    with pytest.raises(UserError) as error:
        validate(TrainConfig, data, "a.json")
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("games", "said"), [({}, "at least one game"), ({"Castel": 1.0}, "nearest: Castle")])
def test_demos_of_games_that_there_are_not_are_told_before_anything_is_trained(
    games: dict, said: str, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    path = tiny.write_train_config(tmp_path / "c.json", "unet", fresh_model(model, tmp_path / "m", "unet"), dataset)
    data = json.loads(path.read_text())
    data["module_trainer"]["demos"] = [{"games": games}]
    path.write_text(json.dumps(data))
    tiny.assert_one_line_error(tiny.run("train.py", path), "module_trainer.demos.0", said)


def test_games_is_no_name_for_a_conditioner_of_a_new_network(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    path = tiny.write_train_config(tmp_path / "c.json", "unet", fresh_model(model, tmp_path / "m", "unet"), dataset)
    data = json.loads(path.read_text())
    told = {"type": "conditioned.Conditioned", "conditioners": {"games": {"type": "beats.Beats"}}}
    inner = data["module_trainer"]["denoiser"]["backbone"]
    data["module_trainer"]["denoiser"]["backbone"] = {**told, "input_concat_ids": ["games"], "backbone": inner}
    path.write_text(json.dumps(data))
    tiny.assert_one_line_error(tiny.run("train.py", path), "'games' is the name of the labels")


def test_a_stored_denoiser_says_its_predictor_and_one_from_before_needs_not() -> None:
    config = tiny.make_denoiser().config.to_json()
    assert config.pop("predictor") == {"type": "predictors.EDM"}
    assert component_from_json("dualdiffusion.diffusion", {"type": "preconditioning.Denoiser", **config}).build()


def test_a_model_of_another_objective_is_trained_stored_and_sampled_as_any(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    folder = ModelFolder(fresh_model(model, tmp_path / "flow", "unet"))
    config = tiny.write_train_config(tmp_path / "a.json", "unet", folder.path, dataset, total_samples=8)
    data = json.loads(config.read_text())
    data["module_trainer"] |= {
        "denoiser": {**data["module_trainer"]["denoiser"], "predictor": FLOW},
        "sigma": {"distribution": "log_logistic", "mean": 0, "std": 1.8138},
        "weighting": "soft_min_snr",
        "loss": {"type": "denoising.Huber", "c": 0.5},
        "demo_games": 0,
    }
    config.write_text(json.dumps(data))
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    generator = Generator.load(folder, "cpu")
    assert generator.unet(None).config.predictor.to_json() == {**FLOW, "levels": None}
    request = Request(games={"Castle": 1.0}, seconds=0.5, steps=2, schedule="flow")
    assert bool(generator.generate(request).audio.isfinite().all())
    data["module_trainer"]["denoiser"]["predictor"] = {"type": "predictors.EDM"}
    config.write_text(json.dumps({**data, "total_samples": 16}))
    begun = folder.run_path("unet") / "config.json"
    refused = tiny.run("train.py", config)
    tiny.assert_one_line_error(refused, "predictor.type", "choose another folder", f"train.py {begun}")
    result = tiny.run("train.py", begun, "--set", "total_samples=16")
    assert result.returncode == 0 and "going on" in result.stdout, result.stderr


def test_twenty_steps_of_velocity_are_twenty_of_edm_with_the_networks_sign_turned() -> None:
    edm, velocity = (tiny.make_denoiser() for _ in range(2))
    velocity.predictor = Velocity()
    with torch.no_grad():
        velocity.backbone.output.weight.neg_()
    optimizers = [torch.optim.Adam(denoiser.parameters(), lr=0.01) for denoiser in (edm, velocity)]
    losses = []
    for _ in range(20):
        for denoiser, optimizer in zip((edm, velocity), optimizers, strict=True):
            optimizer.zero_grad()
            loss = loss_of(denoiser).learned.mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[::2] == pytest.approx(losses[1::2], abs=1e-5)
    assert losses[-1] < losses[0] - 0.1
    expected = edm.state_dict()
    for name, tensor in velocity.state_dict().items():
        turned = -tensor if name == "backbone.output.weight" else tensor
        assert torch.allclose(turned, expected[name], atol=1e-5), name
