"""Sampling that stops at some noise level, such as that of the latents themselves."""

from __future__ import annotations

import pytest
import torch

from dualdiffusion.config import validate
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.randomness import SeededNoise
from sampling.generator import Generator
from sampling.request import Request
from sampling.solvers.samplers import SAMPLERS
from sampling.without_effect import without_effect
from tests.sampling.solvers.test_samplers import MODE_STD, denoise_modes

GAME = {"games": {"Castle": 1.0}}


def levels(latents: float | None = None, **fields: object) -> list[float]:
    return validate(Request, {**GAME, "steps": 5, **fields}, "request").noise_levels(latents=latents)


def test_the_levels_end_there_after_as_many_steps_and_without_a_word_as_ever() -> None:
    assert levels()[-2:] == [0.01, 0.0] and levels(0.1) == levels()
    assert levels(sigma_end=0.05)[-1] == 0.05 and levels(sigma_end=0.05)[0] == 80.0
    assert len(levels(sigma_end=0.05)) == len(levels())
    assert levels(0.1, sigma_end="latents") == levels(sigma_end=0.1)
    assert levels(sigma_end="latents") == levels()  # where no model is known
    assert levels(sigma_end=0.05, steps=1) == [80.0, 0.05]


def test_an_end_that_is_no_end_is_one_line_that_names_the_key() -> None:
    for fields in ({"sigma_end": 0}, {"sigma_end": "latent"}, {"sigma_end": 9.0, "sigma_max": 8.0}):
        with pytest.raises(UserError, match="sigma_end"):
            levels(**fields)
    with pytest.raises(UserError, match="sigma_end: 5 must be below the noise level that sampling starts at"):
        levels(sigma_end=5.0, source={"path": "x", "strength": 0.3})
    assert levels(sigma_end=5.0, source={"path": "x", "strength": 0.0})  # of which nothing is sampled
    said = {"sigma_end": 0.1, "sigma_min": 0.02}
    assert without_effect(Request(**GAME, **said), said) == ["sigma_min: sigma_end says where the noise levels end"]


def test_a_source_that_is_changed_less_than_the_noise_of_the_latents_goes_on_to_0() -> None:
    for strength in (0.1, 0.3, 0.6):
        source = {"path": "x", "strength": strength}
        low, high = levels(0.001, source=source), levels(0.001, source=source, sigma_end="latents")
        assert high[0] == low[0] and high[-1] == 0.001 < low[-2]
        assert levels(low[0], source=source, sigma_end="latents") == levels(source=source)


def test_the_noise_of_the_latents_is_that_of_the_vae_in_the_units_of_diffusion(model: ModelFolder) -> None:
    generator = Generator.load(model, "cpu")
    fields = {"seconds": 0.5, "steps": 3, "sampler": "euler", "cfg_scale": 1.0, **GAME}
    whole = generator.generate(Request(**fields))
    own = float(generator.vae.noise_std / generator.vae.latents_std.max())
    assert 0 < own < 10
    found = generator.generate(Request(**fields, sigma_end="latents")).latents
    assert torch.equal(found, generator.generate(Request(**fields, sigma_end=own)).latents)
    assert not torch.equal(found, whole.latents)
    assert whole.request.sigma_end is None


def test_fewer_steps_come_as_close_where_sampling_stops_at_the_noise_of_the_data() -> None:
    """Of data with noise of MODE_STD in them: what 16 steps to 0 are off by, takes 14 to there, and 12 less than 14."""

    def error(steps: int, end: float | None) -> float:
        x = 80 * torch.randn(1, 2001, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

        def sorted_samples(steps: int) -> torch.Tensor:
            found = levels(steps=steps, sigma_end=end)
            return SAMPLERS["heun"](denoise_modes, x, found, generator=SeededNoise([0])).sort()[0]

        return float((sorted_samples(steps) - sorted_samples(400)).abs().mean())

    assert error(14, MODE_STD) < error(16, None)
    assert error(12, MODE_STD) < 0.7 * error(12, None)
