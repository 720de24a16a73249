"""Parts chosen by name in a config: `{"type": "unet_edm2.UNet", ...}`.

A *kind folder* (dualdiffusion/models, dualdiffusion/formats, train/module_trainers, ...) is its own registry: the name
is `<file>.<Class>`, and nothing outside the folder can be named. Adding a part is adding a file.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import JsonValue, PlainSerializer, PlainValidator, ValidationError

from dualdiffusion.config import Config, InvalidPartError, nearest
from dualdiffusion.errors import UserError

_NAME = re.compile(r"([a-z][a-z0-9_]*)\.([A-Z][A-Za-z0-9]*)")


def list_files(package: str) -> list[str]:
    """The file names (without .py) of a kind folder, given as its dotted package name."""
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))


def resolve(package: str, name: str) -> type[Any]:
    """The class that `name` stands for in a kind folder.

    Args:
        package: dotted name of the kind folder, such as "dualdiffusion.models".
        name: `<file>.<Class>`.

    Raises:
        UserError: no such file or class there; the message gives the nearest names.
    """
    match = _NAME.fullmatch(name)
    kind = package.rpartition(".")[2]
    if not match:
        raise UserError(f"type {name!r}: must be <file>.<Class> in {kind}/")
    file, class_name = match.groups()
    files = list_files(package)
    if file not in files:
        hint = nearest(file, files) or files
        raise UserError(f"type {name!r}: no file {file}.py in {kind}/; nearest: {', '.join(hint)}")
    # Only after the file was found in the folder: a config must not import anything else.
    module = importlib.import_module(f"{package}.{file}")
    found = getattr(module, class_name, None)
    if not _is_component(found, module.__name__):
        known = [key for key, value in vars(module).items() if _is_component(value, module.__name__)]
        hint = nearest(class_name, known) or known
        raise UserError(f"type {name!r}: no such class in {kind}/{file}.py; it has: {', '.join(hint)}")
    return found


def type_name(part: type[Any]) -> str:
    """The name under which `resolve` finds a class: its file and class name, without the folder."""
    return f"{part.__module__.rpartition('.')[2]}.{part.__name__}"


def _is_component(value: object, module: str) -> bool:
    own_config = getattr(value, "Config", None)
    # Of this very file: what it imports is not offered under its name.
    return (
        isinstance(value, type)
        and value.__module__ == module
        and isinstance(own_config, type)
        and issubclass(own_config, Config)
    )


@dataclass(frozen=True)
class Component:
    """A class of a kind folder with its validated config."""

    cls: type[Any]
    config: Any

    @property
    def name(self) -> str:
        """The `type` in the config file."""
        return type_name(self.cls)

    def build(self) -> Any:
        """Constructs a part that needs nothing but its config.

        Raises:
            UserError: settings that are valid each, but do not go together.
        """
        try:
            return self.cls(self.config)
        except ValueError as error:
            raise UserError(f"{self.name}: {error}") from None

    def to_json(self) -> dict[str, Any]:
        """The object that stands in a config file for this part."""
        return {"type": self.name, **self.config.to_json()}


def component_from_json(package: str, data: JsonValue) -> Component:
    """Validates `{"type": ..., settings}` against the config of the named class.

    Raises:
        ValueError: wrong shape or unknown type.
        InvalidPartError: the settings do not fit the class's config.
    """
    if isinstance(data, Component):
        return data
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise ValueError('must be an object with a "type"')
    try:
        cls = resolve(package, data["type"])
    except UserError as error:
        raise ValueError(str(error)) from None
    settings = {key: value for key, value in data.items() if key != "type"}
    try:
        return Component(cls, cls.Config.from_json(settings))
    except ValidationError as error:
        raise InvalidPartError(cls.Config, error) from None


def part_of(package: str) -> Any:
    """The type of a config field that holds a part of a kind folder: `model: part_of("dualdiffusion.models")`."""
    return Annotated[
        Component,
        PlainValidator(lambda data: component_from_json(package, data)),
        PlainSerializer(lambda part: part.to_json()),
    ]
