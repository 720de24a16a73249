"""A sampler's own options as a strict config, read off its signature: a new sampler declares them nowhere else."""

from __future__ import annotations

import functools
import inspect
from typing import Any, get_type_hints

from pydantic import ConfigDict, create_model

from sampling.solvers.renoising import Renoising
from sampling.solvers.samplers import SAMPLERS

# Keywords that all samplers have, and what they name that is imported for type checking alone.
SHARED = ("generator", "callback", "reinjection")
UNKNOWN_TYPES = ("Tensor", "NoiseSource")


class SamplerOptions(Renoising):
    """Base of the options of all samplers, with those that they share; a default may be infinite, which a request
    cannot give."""

    model_config = ConfigDict(validate_default=False)


@functools.cache
def options_config(sampler: str) -> type[SamplerOptions]:
    """The config whose fields are the keyword options of a sampler, with their types, ranges and defaults."""
    function = SAMPLERS[sampler]
    hints = get_type_hints(function, localns=dict.fromkeys(UNKNOWN_TYPES, Any), include_extras=True)
    fields = {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in SHARED
    }
    return create_model(f"{sampler}_options", __base__=SamplerOptions, **fields)


def keywords(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a request as the keywords of its sampler: those that all share are one, `reinjection`."""
    shared = {name: value for name, value in options.items() if name in Renoising.model_fields}
    own = {name: value for name, value in options.items() if name not in shared}
    return {**own, "reinjection": Renoising(**shared)}
