"""What one may ask of a trained model: one typed request for the command line, the page and the trainer's demos.

Imports no torch, so that the web process and `--help` can use it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from dualdiffusion.config import Config, nearest
from dualdiffusion.labels import Labels
from sampling.samplers import SAMPLERS
from sampling.schedules import SCHEDULES

MAX_SECONDS = 600.0


def _one_of(names: list[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            hint = nearest(value, names)
            raise ValueError(f"must be one of {', '.join(names)}" + (f"; did you mean {hint[0]}?" if hint else ""))
        return value

    return AfterValidator(check)


def _some_weight(games: dict[str, float]) -> dict[str, float]:
    if not any(games.values()):
        raise ValueError("at least one game needs a weight other than 0")
    return games


class Request(Config):
    """A clip to generate. The same request on the same model and machine gives the same samples, bit for bit."""

    games: Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], AfterValidator(_some_weight)]
    """Weight of each game in the mix; only ratios matter, negative pushes away."""
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    """Of the initial noise. Below 2^53, which a browser's numbers hold exactly."""
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] = 8.0
    """Length of the clip, in seconds."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 30
    """Noise levels to go through."""
    cfg_scale: Annotated[float, Field(ge=0, le=100)] = 2.0
    """Classifier-free guidance: 1 is off, larger follows the games more closely."""
    sampler: Annotated[str, _one_of(list(SAMPLERS))] = "heun"
    """Name of a sampler in sampling/samplers.py."""
    schedule: Annotated[str, _one_of(list(SCHEDULES))] = "edm"
    """Name of a schedule in sampling/schedules.py."""
    sigma_max: Annotated[float, Field(gt=0, le=1000)] = 80.0
    """First noise level, in units of the latents' standard deviation."""
    sigma_min: Annotated[float, Field(gt=0, le=10)] = 0.01
    """Last noise level before 0."""
    rho: Annotated[float, Field(ge=1, le=100)] = 7.0
    """How much the edm schedule crowds towards low noise (EDM, equation 5)."""
    ema: str | None = None
    """Weights of the UNet: the name of an EMA, `raw`, or null for the model's default."""
    phase_iterations: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Iterations of phase recovery; null for the format's own setting."""

    @model_validator(mode="after")
    def _ordered(self) -> Request:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min: {self.sigma_min} must be below sigma_max, which is {self.sigma_max}")
        return self

    def label_vector(self, labels: Labels) -> list[float]:
        """The games as the vector that the UNet is given; see `Labels.vector`."""
        return labels.vector(self.games)
