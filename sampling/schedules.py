"""Noise schedules: functions of the number of steps that return falling noise levels, the last one 0.

Each function listed in `SCHEDULES` is a schedule that a request may name. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable


def edm(steps: int, *, sigma_min: float, sigma_max: float, rho: float) -> list[float]:
    """Karras et al. 2022, equation 5: evenly spaced in sigma^(1/rho); `steps` levels and a final 0."""
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return [(high + i / max(steps - 1, 1) * (low - high)) ** rho for i in range(steps)] + [0.0]


def exponential(steps: int, *, sigma_min: float, sigma_max: float, rho: float) -> list[float]:
    """Evenly spaced in ln(sigma); `rho` is not used."""
    low, high = math.log(sigma_min), math.log(sigma_max)
    return [math.exp(high + i / max(steps - 1, 1) * (low - high)) for i in range(steps)] + [0.0]


SCHEDULES: dict[str, Callable[..., list[float]]] = {schedule.__name__: schedule for schedule in (edm, exponential)}
