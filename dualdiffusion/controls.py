"""What a person may ask of a model beside games: controls, which a model folder lists. Imports no torch.

A model's index (`model_index.json`) holds them beside its denoiser, so that page and command line can show and check
them without loading anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dualdiffusion.config import nearest
from dualdiffusion.errors import UserError

CONTROLS = "controls"  # in the index entry of a denoiser


@dataclass(frozen=True)
class Control:
    """A number that one may set.

    Attributes:
        label: for people.
        unit: such as "BPM".
        low, high: the range.
        usual: for each game whose training tracks tell it, values that part them evenly, rising, the lowest and the
            highest among them.
    """

    label: str
    unit: str
    low: float
    high: float
    usual: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a model's index."""
        usual = {game: [round(value, 3) for value in values] for game, values in self.usual.items()}
        return {"kind": "number", "label": self.label, "unit": self.unit, "low": self.low, "high": self.high} | {
            "usual": usual
        }

    @classmethod
    def from_json(cls, data: Any) -> Control:
        """
        Raises:
            KeyError, TypeError, ValueError: not a control.
        """
        usual = {game: tuple(float(value) for value in values) for game, values in data["usual"].items()}
        return cls(str(data["label"]), str(data["unit"]), float(data["low"]), float(data["high"]), usual)

    def usual_value(self, games: Mapping[str, float], quantile: float) -> float | None:
        """What tracks of a mix of games usually have: their geometric mean by weight, each at the same quantile.

        So it moves smoothly when the mix does. None where no game with a positive weight tells it.

        Args:
            quantile: from 0, the lowest value of each game, to 1, the highest.
        """
        weights = {game: weight for game, weight in games.items() if weight > 0 and self.usual.get(game)}
        total = sum(weights.values())
        if not total:
            return None
        value = 1.0
        for game, weight in weights.items():
            value *= _at(self.usual[game], quantile) ** (weight / total)
        return value


def _at(values: tuple[float, ...], quantile: float) -> float:
    """The value at a quantile of evenly spaced ones, interpolated."""
    place = quantile * (len(values) - 1)
    below = min(int(place), len(values) - 1)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def read_controls(entry: Mapping[str, Any], source: str) -> dict[str, Control]:
    """The controls of a denoiser's index entry; none for a model that is told games alone.

    Raises:
        UserError: damaged.
    """
    try:
        return {name: Control.from_json(data) for name, data in entry.get(CONTROLS, {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source}: damaged controls ({type(error).__name__}: {error}); train the model anew") from None


def controls_to_json(controls: Mapping[str, Control]) -> dict[str, Any]:
    """What `read_controls` reads; nothing for a model that is told games alone."""
    return {CONTROLS: {name: control.to_json() for name, control in controls.items()}} if controls else {}


def check_controls(asked: Mapping[str, float | None], known: Mapping[str, Control]) -> None:
    """
    Raises:
        UserError: a control that the model does not have, or a value outside of its range.
    """
    for name, value in asked.items():
        if name not in known:
            has = ", ".join(nearest(name, known) or known) or "none, as it is told games alone"
            raise UserError(f"controls.{name}: this model has no such control; it has: {has}")
        control = known[name]
        if value is not None and not control.low <= value <= control.high:
            unit = f" {control.unit}" if control.unit else ""
            raise UserError(f"controls.{name}: must be from {control.low:g} to {control.high:g}{unit}, not {value:g}")
