"""What a person may ask of a model beside games: controls, which a model folder lists. Imports no torch.

A model's index (`model_index.json`) holds them beside its denoiser, so that page and command line can show and check
them without loading anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from pydantic import JsonValue

from dualdiffusion.config import nearest
from dualdiffusion.errors import UserError

CONTROLS = "controls"  # in the index entry of a denoiser


Asked = float | str | dict[str, float] | tuple[float, ...]
"""What may be asked of a control: a number; a name or weights by name; values along the clip, evenly spaced."""


class AnyControl(Protocol):
    """What one may set of a model, whatever its kind."""

    kind: ClassVar[str]
    label: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in a model's index."""
        ...

    def wrong(self, value: Asked) -> str | None:
        """What a value must be, if it is not that."""
        ...

    def usual_value(self, games: Mapping[str, float], quantile: float) -> Asked | None:
        """What is told of a mix of games where nothing is asked; None: nothing."""
        ...


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

    kind: ClassVar[str] = "number"
    label: str
    unit: str
    low: float
    high: float
    usual: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a model's index."""
        usual = {game: [round(value, 3) for value in values] for game, values in self.usual.items()}
        return {"kind": self.kind, "label": self.label, "unit": self.unit, "low": self.low, "high": self.high} | {
            "usual": usual
        }

    def wrong(self, value: Asked) -> str | None:
        """What a value must be, if it is not that: a number in the range."""
        return None if _inside(value, self) else f"must be {_range(self)}"

    @classmethod
    def from_json(cls, data: JsonValue) -> Control:
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


@dataclass(frozen=True)
class MixControl:
    """Weights of names, such as composers; negative ones push away. One name alone has all the weight.

    Attributes:
        label: for people.
        names: that may be mixed.
    """

    kind: ClassVar[str] = "mix"
    label: str
    names: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As it stands in a model's index."""
        return {"kind": self.kind, "label": self.label, "names": list(self.names)}

    @classmethod
    def from_json(cls, data: JsonValue) -> MixControl:
        """
        Raises:
            KeyError, TypeError: not a control.
        """
        return cls(str(data["label"]), tuple(str(name) for name in data["names"]))

    def wrong(self, value: Asked) -> str | None:
        """What a value must be, if it is not that: a known name, or weights of known names, not all of them 0."""
        weights = {value: 1.0} if isinstance(value, str) else value
        if not isinstance(weights, dict) or not any(weights.values()):
            return "must be a name, or weights of names that are not all 0"
        unknown = next((name for name in weights if name not in self.names), None)
        if unknown is None:
            return None
        return f"must be among {', '.join(nearest(unknown, self.names) or self.names)}"

    def usual_value(self, games: Mapping[str, float], quantile: float) -> None:
        """Nothing is told where nothing is asked."""


@dataclass(frozen=True)
class CurveControl:
    """A value along the clip.

    Attributes:
        label: for people.
        unit: such as "dB".
        low, high: the range.
    """

    kind: ClassVar[str] = "curve"
    label: str
    unit: str
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """As it stands in a model's index."""
        return {"kind": self.kind, "label": self.label, "unit": self.unit, "low": self.low, "high": self.high}

    @classmethod
    def from_json(cls, data: JsonValue) -> CurveControl:
        """
        Raises:
            KeyError, TypeError, ValueError: not a control.
        """
        return cls(str(data["label"]), str(data["unit"]), float(data["low"]), float(data["high"]))

    def wrong(self, value: Asked) -> str | None:
        """What a value must be, if it is not that: a number, or several, in the range."""
        values = value if isinstance(value, tuple | list) else (value,)
        if values and all(_inside(one, self) for one in values):
            return None
        return f"must be a number or a list of numbers {_range(self)}"

    def usual_value(self, games: Mapping[str, float], quantile: float) -> None:
        """Nothing is told where nothing is asked."""


@dataclass(frozen=True)
class SourceControl:
    """Something that only a source tells, such as its parts that are kept: it can be left out, not asked for."""

    kind: ClassVar[str] = "source"
    label: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in a model's index."""
        return {"kind": self.kind, "label": self.label}

    @classmethod
    def from_json(cls, data: JsonValue) -> SourceControl:
        """
        Raises:
            KeyError, TypeError: not a control.
        """
        return cls(str(data["label"]))

    def wrong(self, value: Asked) -> str | None:
        """Every value is."""
        return "can only be null, as the source says it"

    def usual_value(self, games: Mapping[str, float], quantile: float) -> None:
        """Nothing is told where there is no source."""


KINDS: dict[str, type[Control | MixControl | CurveControl | SourceControl]] = {
    cls.kind: cls for cls in (Control, MixControl, CurveControl, SourceControl)
}


def control_from_json(data: JsonValue) -> AnyControl:
    """
    Raises:
        AttributeError, KeyError, TypeError, ValueError: not a control.
    """
    return KINDS[data.get("kind", Control.kind)].from_json(data)


def _inside(value: Asked, control: Control | CurveControl) -> bool:
    return isinstance(value, int | float) and control.low <= value <= control.high


def _range(control: Control | CurveControl) -> str:
    return f"from {control.low:g} to {control.high:g}" + (f" {control.unit}" if control.unit else "")


def _at(values: tuple[float, ...], quantile: float) -> float:
    """The value at a quantile of evenly spaced ones, interpolated."""
    place = quantile * (len(values) - 1)
    below = min(int(place), len(values) - 1)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def read_controls(entry: Mapping[str, Any], source: str) -> dict[str, AnyControl]:
    """The controls of a denoiser's index entry; none for a model that is told games alone.

    Raises:
        UserError: damaged.
    """
    try:
        return {name: control_from_json(data) for name, data in entry.get(CONTROLS, {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source}: damaged controls ({type(error).__name__}: {error}); train the model anew") from None


def controls_to_json(controls: Mapping[str, AnyControl]) -> dict[str, Any]:
    """What `read_controls` reads; nothing for a model that is told games alone."""
    return {CONTROLS: {name: control.to_json() for name, control in controls.items()}} if controls else {}


def check_controls(asked: Mapping[str, Asked | None], known: Mapping[str, AnyControl]) -> None:
    """
    Raises:
        UserError: a control that the model does not have, or a value that it cannot have.
    """
    for name, value in asked.items():
        if name not in known:
            has = ", ".join(nearest(name, known) or known) or "none, as it is told games alone"
            raise UserError(f"controls.{name}: this model has no such control; it has: {has}")
        wrong = None if value is None else known[name].wrong(value)
        if wrong:
            said = f"{value:g}" if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)
            raise UserError(f"controls.{name}: {wrong}, not {said[:80]}")
