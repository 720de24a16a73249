"""Strict configuration: JSON files that extend one another, dotted overrides, and errors that name the key.

A config class is declared beside the class that it configures. A file is read by `load_config`, which
- resolves `extends` (a path relative to the file, in any object of the file),
- applies `--set key.path=value` overrides, whose value may be another file: `key.path=@file.json`, and
- validates strictly: an unknown key, a wrong type or an impossible value is one line with file and key path.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, field_validator

from dualdiffusion.errors import UserError
from dualdiffusion.files import from_home, read_json
from dualdiffusion.machine.notices import tell_once
from dualdiffusion.odd_json import not_valid

C = TypeVar("C", bound="Config")


# A key in a path, in double quotes or without; and all of a path.
_KEY = re.compile(r'\s*"([^"]+)"\s*(?=[.=]|$)|([^.=]+)')
_OVERRIDE = re.compile(rf"(?:{_KEY.pattern})(?:\.(?:{_KEY.pattern}))*=")


class Config(BaseModel):
    """Base of every config: frozen, strict, and refusing what it does not know."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        validate_default=True,
    )

    @field_validator("*", mode="after")
    @classmethod
    def _from_home(cls, value: Any) -> Any:
        """Paths that begin with ~, which a shell leaves alone after `=` and nobody expands in a file."""
        return from_home(value) if isinstance(value, Path) else value

    def to_json(self) -> dict[str, Any]:
        """The fully resolved config as JSON data; reading it back gives an equal config."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: JsonValue) -> Self:
        """Validates JSON data strictly. Lists serve for tuples, and strings for paths, as JSON has neither.

        Raises:
            pydantic.ValidationError: see `explain` for turning it into one line.
        """
        return cls.model_validate_json(json.dumps(data), strict=True)


class InvalidPartError(ValueError):
    """A validation error inside a part that was chosen by name, with the part's config class for near-miss hints."""

    def __init__(self, config: type[Config], error: ValidationError) -> None:
        super().__init__(str(error))
        self.config, self.error = config, error


def load_config(config: type[C], path: Path, overrides: Sequence[str] = ()) -> C:
    """Reads, merges and validates a config file.

    Args:
        config: the class to validate against.
        path: the JSON file.
        overrides: `key.path=value` strings; values are JSON, or plain text where they are not valid JSON.

    Raises:
        UserError: one line naming the file, the key path, and what is allowed there.
    """
    data = apply_overrides(read_config(path), overrides)
    return validate(config, data, str(path))


def validate(config: type[C], data: JsonValue, source: str) -> C:
    """Validates JSON data against `config`; `source` names where the data came from in errors.

    Raises:
        UserError: one line naming the source, the key path, and what is allowed there.
    """
    try:
        return config.from_json(data)
    except ValidationError as error:
        raise UserError(f"{source}: {explain(config, error)}") from None


def read_config(path: Path, _seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Reads a JSON file and resolves every `extends` in it, without validating.

    Raises:
        UserError: missing or malformed file, or files that extend one another in a circle.
    """
    path = _installed(Path(path))
    # Resolved, because one file may be named in several ways.
    if path.resolve() in _seen:
        raise UserError(f"{path}: extends itself")
    data = read_json(path)
    if not isinstance(data, dict):
        raise UserError(f"{path}: must hold a JSON object, not {_json_type(data)}")
    return _resolve_extends(data, path, (*_seen, path.resolve()))


def _installed(path: Path) -> Path:
    """The path itself; or, from a folder without configs, what came with the program as `config/...`."""
    came_with_us = Path(__file__).resolve().parent.parent / path
    return came_with_us if path.parts[:1] == ("config",) and not path.exists() and came_with_us.exists() else path


def _resolve_extends(value: JsonValue, path: Path, seen: tuple[Path, ...]) -> Any:
    if isinstance(value, list):
        return [_resolve_extends(item, path, seen) for item in value]
    if not isinstance(value, dict):
        return value
    own = {key: _resolve_extends(item, path, seen) for key, item in value.items() if key != "extends"}
    if "extends" not in value:
        return own
    if not isinstance(value["extends"], str):
        raise UserError(f"{path}: extends: must be the path of one file, not {_json_type(value['extends'])}")
    try:
        base_path = path.parent / from_home(Path(value["extends"]))
    except ValueError as error:
        raise UserError(f"{path}: extends: {error}") from None
    if not base_path.is_file():
        raise UserError(f"{path}: extends: {value['extends']}: no such file (paths are relative to {path.parent}/)")
    return merge(read_config(base_path, seen), own)


def merge(base: JsonValue, changes: JsonValue) -> Any:
    """`base` with `changes` laid over it, object by object; lists and values are replaced whole.

    Where `changes` names another `type` of part, its object replaces the old one: settings of one part mean nothing
    to another.
    """
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    if "type" in changes and changes["type"] != base.get("type", changes["type"]):
        return changes
    return {**base, **{key: merge(base.get(key), value) for key, value in changes.items()}}


def apply_overrides(data: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `data` with `key.path=value` overrides set; a number in the path indexes a list.

    An object is laid over the one that is there. What a file holds, `key.path=@file.json`, takes its place.

    Raises:
        UserError: an override without `=`, a path through something that is not an object or list, or a file that is
            not there or no config.
    """
    overrides = list(overrides)
    tell_repeated(overrides)
    # A deep copy: the caller's data stay as they are.
    data = json.loads(json.dumps(data))
    for override in overrides:
        keys, text = split_override(override)
        if names_file(text):
            _set_path(data, keys, None, override)
            try:
                file = from_home(Path(text[1:]))
            except ValueError as error:
                raise UserError(f"--set {override}: {error}") from None
            _set_path(data, keys, read_config(file), override)
        else:
            _set_path(data, keys, _parse_value(text), override)
    return data


def tell_repeated(overrides: Iterable[str]) -> None:
    """Says which of the values counts where `--set` names a key twice with different ones: the last."""
    given: dict[str, str] = {}
    for override in overrides:
        keys, text = split_override(override)
        key = ".".join(keys)
        if given.get(key, text) != text:
            tell_once(f"note: --set {key}: is given twice; {text} counts, not {given[key]}")
        given[key] = text


def names_file(text: str) -> bool:
    """Whether the value of an override is what a config file holds."""
    return text.startswith("@") and text.endswith(".json")


def split_override(override: str) -> tuple[list[str], str]:
    """The keys and the value's text of `key.path=value`. A key with a dot or = in it stands in double quotes.

    >>> split_override('games."Mr. Do"=1')
    (['games', 'Mr. Do'], '1')

    Raises:
        UserError: it has no such form.
    """
    found = _OVERRIDE.match(override)
    keys = [quoted or plain.strip() for quoted, plain in _KEY.findall(found[0][:-1])] if found else []
    if not found or not all(keys):
        raise UserError(f"--set {override}: must be key.path=value; a key with a dot or = stands in double quotes")
    return keys, override[found.end() :]


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        # Plain text needs no quotes on a command line: --set model=models/mine
        return text


def _set_path(data: JsonValue, keys: list[str], value: JsonValue, override: str) -> None:
    *parents, last = keys
    node = data
    for key in parents:
        if isinstance(node, dict):
            if not isinstance(node.get(key), dict | list):
                node[key] = {}
            node = node[key]
        else:
            node = node[_list_index(node, key, override)]
    if isinstance(node, dict):
        node[last] = merge(node.get(last), value)
    else:
        node[_list_index(node, last, override)] = value


def _list_index(node: JsonValue, key: str, override: str) -> int:
    if not isinstance(node, list):
        raise UserError(f"--set {override}: {key}: the value above it is not an object or a list")
    if not (key.isdigit() and int(key) < len(node)):
        raise UserError(f"--set {override}: {key}: must be an index from 0 to {len(node) - 1}")
    return int(key)


def split_values(text: str) -> list[str]:
    """Values separated by commas that are not inside brackets, braces or quotes.

    >>> split_values('1,[2,3],"a,b"')
    ['1', '[2,3]', '"a,b"']
    """
    values, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        depth += 0 if quoted else (character in "[{") - (character in "]}")
        if character == "," and depth == 0 and not quoted:
            values.append("")
        else:
            values[-1] += character
    return values


def nearest(name: str, known: Iterable[str], count: int = 1) -> list[str]:
    """The names in `known` most like `name`, best first; empty where nothing is alike."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=count, cutoff=0.5)
    return [by_folded[match] for match in matches]


def explain(config: type[BaseModel], error: ValidationError) -> str:
    """The first problem of a validation error as `key.path: what is wrong; what is allowed`."""
    problems = list(_problems(config, error, ()))
    first = problems[0]
    return first if len(problems) == 1 else f"{first} (and {len(problems) - 1} more)"


def _problems(config: type[BaseModel], error: ValidationError, prefix: tuple[str, ...]) -> Iterable[str]:
    for item in error.errors(include_url=False):
        location = prefix + tuple(str(part) for part in item["loc"])
        inner = item.get("ctx", {}).get("error")
        if isinstance(inner, InvalidPartError):
            yield from _problems(inner.config, inner.error, location)
            continue
        path = ".".join(location)
        if item["type"] == "extra_forbidden":
            known = _known_keys(config, item["loc"][:-1])
            hint = nearest(str(item["loc"][-1]), known)
            allowed = f"did you mean {'.'.join((*location[:-1], hint[0]))}?" if hint else f"known: {', '.join(known)}"
            yield f"{path}: unknown key; {allowed}"
        elif item["type"] == "missing":
            yield f"{path}: is missing"
        elif item["type"] == "json_invalid":
            yield _not_text(item["input"]) or f"{path}: {_not_json(item['input'])}"
        else:
            given = json.dumps(item["input"], default=str)
            text = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            text = text[:1].lower() + text[1:]
            shown = "" if inner is not None or len(given) > 80 else f", not {given}"
            if isinstance(item["input"], dict) and item["type"] in ("float_type", "int_type"):
                shown += "; a name with dots stands in double quotes in --set"
            yield f"{path}: {text}{shown}" if path else f"{text}{shown}"


def _not_json(data: str | bytes) -> str:
    """Where JSON data are none, and what to write instead, where Python's own reader can tell."""
    try:
        json.loads(data)
    except json.JSONDecodeError as error:
        return not_valid(error)
    except (ValueError, RecursionError):  # no text, or nested deeper than it reads
        pass
    return "not valid JSON"


def _not_text(data: str | bytes) -> str | None:
    """What is wrong with JSON data that only Python's own reader takes: None where that is no text in it."""
    try:
        return _not_unicode(json.loads(data))
    except (ValueError, RecursionError):  # nested deeper than it reads
        return None


def _not_unicode(value: object, path: tuple[str, ...] = ()) -> str | None:
    """The first text in JSON data that is none, with its key path; None where all is well.

    A file name or command line that is not UTF-8 comes as lone surrogates, which JSON cannot hold.
    """
    if isinstance(value, str) and not _is_unicode(value):
        return f"{'.'.join(path)}: is not text in UTF-8: {value!a}; write or rename it in UTF-8"
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(key, str) and not _is_unicode(key):
            return _not_unicode(key, path)
        if found := _not_unicode(item, (*path, str(key))):
            return found
    return None


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _known_keys(config: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys of the config that stands at `location` below `config`; empty where that cannot be told."""
    current: Any = config
    for part in location:
        field = getattr(current, "model_fields", {}).get(part)
        if field is None and isinstance(part, int):
            continue
        current = _config_in(field.annotation) if field else None
    return list(getattr(current, "model_fields", {}))


def _config_in(annotation: object) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _config_in(argument)
        if found is not None:
            return found
    return None


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
