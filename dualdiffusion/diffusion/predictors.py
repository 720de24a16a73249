"""Predictors: what a network is asked for, as four numbers for each noise level.

A network F sees scaled noisy data and answers with something of which the estimate of the clean data follows:

    D(x; sigma) = skip x + out F(input x; noise)

where x = x0 + sigma noise, and the data x0 have the standard deviation d. Each predictor here is one choice of the
four. Samplers, guidance and validation see D alone: whatever a network predicts, they are the same.

| predictor | F is asked for                     | skip            | out                 | input            |
|-----------|------------------------------------|-----------------|---------------------|------------------|
| EDM       | what makes skip x the clean data   | d^2/(s^2 + d^2) | s d/sqrt(s^2 + d^2) | 1/sqrt(s^2+d^2)  |
| Velocity  | the same with the other sign       | as EDM          | minus EDM's         | as EDM           |
| Noise     | the unit noise                     | 1               | -s                  | as EDM           |
| Clean     | the clean data, in units of d      | 0               | d                   | as EDM           |
| Flow      | the noise minus the clean data / d | d/(s + d)       | -s d/(s + d)        | 1/(s + d)        |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, model_validator
from torch import Tensor

from dualdiffusion.component import Component, part_of
from dualdiffusion.config import Config as BaseConfig
from dualdiffusion.diffusion.levels import Discrete


@dataclass(frozen=True)
class Scalings:
    """skip, out and input of D(x) = skip x + out F(input x), each of the shape of the noise levels."""

    skip: Tensor
    out: Tensor
    input: Tensor


class Predictor:
    """What a network is asked for. Subclasses say the scalings, and the time of their own, if they have one.

    Args:
        config: the default one where it is None.
    """

    Config: ClassVar[type[BaseConfig]]

    def __init__(self, config: BaseConfig | None = None) -> None:
        self.config = self.Config() if config is None else config

    def scalings(self, sigma: Tensor, data: float) -> Scalings:
        """The scalings at some noise levels.

        Args:
            sigma: above 0, of any shape.
            data: standard deviation of the clean data.
        """
        raise NotImplementedError

    def noise(self, sigma: Tensor, data: float) -> Tensor:
        """The noise levels (B,) as the network is told them: (B,), ln(sigma) / 4 where nothing else is chosen."""
        return sigma.float().log() / 4

    def output_weight(self, sigma: Tensor, data: float) -> Tensor:
        """The weight that makes the squared error of D that of F: of the shape of sigma."""
        return self.scalings(sigma, data).out ** -2


class LevelsConfig(BaseConfig):
    """Settings of a predictor whose network may be told the noise level in other ways than ours are."""

    input: Literal["log", "time", "levels"] = "log"
    """How the network is told the noise level. log: ln(sigma) / 4, which ours are made for; time: 0 is clean and 1 is
    noise (of Flow s / (s + d), else 2/pi atan(s / d)); levels: the number of a discrete level, from 0 on, which
    networks from elsewhere may be made for."""
    levels: Discrete.Config | None = None
    """The discrete levels; with `"input": "levels"` alone."""

    @model_validator(mode="after")
    def _fits_together(self) -> LevelsConfig:
        if self.input == "levels" and self.levels is None:
            raise ValueError('levels: are needed with "input": "levels", such as {"betas": "linear"}')
        if self.input != "levels" and self.levels is not None:
            raise ValueError(f'levels: need "input": "levels"; input is {self.input!r}')
        return self


class ToldLevels(Predictor):
    """A predictor whose network is told the noise level as its config says."""

    config: LevelsConfig

    def __init__(self, config: BaseConfig | None = None) -> None:
        super().__init__(config)
        self.levels = None if self.config.levels is None else Discrete(self.config.levels)

    def noise(self, sigma: Tensor, data: float) -> Tensor:
        """The noise levels (B,) as the network is told them: (B,)."""
        if self.levels is not None:
            return self.levels.index(sigma / data)
        return self.time(sigma.float(), data) if self.config.input == "time" else super().noise(sigma, data)

    def time(self, sigma: Tensor, data: float) -> Tensor:
        """From 0 (clean) to 1 (noise), such that x is scaled to cos(pi t / 2) x0 / d + sin(pi t / 2) noise."""
        return (sigma / data).atan() * (2 / math.pi)


class EDM(Predictor):
    """Input and target of unit variance, errors amplified as little as possible (Karras et al. 2022, table 1)."""

    class Config(BaseConfig):
        """No settings."""

    def scalings(self, sigma: Tensor, data: float) -> Scalings:
        """See `Predictor.scalings`."""
        return _edm(sigma, data)


class Velocity(ToldLevels):
    """v = a noise - b x0 / d, for x scaled to a x0 / d + b noise with a^2 + b^2 = 1 (Salimans and Ho 2022, appendix D).

    This is EDM with the other sign: networks differ by it alone.
    """

    class Config(LevelsConfig):
        """How the noise level is told."""

    def scalings(self, sigma: Tensor, data: float) -> Scalings:
        """See `Predictor.scalings`."""
        edm = _edm(sigma, data)
        return Scalings(edm.skip, -edm.out, edm.input)


class Noise(ToldLevels):
    """The unit noise (Ho et al. 2020). At high noise levels, errors of F are those of D times sigma."""

    class Config(LevelsConfig):
        """How the noise level is told."""

    def scalings(self, sigma: Tensor, data: float) -> Scalings:
        """See `Predictor.scalings`."""
        return Scalings(sigma * 0 + 1, -sigma, _unit_variance(sigma, data))


class Clean(ToldLevels):
    """The clean data themselves, in units of their standard deviation."""

    class Config(LevelsConfig):
        """How the noise level is told."""

    def scalings(self, sigma: Tensor, data: float) -> Scalings:
        """See `Predictor.scalings`."""
        return Scalings(sigma * 0, sigma * 0 + data, _unit_variance(sigma, data))


class Flow(ToldLevels):
    """Rectified flow (Liu et al. 2022): noise - x0 / d, for x scaled to (1 - t) x0 / d + t noise."""

    class Config(LevelsConfig):
        """How the noise level is told."""

    def scalings(self, sigma: Tensor, data: float) -> Scalings:
        """See `Predictor.scalings`."""
        return Scalings(data / (sigma + data), -sigma * data / (sigma + data), 1 / (sigma + data))

    def time(self, sigma: Tensor, data: float) -> Tensor:
        """From 0 (clean) to 1 (noise), the share of the noise."""
        return sigma / (sigma + data)


def _edm(sigma: Tensor, data: float) -> Scalings:
    skip = data**2 / (sigma**2 + data**2)
    out = sigma * data / (sigma**2 + data**2).sqrt()
    return Scalings(skip, out, _unit_variance(sigma, data))


def _unit_variance(sigma: Tensor, data: float) -> Tensor:
    return 1 / (sigma**2 + data**2).sqrt()


def _is_predictor(part: Component) -> Component:
    if not issubclass(part.cls, Predictor):
        names = ", ".join(f"predictors.{cls.__name__}" for cls in (EDM, Velocity, Noise, Clean, Flow))
        raise ValueError(f"{part.name} is no predictor; take one of {names}")
    return part


PredictorPart = Annotated[part_of("dualdiffusion.diffusion"), AfterValidator(_is_predictor)]
"""The type of a config field that holds a predictor."""
