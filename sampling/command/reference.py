"""`python -m sampling reference`: prints docs/request.md, the reference of a request, drawn from its classes."""

from __future__ import annotations

import argparse
import inspect
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from dualdiffusion.config import Config
from sampling.guidance import Guidance
from sampling.output.settings import OutputSettings
from sampling.recommended import RECOMMENDABLE
from sampling.request import Request, Source
from sampling.solvers import samplers
from sampling.solvers.options import SamplerOptions, options_config
from sampling.solvers.samplers import SAMPLERS
from sampling.solvers.schedules import SCHEDULES

HEAD = """# What one may ask for

<!-- Printed by `python -m sampling reference`; a test compares. Change sampling/, then print it anew. -->

A request is JSON: a file for `--request`, the body of `POST /api/jobs`, what every clip carries in its tags, and the
keyword arguments of `model.generate` in Python. On the command line any of its keys is `--set key.path=value`. A wrong
key or value is one line that names the nearest right one. What is left out is as the model recommends, or else the
default.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(arguments: argparse.Namespace) -> int:
    """Prints the reference."""
    print(reference(), end="")
    return 0


def reference() -> str:
    """The reference as Markdown."""
    parts = [
        HEAD,
        *_section("Request", Request),
        f"A model may recommend, in its `request.json`: {_names(RECOMMENDABLE)}.\n",
        *_section("`source`", Source),
        *_section("`guidance`", Guidance),
        "## `sampler` and `sampler_options`\n",
        *_table(SamplerOptions, "For all samplers:"),
        *_samplers(),
        "## `schedule`\n",
        "\n".join(f"- `{name}`: {first_sentence(function)}" for name, function in SCHEDULES.items()) + "\n",
        *_section("How a clip is written", OutputSettings),
        "These are options of the command line (`--format`, `--bits`, `--loudness`, `--true-peak`) and arguments of\n"
        "`clip.save` in Python, and no part of the request.\n",
    ]
    return "\n".join(parts)


def _samplers() -> Iterator[str]:
    for name, function in SAMPLERS.items():
        own = [key for key in options_config(name).model_fields if key not in SamplerOptions.model_fields]
        yield f"### `{name}`\n\n{first_sentence(function)}\n"
        if own:
            yield from _table(options_config(name), "Options:", {key: meaning_of_option(function, key) for key in own})


def _section(title: str, config: type[Config]) -> Iterator[str]:
    yield f"## {title}\n"
    yield from _table(config, inspect.cleandoc(config.__doc__ or ""))


def _table(config: type[Config], text: str, only: dict[str, str] | None = None) -> Iterator[str]:
    """A table of a config's fields, with what JSON schema and docstrings say of them.

    Args:
        only: the fields to show, with their meaning; None for all, whose class says the meaning.
    """
    # The default of an option may be infinite, which JSON has no word for: left out of the schema, not of the table.
    schema = config.model_json_schema()
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in config.model_fields.items():
        if only is None or name in only:
            about = schema["properties"][name]
            default = "" if field.is_required() else _default(field.get_default(call_default_factory=True))
            meaning = " ".join((field.description or "").split()) if only is None else only[name]
            rows.append(f"| `{name}` | {_value(about, schema)} | {default} | {meaning} |".replace("  ", " "))
    yield f"{text}\n\n" + "\n".join(rows) + "\n"


def _default(value: object) -> str:
    if isinstance(value, Config):
        return ""  # described in a section of its own
    if isinstance(value, float) and math.isinf(value):
        return "no limit"
    return f"`{json.dumps(value)}`"


def _value(about: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a field may hold, in words."""
    if "$ref" in about:
        return "object, see below"
    if "anyOf" in about:
        return " or ".join(dict.fromkeys(_value(part, schema) for part in about["anyOf"]))
    if "enum" in about:
        return ", ".join(f"`{json.dumps(value)}`" for value in about["enum"])
    kind = about.get("type", "any")
    if kind == "array":
        parts = about.get("prefixItems") or [about.get("items", {})]
        inner = ", ".join(_value(part, schema) for part in parts)
        return f"[{inner}]" if "prefixItems" in about else f"list of {inner}"
    if kind == "object":
        values = about.get("additionalProperties", {})
        return f"object: name to {_value(values, schema)}"
    words = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true or false"}
    return words.get(kind, kind) + _range(about)


def _range(about: dict[str, Any]) -> str:
    limits = [("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below")]
    found = [f"{word} {about[key]:.16g}" for key, word in limits if key in about]
    return f" {' '.join(found)}" if found else ""


def first_sentence(function: object) -> str:
    """The first paragraph of a docstring, in one line; where it leads over to a formula, only what is before that."""
    text = " ".join(inspect.getdoc(function).split("\n\n")[0].split())
    return text if text.endswith(".") else f"{text.split(':')[0]}."


def meaning_of_option(function: object, name: str) -> str:
    """What a sampler's docstring, or that of all samplers, says of an option."""
    for text in (inspect.getdoc(function), inspect.cleandoc(samplers.__doc__)):
        for names, meaning in re.findall(r"^ {4}([\w, ]+): (.*(?:\n {8}.*)*)", text, re.MULTILINE):
            if name in names.split(", "):
                return " ".join((meaning[:1].upper() + meaning[1:]).split())
    return ""


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
