"""What a request says that changes nothing of its clip, and why: told, where a user would wait for it in vain.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampling.request import Request
from sampling.solvers.options import options_config
from sampling.solvers.samplers import UNUSED
from sampling.solvers.schedules import TAKE_RHO

# Options of samplers that count only beside another that is not 0.
_BESIDE = {
    "reinjection": ("reinjection_min", "reinjection_max"),
    "restarts": ("restart_min", "restart_max"),
    "s_churn": ("s_min", "s_max", "s_noise"),
    "eta": ("s_noise",),
}


def without_effect(request: Request, said: dict[str, Any]) -> list[str]:
    """A line `key: reason` for each thing that is said and changes nothing.

    Args:
        said: the request's data without what a model recommends, which nobody has asked for; what is said there as it
            would be anyhow is not told.
    """
    usual = dict(_values(Request(games={"any": 1.0}).to_json()))
    options = options_config(request.sampler).model_fields
    usual |= {f"sampler_options.{name}": field.default for name, field in options.items()}
    keys = {key for key, value in _values(said) if value != usual.get(key)}
    return [f"{key}: {reason}" for key, reason in _unused(request) if key in keys]


def other_length(said: dict[str, Any], request: Request) -> list[str]:
    """A line where a length was said, and the clip that was made from a source has another.

    Args:
        request: of the clip as it was made.
    """
    seconds = said.get("seconds")
    if request.source is None or not isinstance(seconds, int | float) or abs(seconds - request.seconds) < 0.01:
        return []
    return [f"seconds: the clip is as long as its source, {request.seconds:.6g} s, not {seconds:g} s"]


def _values(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All dotted keys of some data, with their values."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _values(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _unused(request: Request) -> Iterator[tuple[str, str]]:
    if request.strength == 0:
        yield "steps", "source.strength is 0, so that nothing is made"
        return
    unused = UNUSED.get(request.sampler, ())
    for key in unused:
        yield key, f"the sampler {request.sampler} chooses its noise levels by itself"
    if request.schedule not in TAKE_RHO and request.strength == 1 and "rho" not in unused:
        yield "rho", f"the schedule {request.schedule} has no exponent; those that have: {', '.join(sorted(TAKE_RHO))}"
    if request.sigma_end is not None and request.strength == 1:
        yield "sigma_min", "sigma_end says where the noise levels end"
    yield from _unused_options(request)
    yield from _unused_guidance(request)
    if request.variation_strength == 0:
        yield "variation_seed", "variation_strength is 0"


def _unused_options(request: Request) -> Iterator[tuple[str, str]]:
    known = options_config(request.sampler).model_fields
    values = {name: request.sampler_options.get(name, field.default) for name, field in known.items()}
    for owner, names in _BESIDE.items():
        if values.get(owner, 1) == 0:
            yield from ((f"sampler_options.{name}", f"{owner} is 0") for name in names)
    if not values.get("eta"):
        why = "is 0" if "eta" in values else "is none of its options"
        yield "noise", f"the sampler {request.sampler} adds no noise to its steps, as eta {why}"


def _unused_guidance(request: Request) -> Iterator[tuple[str, str]]:
    guidance = request.guidance
    if {request.cfg_scale, guidance.weak_scale, *guidance.scales.values()} == {1}:
        for name in ("interval", "rescale", "projected_parallel", "projected_threshold", "projected_momentum"):
            yield f"guidance.{name}", "there is no guidance at cfg_scale 1"
    elif guidance.interval and (guidance.interval[1] < request.sigma_min or guidance.interval[0] >= request.sigma_max):
        yield "guidance.interval", "no noise level from sigma_min to sigma_max lies in it, so that nothing is guided"
    for name in guidance.scales:
        if request.controls.get(name, name) is None:
            yield f"guidance.scales.{name}", f"controls.{name} is null, so that nothing is told that it could push"
