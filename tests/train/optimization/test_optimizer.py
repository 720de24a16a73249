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
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.train.test_training import assert_equal, digest, fresh_model, train_until
from train.optimization.gradient_noise import GradientNoise, add_gradient_noise
from train.optimization.optimizer import OptimizerConfig, parameter_groups
from train.optimization.schedule import SCHEDULES, ScheduleConfig
from train.optimization.state import load_packed_state, packed_state
from train.trainer import TrainConfig


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_warms_up_linearly_and_never_rises_afterwards(name: str) -> None:
    points = ((0, 1.0), (10_000, 0.1)) if name == "points" else ()
    schedule = ScheduleConfig(type=name, warmup_samples=100, reference_samples=10_000, points=points)
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


def test_points_are_joined_by_straight_lines_as_torchs_own_schedules_are() -> None:
    """A step of torch's schedules is four samples here."""
    step = ScheduleConfig(type="points", points=((19, 1.0), (20, 0.1), (39, 0.1), (40, 0.01), (59, 0.01), (60, 1e-3)))
    line = ScheduleConfig(type="points", points=((0, 0.25), (40, 1.0)))
    of_torch = {
        step: lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 5, gamma=0.1),
        line: lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 0.25, total_iters=10),
    }
    for ours, scheduler in of_torch.items():
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
        theirs = scheduler(optimizer)
        for samples in range(0, 80, 4):
            assert ours.factor(samples) == pytest.approx(theirs.get_last_lr()[0], abs=1e-7)
            optimizer.step()
            theirs.step()


@pytest.mark.parametrize("points", [(), ((5, 1.0), (5, 0.5))])
def test_points_must_be_there_and_rise(points: tuple) -> None:
    with pytest.raises(ValueError, match="points: "):
        ScheduleConfig(type="points", points=points)
    assert ScheduleConfig(points=((0, 1.0),)).unused == ["points"]


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


PARTED = {
    "learning_rate": 0.02,
    "parts": {
        "uncertainty": {"learning_rate": 0.002},
        "backbone.*.attention": {"type": "Muon", "learning_rate": 0.04},
        "backbone.encoder": {"type": "SGD"},
    },
}


def test_parts_have_rates_and_types_of_their_own_and_all_else_is_trained_as_before() -> None:
    config = OptimizerConfig.from_json(PARTED)
    parted, plain = tiny.make_denoiser(), tiny.make_denoiser()
    optimizer = trained(parted, config, config.build_for(parted))
    trained(plain, config)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    names = {name: id(parameter) for name, parameter in parted.named_parameters()}
    assert set(rates) == set(names.values())
    assert rates[names["uncertainty.weight"]] == pytest.approx(0.002)
    for name, parameter in parted.named_parameters():
        part = next((kind for kind in ("attention", "encoder", "uncertainty") if kind in name), None)
        same = torch.equal(parameter, dict(plain.named_parameters())[name])
        assert same == (part is None), name
    ratios = {group["lr"] / 0.02: group["rate"] for group in optimizer.param_groups}
    assert all(ratio == pytest.approx(rate) for ratio, rate in ratios.items())


def test_an_optimizer_of_parts_goes_on_from_its_state_bit_for_bit() -> None:
    config = OptimizerConfig.from_json(PARTED)
    torch.manual_seed(0)
    first = tiny.make_denoiser()
    optimizer = trained(first, config, config.build_for(first))
    second = tiny.make_denoiser()
    second.load_state_dict(first.state_dict())
    resumed = config.build_for(second)
    load_packed_state(resumed, second, copy.deepcopy(packed_state(optimizer, first)))
    for group in resumed.param_groups:  # the very groups of the optimizers inside
        group["lr"] = 0.5
    assert all(group["lr"] == 0.5 for inner in resumed.optimizers for group in inner.param_groups)
    for group in resumed.param_groups:
        group["lr"] = 0.02 * group["rate"]
    trained(first, config, optimizer)
    trained(second, config, resumed)
    assert_equal(first.state_dict(), second.state_dict())


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"backbone.encodr": {"learning_rate": 1}},
            "no parameter is below 'backbone.encodr'; nearest: backbone.encoder",
        ),
        ({"uncertainty": {"settings": {"bettas": 1}}}, "bettas"),
    ],
)
def test_a_part_that_is_none_is_one_line(parts: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        OptimizerConfig.from_json({"parts": parts}).build_for(tiny.make_denoiser())


def test_checkpoints_tell_the_types_of_parts_apart_and_rates_not() -> None:
    assert OptimizerConfig(parts={"uncertainty": {"learning_rate": 0.1}}).kind == "AdamW"
    assert OptimizerConfig.from_json(PARTED).kind == "AdamW (backbone.*.attention: Muon, backbone.encoder: SGD)"


EVERYTHING = {
    "optimizer": {
        "type": "NAdam",
        "learning_rate": 0.01,
        "settings": {"betas": [0.9, 0.99], "weight_decay": 0.01},
        "max_grad_norm": 1.0,
        "gradient_noise": {"eta": 0.001, "gamma": 0.55},
        "parts": {"uncertainty": {"learning_rate": 0.001}, "backbone.*.attention": {"type": "Muon"}},
    },
    "schedule": {"type": "points", "warmup_samples": 8, "points": [[0, 1], [20, 0.5], [48, 0.1]]},
}


def test_a_run_with_other_optimizers_parts_noise_and_schedule_goes_on_bit_for_bit(
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
