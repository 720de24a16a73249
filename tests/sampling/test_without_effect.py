"""What is asked and changes nothing is told, and nothing else is."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from dualdiffusion.randomness import SeededNoise
from sampling.command.grid import parse_grid
from sampling.request import Request
from sampling.solvers.noise import BrownianNoise
from sampling.solvers.samplers import SAMPLERS, UNUSED
from sampling.solvers.schedules import NEED_ERROR, SCHEDULES, TAKE_RHO
from sampling.without_effect import other_length, without_effect
from tests.sampling.conftest import Command


def told(**said: object) -> str:
    return "\n".join(without_effect(Request.from_json({"games": {"Castle": 1}, **said}), said))


APG = {"projected_parallel": 0.0, "projected_momentum": -0.5}


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"rho": 3.0, "schedule": "linear"}, "rho"),
        ({"rho": 3.0, "sampler": "dpm_fast"}, "rho"),
        ({"steps": 12, "sampler": "dpm_adaptive"}, "steps"),
        ({"noise": "brownian"}, "noise"),
        ({"noise": "brownian", "sampler": "euler_ancestral", "sampler_options": {"eta": 0.0}}, "noise"),
        ({"sampler": "euler", "sampler_options": {"reinjection_max": 5.0}}, "sampler_options.reinjection_max"),
        ({"sampler_options": {"restart_min": 0.2}}, "sampler_options.restart_min"),
        ({"sampler_options": {"s_noise": 1.01}}, "sampler_options.s_noise"),
        ({"cfg_scale": 1.0, "guidance": {"interval": [0.3, 5.0]}}, "guidance.interval"),
        ({"cfg_scale": 1.0, "guidance": APG}, "guidance.projected_momentum"),
        ({"cfg_scale": 1.0, "guidance": {"scales": {"tempo": 1.0}, "rescale": 0.5}}, "guidance.rescale"),
        ({"guidance": {"scales": {"tempo": 3.0}}, "controls": {"tempo": None}}, "guidance.scales.tempo"),
        ({"guidance": {"interval": [100.0, 200.0]}}, "guidance.interval"),
        ({"variation_seed": 5}, "variation_seed"),
        ({"source": {"path": "a.flac", "strength": 0.0}, "steps": 100}, "steps"),
    ],
)
def test_what_changes_nothing_is_told(said: dict, key: str) -> None:
    assert f"{key}: " in told(**said)


@pytest.mark.parametrize(
    "said",
    [
        {},
        json.loads(Request(games={"Castle": 1.0}).model_dump_json()),  # all of it, as it would be anyhow
        {"rho": 3.0},
        {"rho": 3.0, "schedule": "linear", "source": {"path": "a.flac"}},  # says where the source's noise begins
        {"noise": "brownian", "sampler": "euler_ancestral"},
        {"sampler_options": {"reinjection": 0.5, "reinjection_max": 5.0}},
        {"sampler_options": {"s_churn": 5.0, "s_noise": 1.01}},
        {"cfg_scale": 1.0, "guidance": {"weak_ema": "raw", "weak_scale": 2.0, "interval": [0.3, 5.0]}},
        {"guidance": {"interval": [0.3, 5.0], **APG}},
        {"cfg_scale": 1.0, "guidance": {"scales": {"tempo": 3.0}, "interval": [0.3, 5.0]}},
        {"guidance": {"scales": {"tempo": 3.0}}, "controls": {"tempo": 120.0}},
        {"variation_seed": 5, "variation_strength": 0.2},
    ],
)
def test_what_changes_something_is_not(said: dict) -> None:
    assert told(**said) == ""


@pytest.mark.parametrize("sampler", ["dpm_fast", "dpm_adaptive"])
def test_an_exponent_that_nothing_follows_is_told_once(sampler: str) -> None:
    assert told(sampler=sampler, schedule="linear", rho=3.0).count("rho: ") == 1


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - NEED_ERROR))
def test_a_schedule_that_is_told_to_have_no_exponent_has_none(schedule: str) -> None:
    levels = [SCHEDULES[schedule](8, sigma_min=0.01, sigma_max=80, rho=rho) for rho in (2.0, 5.0)]
    assert (levels[0] != levels[1]) == (schedule in TAKE_RHO)


def sampled(sampler: str, sigmas: list[float], *, brownian: bool = False) -> Tensor:
    noise = BrownianNoise([0], sigma_min=0.01, sigma_max=80) if brownian else SeededNoise([0])
    x = sigmas[0] * torch.linspace(-1, 1, 8)[None, None, None]

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return (x / (1 + sigma**2)).tanh()

    return SAMPLERS[sampler](denoise, x, sigmas, generator=noise)


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_a_sampler_follows_what_is_not_told_of_it(sampler: str) -> None:
    def levels(schedule: str, steps: int) -> list[float]:
        return SCHEDULES[schedule](steps, sigma_min=0.01, sigma_max=80)

    usual = sampled(sampler, levels("edm", 6))
    other = {
        "schedule": sampled(sampler, levels("vp", 6)),
        "steps": sampled(sampler, levels("edm", 9)),
        "noise": sampled(sampler, levels("edm", 6), brownian=True),
    }
    changed = {name for name, result in other.items() if not torch.allclose(result, usual, atol=1e-6)}
    silent = {*UNUSED.get(sampler, ())} | ({"noise"} if "noise: " in told(sampler=sampler, noise="brownian") else set())
    assert changed == {"schedule", "steps", "noise"} - silent


def test_another_length_than_that_of_the_source_is_told() -> None:
    made = Request.from_json({"games": {"Castle": 1}, "source": {"path": "a.flac"}, "seconds": 2.5})
    assert other_length({"seconds": 3}, made) == ["seconds: the clip is as long as its source, 2.5 s, not 3 s"]
    assert other_length({"seconds": 2.5}, made) == other_length({}, made) == []


@pytest.mark.parametrize("option", [["--latents"], ["--format", "wav"], ["--raw"]])
def test_a_picture_of_the_schedule_takes_no_options_of_clips(command: Command, tmp_path, option: list[str]) -> None:
    result = command("--plot-schedule", tmp_path / "x.png", *option)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"leave out {option[0]}" in result.stderr


def test_the_command_line_tells_it_once(command: Command, model, tmp_path) -> None:
    games = ["--game", "Castle", "--seconds", 1, "--steps", 2, "--out", tmp_path, "--count", 2]
    result = command("--model", model.path, *games, "--set", "rho=3", "schedule=linear")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("note: rho: the schedule linear has no exponent") == 1


def test_a_game_that_is_given_twice_is_refused_in_whatever_form(command: Command, model, tmp_path) -> None:
    given = ["--model", model.path, "--out", tmp_path, "--game", "Pok\u00e9mon=1", "--game", "Poke\u0301mon=2"]
    result = command(*given)
    assert result.returncode == 2
    assert "is given twice" in result.stderr
    with pytest.raises(ValueError, match="stands there twice"):
        Request.from_json({"games": {"Pok\u00e9mon": 1, "Poke\u0301mon": 2}})


def test_games_that_are_called_numbers_vary_by_their_names() -> None:
    assert parse_grid(["game=1.50,1942,null"])[0].values == ("1.50", "1942", "null")
