"""What a request may give a sampler: its own options, as its signature declares them."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from dualdiffusion.config import explain
from dualdiffusion.randomness import SeededNoise
from sampling.request import Request
from sampling.solvers.options import keywords, options_config
from sampling.solvers.samplers import SAMPLERS

LEVELS = [10.0, 4.0, 1.0, 0.3, 0.1, 0.0]


def request(sampler: str, **options: object) -> Request:
    return Request.from_json({"games": {"Castle": 1}, "sampler": sampler, "sampler_options": options})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_option_of_every_sampler_can_be_asked_for_and_arrives(sampler: str) -> None:
    defaults = {name: field.default for name, field in options_config(sampler).model_fields.items()}
    assert "reinjection" in defaults
    finite = {name: value for name, value in defaults.items() if value != math.inf}
    asked = request(sampler, **{**finite, "reinjection": 0.25}).sampler_options
    noise = SeededNoise([0])
    result = SAMPLERS[sampler](lambda x, sigma: x / (1 + sigma**2), torch.ones(1, 4), LEVELS, generator=noise)
    changed = SAMPLERS[sampler](
        lambda x, sigma: x / (1 + sigma**2), torch.ones(1, 4), LEVELS, generator=SeededNoise([0]), **keywords(asked)
    )
    assert not torch.equal(result, changed)
    assert type(asked.get("order", 1)) is int


@pytest.mark.parametrize(
    ("sampler", "options", "words"),
    [
        ("heun", {"s_chrn": 1.0}, "sampler_options.s_chrn: unknown key; did you mean sampler_options.s_churn?"),
        (
            "heun",
            {"reinjection": 1.0},
            "sampler_options.reinjection: input should be less than or equal to 0.95, not 1.0",
        ),
        ("euler", {"eta": 1.0}, "sampler_options.eta: unknown key; "),
        ("lms", {"order": 2.5}, "sampler_options.order: input should be a valid integer"),
        ("dpmpp_sde", {"r": 0.0}, "sampler_options.r: input should be greater than 0"),
        ("dpmpp_2m_sde", {"solver_type": "hoin"}, "sampler_options.solver_type: input should be 'midpoint' or 'heun'"),
        ("dpm_adaptive", {"rtol": "much"}, "sampler_options.rtol: input should be a valid number"),
    ],
)
def test_what_a_sampler_cannot_take_is_told_with_its_key(sampler: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        request(sampler, **options)
    assert explain(Request, error.value).startswith(words)
