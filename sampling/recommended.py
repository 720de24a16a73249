"""What a model recommends to ask of it: `request.json` in its folder, a part of a request. Imports no torch.

Commands, page and demos take these fields where nothing is said. What is said wins: a field as a whole where a request
says it, so that a complete request is what it was; a part of what then stands there with `--set guidance.rescale=0.5`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue

from dualdiffusion.config import apply_overrides, validate
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json
from dualdiffusion.model.folder import ModelFolder
from sampling.request import Request

RECOMMENDABLE = (
    "steps",
    "cfg_scale",
    "sampler",
    "sampler_options",
    "schedule",
    "sigma_max",
    "sigma_min",
    "sigma_end",
    "rho",
    "noise",
    "guidance",
    "phase_iterations",
)
"""Fields that say how clips are made. What a clip is of, and how long, is the user's to say."""
BELONGS_TO = {"sampler_options": "sampler", "rho": "schedule"}
"""Fields that mean nothing, or something else, where another sampler or schedule is asked for."""


@dataclass(frozen=True)
class Recommended:
    """Fields of a request that hold where nothing is said; none for a model that recommends nothing."""

    fields: dict[str, Any] = field(default_factory=dict)

    def beside(self, said: dict[str, Any]) -> dict[str, Any]:
        """The fields that make sense with the request data `said`, whether it has them or not."""
        return {name: value for name, value in self.fields.items() if self._holds(name, said)}

    def _holds(self, name: str, said: dict[str, Any]) -> bool:
        owner = BELONGS_TO.get(name)
        if owner is None or owner not in said:
            return True
        return said[owner] == self.fields.get(owner, Request.model_fields[owner].default)


@dataclass(frozen=True)
class Asked:
    """What is said of a request.

    Attributes:
        fields: of the request, whole.
        overrides: `key.path=value`, which change parts of what is said, or else of what is recommended.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def said(self) -> dict[str, Any]:
        """The request's data without any recommendation.

        Raises:
            UserError: an override makes no sense.
        """
        return apply_overrides(self.fields, self.overrides)

    def over(self, recommended: Recommended) -> dict[str, Any]:
        """The request's data, with what is recommended where nothing is said.

        Raises:
            UserError: an override makes no sense.
        """
        return apply_overrides({**recommended.beside(self.said()), **self.fields}, self.overrides)

    def and_field(self, name: str, value: JsonValue) -> Asked:
        """The same with another field, said whole: what an override says of all of it no longer holds."""
        others = tuple(override for override in self.overrides if override.partition("=")[0] != name)
        return replace(self, fields={**self.fields, name: value}, overrides=others)

    def and_override(self, override: str) -> Asked:
        """The same with another override, after the others."""
        return replace(self, overrides=(*self.overrides, override))


def read_recommended(folder: ModelFolder) -> Recommended:
    """What a model recommends.

    Raises:
        UserError: `request.json` is damaged, or holds what no request may, or no model may recommend.
    """
    path = folder.request_path
    return check_recommended(read_json(path), str(path)) if path.exists() else Recommended()


def check_recommended(fields: JsonValue, source: str) -> Recommended:
    """Fields as a recommendation, checked as those of any request.

    Args:
        source: where they come from, for errors.

    Raises:
        UserError: one line that names the source and the key.
    """
    if not isinstance(fields, dict):
        raise UserError(f"{source}: must hold a JSON object with fields of a request")
    for name in fields:
        if name in Request.model_fields and name not in RECOMMENDABLE:
            raise UserError(
                f"{source}: {name}: is for each request to say; a model may recommend {', '.join(RECOMMENDABLE)}"
            )
    request = validate(Request, {"games": {"any": 1.0}, **fields}, source)
    if request.guidance.weak_model is not None:
        raise UserError(
            f"{source}: guidance.weak_model: a path is lost when the model is moved; name one of its own EMAs with "
            "guidance.weak_ema"
        )
    return Recommended(fields)
