"""The learning rate over the course of training, by name."""

from __future__ import annotations

import bisect
import itertools
import math
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, field_validator, model_validator

from dualdiffusion.config import Config


class ScheduleConfig(Config):
    """The learning rate as a function of the samples seen."""

    type: str = "edm2"
    """edm2 (constant, then falling with the inverse square root), constant, cosine (half a wave, from the first sample
    to reference_samples), inverse_lr ((1 + samples / reference_samples)^-power), or points (straight lines between
    `points`)."""
    warmup_samples: Annotated[int, Field(ge=0)] = 0
    """The rate rises linearly over so many samples."""
    reference_samples: Annotated[int, Field(gt=0)] = 70_000_000
    """edm2: the rate starts to fall after so many samples (t_ref times the batch size in the paper); cosine: it has
    fallen to final_factor; inverse_lr: the time scale (inv_gamma, in samples)."""
    power: PositiveFloat = 1.0
    """inverse_lr: how steeply the rate falls."""
    final_factor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """cosine and inverse_lr: the rate does not fall below this share of the reference rate."""
    points: tuple[tuple[NonNegativeInt, NonNegativeFloat], ...] = ()
    """points: samples and what the rate is multiplied with there, such as [[0, 1], [80000, 1], [100000, 0.1]]. Before
    the first and after the last it stays; two points that are one sample apart are a step."""

    @model_validator(mode="after")
    def _points(self) -> ScheduleConfig:
        samples = [at for at, _ in self.points]
        if self.type == "points" and not samples:
            raise ValueError('points: are needed with "type": "points", such as [[0, 1], [100000, 0.1]]')
        if any(after <= before for before, after in itertools.pairwise(samples)):
            raise ValueError("points: each must come after the one before")
        return self

    @field_validator("type")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SCHEDULES:
            raise ValueError(f"must be one of {', '.join(SCHEDULES)}")
        return name

    @property
    def unused(self) -> list[str]:
        """Fields that say something, and that a schedule of this type does not look at."""
        shaping = {"reference_samples", "power", "final_factor", "points"} - TAKES[self.type]
        return [name for name in sorted(shaping) if getattr(self, name) != type(self).model_fields[name].default]

    def factor(self, samples: int) -> float:
        """What the reference learning rate is multiplied with after `samples` samples: at most 1, or as `points`."""
        warmup = min(1.0, (samples + 1) / self.warmup_samples) if self.warmup_samples else 1.0
        return warmup * SCHEDULES[self.type](self, samples)


def edm2(config: ScheduleConfig, samples: int) -> float:
    """Inverse square root decay after the reference point (Karras et al. 2023, equation 67)."""
    return 1 / math.sqrt(max(samples / config.reference_samples, 1.0))


def constant(config: ScheduleConfig, samples: int) -> float:
    """Always 1."""
    return 1.0


def cosine(config: ScheduleConfig, samples: int) -> float:
    """Half a cosine wave from 1 down to final_factor, which then stays (Loshchilov and Hutter 2017, equation 5)."""
    done = min(samples / config.reference_samples, 1.0)
    return config.final_factor + (1 - config.final_factor) * (1 + math.cos(math.pi * done)) / 2


def inverse_lr(config: ScheduleConfig, samples: int) -> float:
    """Falls with a power of the time: (1 + samples / reference_samples)^-power, and not below final_factor."""
    return max(config.final_factor, (1 + samples / config.reference_samples) ** -config.power)


def points(config: ScheduleConfig, samples: int) -> float:
    """Straight lines between the points of the config."""
    after = bisect.bisect_right(config.points, samples, key=lambda point: point[0])
    start, low = config.points[max(after - 1, 0)]
    end, high = config.points[min(after, len(config.points) - 1)]
    return low + (high - low) * (samples - start) / (end - start) if end > start else low


SCHEDULES = {schedule.__name__: schedule for schedule in (edm2, constant, cosine, inverse_lr, points)}
TAKES = {
    "edm2": {"reference_samples"},
    "constant": set(),
    "cosine": {"reference_samples", "final_factor"},
    "inverse_lr": {"reference_samples", "power", "final_factor"},
    "points": {"points"},
}
