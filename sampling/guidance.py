"""Guidance: closures that turn conditional denoisers into the `denoise(x, sigma)` that samplers see.

One convention for every scale: 1 is off. With D the network under the conditions asked for, D_uncond the same network
under none, and D_weak a weaker network under the conditions asked for,

    guided = D + (cfg_scale - 1) (D - D_uncond) + (weak_scale - 1) (D - D_weak)

which for the first difference alone is the usual D_uncond + cfg_scale (D - D_uncond). Where `scales` gives ids of what
is told other scales s, the first difference becomes a chain (Brooks et al. 2023, equation 3), the strongest s first:

    (s_1 - 1) (D - D_1) + (s_2 - 1) (D_1 - D_2) + ...

with D_k told no id of the first k scales. What has scale 1 is told in every pass and takes none of its own; ids of one
scale are untold together; so as two scales come closer, the result comes closer to that of one. In this order:

    interval    differences count only at noise levels inside; outside, no other pass than D's is made;
    projected   changes each difference before it is scaled (adaptive projected guidance, APG);
    rescale     brings the result's standard deviation back towards that of D.

Imports no torch, so that requests can hold a `Guidance` in the web process.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from dualdiffusion.config import Config, nearest
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import find_model
from sampling.solvers.samplers import Denoise

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dualdiffusion.conditioning import Conditioning
    from dualdiffusion.diffusion.preconditioning import Denoiser

Scale = Annotated[float, Field(ge=0, le=100)]
Sigma = Annotated[float, Field(ge=0)]
# Noise levels whose average of differences is remembered, for samplers that go back up to an earlier one.
REMEMBERED = 8
EPSILON = 1e-12


class Guidance(Config):
    """How guidance is applied, beside its scale. The default is plain classifier-free guidance at all noise levels."""

    scales: dict[str, Scale] = Field(default_factory=dict)
    """Scales of their own, by what is told: `games`, or the name of a control, such as {"tempo": 1}; what is not named
    has cfg_scale. 1: told in all passes and not pushed. Each other scale than 1 takes one pass of the network."""
    interval: tuple[Sigma, Sigma] | None = None
    """Noise levels (low, high) with guidance, low < sigma <= high; null: all (Kynkaanniemi et al. 2024)."""
    rescale: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How far each clip's standard deviation is brought back to that without guidance; 0 is off (Lin et al. 2023)."""
    projected_parallel: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share kept of the part of a difference that only makes the estimate louder; null: APG is off, 1: all of it stays
    (eta of Sadat et al. 2024, who take 0)."""
    projected_threshold: Annotated[float, Field(gt=0)] | None = None
    """With APG, largest root mean square of a difference, in standard deviations of the latents; null: no limit."""
    projected_momentum: Annotated[float, Field(gt=-1, lt=1)] = 0.0
    """With APG, share of the differences at earlier noise levels that is added; negative ones push away from them."""
    weak_ema: str | None = None
    """Autoguidance: weights of the weaker network, the name of an EMA or `raw` (Karras et al. 2024)."""
    weak_model: Path | None = None
    """Autoguidance: folder of the weaker network's model; null: the model that generates."""
    weak_scale: Scale = 1.0
    """Autoguidance: its scale; 1 is off. The paper takes about 2."""

    @model_validator(mode="after")
    def _fits_together(self) -> Guidance:
        if self.interval and self.interval[0] >= self.interval[1]:
            raise ValueError(f"interval: {self.interval[0]:g} must be below {self.interval[1]:g}")
        if self.projected_parallel is None and (self.projected_threshold or self.projected_momentum):
            raise ValueError("projected_threshold, projected_momentum: need projected_parallel; 0 is usual")
        weak = bool(self.weak_ema or self.weak_model)
        if weak and self.weak_scale == 1:
            raise ValueError("weak_scale: 1 is off; give a scale such as 2 with weak_ema and weak_model")
        if not weak and self.weak_scale != 1:
            raise ValueError("weak_scale: needs weak_ema or weak_model")
        return self

    def holds_at(self, sigma: float) -> bool:
        """Whether there is guidance at this noise level."""
        return self.interval is None or self.interval[0] < sigma <= self.interval[1]


def check_scales(guidance: Guidance, told: Iterable[str]) -> None:
    """
    Args:
        told: what a model can be told: `games`, and the names of its controls.

    Raises:
        UserError: `scales` names something else.
    """
    known = list(told)
    for name in guidance.scales:
        if name not in known:
            has = ", ".join(nearest(name, known) or known) or "nothing"
            raise UserError(f"guidance.scales.{name}: this model is not told {name}; it is told: {has}")


@dataclass
class PassCounter:
    """How often a sampling run asked for an estimate, and what that took. One pass is one batch of clips through one
    network under one set of conditions, whatever else it shares a batch with."""

    evaluations: int = 0
    guided: int = 0
    """Of the evaluations."""
    passes: int = 0
    passes_without_interval: int = 0

    def add(self, passes: int, most: int) -> None:
        """Counts an evaluation that took `passes` where guidance takes `most`."""
        self.evaluations += 1
        self.guided += passes > 1
        self.passes += passes
        self.passes_without_interval += most

    @property
    def saved(self) -> float:
        """Share of the passes that the interval saved, 0 to 1."""
        return 1 - self.passes / max(self.passes_without_interval, 1)

    def __str__(self) -> str:
        return f"guided {self.guided} of {self.evaluations} evaluations, {self.saved:.0%} of the network's work saved"


def conditional(denoiser: Denoiser, conditioning: Conditioning, *, position: Tensor | None) -> Denoise:
    """The denoiser under fixed conditions, without guidance."""
    import torch

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return denoiser(x, torch.full((len(x),), sigma, device=x.device), conditioning, position=position)

    return denoise


def guided(
    denoiser: Denoiser,
    conditioning: Conditioning,
    *,
    cfg_scale: float,
    position: Tensor | None,
    guidance: Guidance | None = None,
    weak: Denoiser | None = None,
    counter: PassCounter | None = None,
) -> Denoise:
    """The guided estimate as this module's text defines it. Make one for each sampling run: momentum is its state.

    D and D_uncond, or D_1, D_2..., are one batch. Another network cannot share it, so D_weak is a call of its own.

    Args:
        conditioning: may differ from clip to clip; where it tells nothing there is no classifier-free guidance.
        cfg_scale: of classifier-free guidance (Ho and Salimans 2022) where `guidance.scales` says nothing else; 1 is
            off, 0 is unconditional.
        guidance: None is `Guidance()`.
        weak: the network that `guidance` names as the weaker one (see `load_weak`); the denoiser itself is off.
        counter: counts the passes.

    Raises:
        ValueError: `guidance` names a weaker network, and `weak` is None.
    """
    guidance, counter = guidance or Guidance(), counter or PassCounter()
    if weak is None and guidance.weak_scale != 1:
        raise ValueError("guidance: weak_ema or weak_model is given, but not the network; see load_weak")
    alone = conditional(denoiser, conditioning, position=position)
    chain = _chain(conditioning, cfg_scale, guidance.scales)
    scales = [scale for scale, _ in chain]
    strong = _together(denoiser, [conditioning, *(less for _, less in chain)], position) if chain else alone
    references = []
    if guidance.weak_scale != 1 and weak is not denoiser:
        references.append(conditional(weak, conditioning, position=position))
        scales.append(guidance.weak_scale)
    changes = [_change(guidance) for _ in scales]

    def denoise(x: Tensor, sigma: float) -> Tensor:
        inside = guidance.holds_at(sigma)
        counter.add(1 + len(scales) * inside, 1 + len(scales))
        if not (inside and scales):
            return alone(x, sigma)
        steps = strong(x, sigma).split(len(x))
        estimate = result = steps[0]
        pairs = [*itertools.pairwise(steps), *((estimate, reference(x, sigma)) for reference in references)]
        for (better, worse), scale, change in zip(pairs, scales, changes, strict=True):
            result = result + (scale - 1) * change(better - worse, estimate, sigma)
        return rescaled(result, estimate, guidance.rescale) if guidance.rescale else result

    return denoise


def _chain(conditioning: Conditioning, cfg_scale: float, own: Mapping[str, float]) -> list[tuple[float, Conditioning]]:
    """The scales other than 1, those farthest from it first, each with the conditions that are left without its ids."""
    of_scale: dict[float, list[str]] = {}
    for name in conditioning.ids:
        of_scale.setdefault(own.get(name, cfg_scale), []).append(name)
    chain = []
    for scale in sorted(of_scale, key=lambda scale: (-abs(scale - 1), scale)):
        if scale != 1:
            conditioning = conditioning.without(of_scale[scale])
            chain.append((scale, conditioning))
    return chain


def _together(denoiser: Denoiser, conditions: Sequence[Conditioning], position: Tensor | None) -> Denoise:
    """The estimates of x under n sets of conditions in one batch: (B, ...) -> (n B, ...)."""
    import torch

    from dualdiffusion.conditioning import concatenate

    joined = conditional(denoiser, functools.reduce(concatenate, conditions), position=position)
    return lambda x, sigma: joined(torch.cat([x] * len(conditions)), sigma)


def load_weak(guidance: Guidance, folder: ModelFolder, device: torch.device | str = "cpu") -> Denoiser | None:
    """The weaker network that `guidance` names, or None where it names none.

    Args:
        folder: the model that generates.

    Raises:
        UserError: no such model or EMA, or a model whose latents are another VAE's, or whose games are others.
    """
    from dualdiffusion.model.module import load_module

    if not (guidance.weak_ema or guidance.weak_model):
        return None
    weak = find_model(guidance.weak_model) if guidance.weak_model else folder
    if weak.fingerprint("vae") != folder.fingerprint("vae"):
        raise UserError(
            f"weak_model: {weak.path}: has another VAE than {folder.path}, and so other latents; name a model with "
            f"the same VAE, or an earlier EMA with weak_ema"
        )
    for game, other in zip(folder.labels().games, weak.labels().games, strict=False):
        if (game.id, game.name) != (other.id, other.name):
            raise UserError(
                f"weak_model: {weak.path}: its game {other.id} is {other.name!r}, but {folder.path} has {game.name!r} "
                f"there; name a model of the same games"
            )
    return load_module(weak, "unet", ema=guidance.weak_ema, device=device)


def rescaled(result: Tensor, estimate: Tensor, share: float) -> Tensor:
    """Brings the standard deviation of each item of `result` towards that of `estimate` (Lin et al. 2023, equation 16).

    Args:
        share: 0 leaves it, 1 makes the standard deviations equal.
    """
    axes = tuple(range(1, result.ndim))
    ratio = estimate.std(dim=axes, keepdim=True) / result.std(dim=axes, keepdim=True).clamp(min=EPSILON)
    return result * (1 + share * (ratio - 1))


def _change(guidance: Guidance) -> Callable[[Tensor, Tensor, float], Tensor]:
    if guidance.projected_parallel is None:
        return lambda difference, estimate, sigma: difference
    return Projection(guidance.projected_parallel, guidance.projected_threshold, guidance.projected_momentum)


class Projection:
    """Adaptive projected guidance (Sadat et al. 2024, algorithm 1): changes a difference before it is scaled.

    In this order: momentum, threshold, projection. The paper's momentum counts calls; here, an average belongs to a
    noise level and knows of higher levels only. So a sampler may evaluate a level twice (the later one counts), or
    go back up: what it saw below is forgotten.

    Args:
        parallel: share kept of the part parallel to the estimate, the paper's eta.
        threshold: largest root mean square of each item, or None. The paper's r is this times the square root of the
            number of values, and would mean another limit for each length of clip.
        momentum: the paper's beta.
    """

    def __init__(self, parallel: float, threshold: float | None = None, momentum: float = 0.0) -> None:
        self.parallel, self.threshold, self.momentum = parallel, threshold, momentum
        self._averages: deque[tuple[float, Tensor]] = deque(maxlen=REMEMBERED)

    def __call__(self, difference: Tensor, estimate: Tensor, sigma: float) -> Tensor:
        """The changed difference; all of shape (B, C, ...)."""
        if self.momentum:
            difference = self._average(difference, sigma)
        if self.threshold is not None:
            axes = tuple(range(1, difference.ndim))
            rms = difference.square().mean(dim=axes, keepdim=True).sqrt()
            difference = difference * (self.threshold / rms.clamp(min=self.threshold))
        parallel = parallel_part(difference, estimate)
        return difference + (self.parallel - 1) * parallel

    def _average(self, difference: Tensor, sigma: float) -> Tensor:
        while self._averages and self._averages[-1][0] <= sigma:
            self._averages.pop()
        if self._averages:
            difference = difference + self.momentum * self._averages[-1][1]
        self._averages.append((sigma, difference))
        return difference


def parallel_part(x: Tensor, direction: Tensor) -> Tensor:
    """The part of each item of x (B, C, ...) that points along `direction`, or against it."""
    axes = tuple(range(1, x.ndim))
    length = direction.square().sum(dim=axes, keepdim=True).clamp(min=EPSILON)
    return direction * ((x * direction).sum(dim=axes, keepdim=True) / length)
