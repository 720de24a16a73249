"""Optimizers and schedules by name, parameter groups, gradient noise: what they promise, and that runs resume."""

from __future__ import annotations

import copy
import itertools
import json
import math
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from dualdiffusion.config import load_config
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.train.test_training import assert_equal, digest, fresh_model, train_until
from train.optimizer import (
    SCHEDULES,
    GradientNoise,
    OptimizerConfig,
    ScheduleConfig,
    add_gradient_noise,
    load_packed_state,
    packed_state,
    parameter_groups,
)
from train.trainer import TrainConfig


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_warms_up_linearly_and_never_rises_afterwards(name: str) -> None:
    schedule = ScheduleConfig(type=name, warmup_samples=100, reference_samples=10_000)
    assert schedule.factor(24) == pytest.approx(0.25, rel=0.01)
    factors = [schedule.factor(samples) for samples in range(100, 30_000, 100)]
    assert all(after <= before for before, after in itertools.pairwise(factors))
    assert 0 <= factors[-1] <= factors[0] <= 1


def test_the_cosine_schedule_is_half_a_wave_that_ends_at_its_floor() -> None:
    schedule = ScheduleConfig(type="cosine", reference_samples=1000, final_factor=0.1)
    assert [schedule.factor(samples) for samples in (0, 500, 1000, 5000)] == pytest.approx([1, 0.55, 0.1, 0.1])
    assert schedule.factor(250) == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)


def test_the_inverse_schedule_is_a_power_of_the_time_with_a_floor() -> None:
    schedule = ScheduleConfig(type="inverse_lr", reference_samples=1000, power=0.5, final_factor=0.25)
    assert [schedule.factor(samples) for samples in (0, 3000, 10**9)] == pytest.approx([1, 0.5, 0.25])


def test_weight_decay_spares_gains_biases_and_the_log_variance_and_nothing_else() -> None:
    denoiser = tiny.make_denoiser()
    names = {id(parameter): name for name, parameter in denoiser.named_parameters()}
    decayed, spared = ([names[id(p)] for p in group["params"]] for group in parameter_groups(denoiser))
    assert set(decayed) | set(spared) == set(names.values())
    assert all(name.endswith("gain") or name.startswith("uncertainty") for name in spared)
    assert not any(name.endswith("gain") or name.startswith("uncertainty") for name in decayed)


def test_a_parameter_without_gradient_shrinks_only_where_weight_decay_holds() -> None:
    module = nn.Linear(3, 2)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    optimizer = OptimizerConfig(learning_rate=0.1, settings={"weight_decay": 0.5}).build(parameter_groups(module))
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(module.weight, before["weight"] * 0.95)
    assert torch.equal(module.bias, before["bias"])


def trained(module: nn.Module, config: OptimizerConfig, optimizer: torch.optim.Optimizer | None = None) -> object:
    optimizer = optimizer or config.build(parameter_groups(module))
    for step in range(3):
        for index, parameter in enumerate(module.parameters()):
            parameter.grad = torch.full_like(parameter, math.sin(step + index))
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_an_optimizer_goes_on_from_its_state_however_its_parameters_are_grouped(weight_decay: float) -> None:
    """The packed state has the order of the module, as in checkpoints that were written without groups."""
    config = OptimizerConfig(settings={"weight_decay": weight_decay})
    torch.manual_seed(0)
    first, second = tiny.make_denoiser(), tiny.make_denoiser()
    grouped = trained(first, config)
    packed = copy.deepcopy(packed_state(grouped, first))  # as a file would hold it
    assert packed["param_groups"][0]["params"] == list(range(len(list(first.parameters()))))
    for index, parameter in enumerate(first.parameters()):
        assert packed["state"][index]["exp_avg"].shape == parameter.shape
    flat = OptimizerConfig(settings={"weight_decay": weight_decay}).build(second.parameters())
    flat.load_state_dict(copy.deepcopy(packed))  # which one without groups reads as its own
    third = tiny.make_denoiser()
    third.load_state_dict(first.state_dict())
    resumed = config.build(parameter_groups(third))
    load_packed_state(resumed, third, packed)
    trained(first, config, grouped)
    trained(third, config, resumed)
    assert_equal(first.state_dict(), third.state_dict())


def test_gradient_noise_has_the_annealed_variance_of_its_formula_and_is_a_function_of_the_seed() -> None:
    noise = GradientNoise(eta=0.04, gamma=0.5)
    assert noise.std(0) == pytest.approx(0.2)
    assert noise.std(15) == pytest.approx(0.1)
    grads = []
    for seed in (1, 1, 2):
        parameters = [nn.Parameter(torch.zeros(200, 100)) for _ in range(2)]
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        add_gradient_noise(parameters, noise.std(15), seed)
        grads.append([parameter.grad for parameter in parameters])
    assert float(grads[0][0].mean()) == pytest.approx(1, abs=0.01)
    assert float(grads[0][0].std()) == pytest.approx(0.1, rel=0.02)
    assert torch.equal(grads[0][0], grads[1][0])
    assert not torch.equal(grads[0][0], grads[0][1])
    assert not torch.equal(grads[0][0], grads[2][0])


EVERYTHING = {
    "optimizer": {
        "type": "NAdam",
        "learning_rate": 0.01,
        "settings": {"betas": [0.9, 0.99], "weight_decay": 0.01},
        "max_grad_norm": 1.0,
        "gradient_noise": {"eta": 0.001, "gamma": 0.55},
    },
    "schedule": {"type": "cosine", "warmup_samples": 8, "reference_samples": 48, "final_factor": 0.1},
}


def test_a_run_with_another_optimizer_groups_noise_and_schedule_goes_on_bit_for_bit(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    paths = []
    for name in ("straight", "stopped"):
        path = fresh_model(model, tmp_path / name, "unet")
        config = tiny.write_train_config(tmp_path / f"{name}.json", "unet", path, dataset, **EVERYTHING)
        if name == "stopped":
            assert train_until(config, path / "runs" / "unet", 16, signal.SIGTERM) == 143
        result = tiny.run("train.py", config)
        assert result.returncode == 0, result.stderr
        paths.append(path)
    assert_equal(digest(paths[0], "unet"), digest(paths[1], "unet"))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("adaptive", "module_trainer.sigma.distribution", "adaptive"),
        ("log_sech", "module_trainer.sigma.distribution", "log_sech"),
        ("unstratified", "module_trainer.sigma.stratified", False),
        ("unweighted", "module_trainer.learned_log_variance", False),
        ("constant", "schedule.type", "constant"),
        ("inverse_square_root", "schedule.type", "edm2"),
        ("inverse_lr", "schedule.type", "inverse_lr"),
        ("radam", "optimizer.type", "RAdam"),
        ("weight_decay", "optimizer.settings.weight_decay", 0.01),
        ("clipping", "optimizer.max_grad_norm", 1.0),
        ("gradient_noise", "optimizer.gradient_noise.gamma", 0.55),
        ("post_hoc_ema", "ema_snapshots.every_samples", 320),
    ],
)
def test_an_experiment_of_a_few_lines_shows_how_to_change_it(name: str, key: str, value: object) -> None:
    path = tiny.ROOT / "config" / "experiments" / f"unet_tiny_{name}.json"
    found = load_config(TrainConfig, path).to_json()
    for part in key.split("."):
        found = found[part]
    assert found == value
    assert 3 <= len(path.read_text().splitlines()) <= 8
    assert json.loads(path.read_text())["description"]
