"""Samplers: functions that carry noisy latents down a list of noise levels, over a callable `denoise`.

All share one signature, `sample_x(denoise, x, sigmas, *, generator, callback, reinjection, <own options>)`:
    denoise(x, sigma): the estimate of the clean latents, same shape as x; sigma is a float.
    x: (B, C, ...) latents plus noise of standard deviation sigmas[0].
    sigmas: falling noise levels, usually ending in 0.
    generator: where noise comes from, one stream per item: `SeededNoise`, or `BrownianNoise` of noise.py.
    callback: called after each step with a `SamplerStep`; an exception raised there ends the sampling.
    reinjection: share of each step's way down that fresh noise undoes, in [0, 1), or `Renoising`; see renoising.py.
    eta: noise of the stochastic ones; 0 makes them solvers of the ODE, 1 is the reverse diffusion.
    s_noise: factor of that noise.

Conditioning and guidance are inside `denoise`; samplers know nothing of them. A function `sample_x` in a file
`sample_<family>.py` beside this one is a sampler that a request may name `x`. Such files are found by listing: adding a
sampler is adding one, whose options' types say what a request may give them (options.py). Where its steps follow from
the error of what it is given, the file also names it in a tuple ONE_ITEM_AT_A_TIME; fields of a request
that a sampler does not follow stand in its file as UNUSED = {"x": ("schedule", ...)}. Imports no torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from sampling.solvers.maths import Callback, Denoise, SamplerStep
from sampling.solvers.renoising import Reinjection

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.solvers.noise import NoiseSource

__all__ = ["ONE_ITEM_AT_A_TIME", "SAMPLERS", "UNUSED", "Callback", "Denoise", "Sampler", "SamplerStep"]

PREFIX = "sample_"  # of the files beside this one that hold samplers, and of the functions in them


class Sampler(Protocol):
    """The signature of every sampler; `options` are its own keywords, each with a default."""

    def __call__(
        self,
        denoise: Denoise,
        x: Tensor,
        sigmas: list[float],
        *,
        generator: NoiseSource,
        callback: Callback | None = None,
        reinjection: Reinjection = 0.0,
        **options: Any,
    ) -> Tensor:
        """The latents at the last noise level, of the shape of x."""
        ...


def _sampler_files() -> list[ModuleType]:
    package = __name__.rpartition(".")[0]
    names = sorted(file.name for file in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return [importlib.import_module(f"{package}.{name}") for name in names if name.startswith(PREFIX)]


def _samplers(files: list[ModuleType]) -> dict[str, Sampler]:
    """By name, in alphabetical order, as the page lists them."""
    found = {name: value for file in files for name, value in vars(file).items() if name.startswith(PREFIX)}
    return {name.removeprefix(PREFIX): found[name] for name in sorted(found)}


_FILES = _sampler_files()
SAMPLERS = _samplers(_FILES)
# These choose their steps by the error of what they are given, so that items of a batch would influence one another:
# give them one item after the other, each with its own generator.
ONE_ITEM_AT_A_TIME: frozenset[str] = frozenset().union(*(getattr(file, "ONE_ITEM_AT_A_TIME", ()) for file in _FILES))
# Fields of a request that these do not follow.
UNUSED: dict[str, tuple[str, ...]] = {
    name: fields for file in _FILES for name, fields in getattr(file, "UNUSED", {}).items()
}
