"""What a network is told, as far as it hangs on the dataset: names, controls, and what is true of a batch."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from dualdiffusion.component import Component
from dualdiffusion.conditioning import Conditioning, Span, one_hot
from dualdiffusion.contracts import ConditionerConfig, Denoiser
from dualdiffusion.controls import controls_to_json
from dualdiffusion.data.audio_crops import Batch
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.randomness import StepRandom


def settled(
    backbone: Component, facts: list[Mapping[str, Any]], known: Mapping[str, ConditionerConfig] | None = None
) -> Component:
    """The backbone with conditioners, its own and those of networks inside, that know the names in some facts.

    Args:
        known: those of a network that exists, by id, whose names stay.
    """
    config, changes, known = backbone.config, {}, known or {}
    if isinstance(getattr(config, "backbone", None), Component):
        changes["backbone"] = settled(config.backbone, facts, known)
    if conditioners := getattr(config, "conditioners", None):
        changes["conditioners"] = {
            name: Component(part.cls, part.config.settled(facts, known.get(name)))
            if hasattr(part.config, "settled")
            else part
            for name, part in conditioners.items()
        }
    return Component(backbone.cls, config.model_copy(update=changes)) if changes else backbone


def conditioners_of(backbone: Component) -> dict[str, ConditionerConfig]:
    """The configs of all conditioners of a backbone and of networks inside it, by id."""
    inner = getattr(backbone.config, "backbone", None)
    own = {name: part.config for name, part in getattr(backbone.config, "conditioners", {}).items()}
    return {**(conditioners_of(inner) if isinstance(inner, Component) else {}), **own}


def controls_of(told: Mapping[str, ConditionerConfig], dataset: DatasetFolder) -> dict[str, Any]:
    """What a model's index is to say of what one may ask for beside games; nothing where that is nothing.

    Raises:
        UserError: no track of the dataset has facts of something that the network is told.
    """
    if not told:
        return {}
    facts: dict[str, list[Mapping[str, Any]]] = {}
    for track in dataset.tracks("train"):
        facts.setdefault(track.game, []).append(track.all_facts)
    for name, config in told.items():
        if not config.of_latents and not _is_known(config, itertools.chain(*facts.values())):
            raise UserError(
                f"{dataset.path}: the network is told {name}, but no track has facts of it; with "
                '{"type": "describe.Describe"} among the steps of the dataset\'s config, run it again'
            )
    return controls_to_json({name: config.control(facts) for name, config in told.items()})


def _is_known(config: ConditionerConfig, facts: Iterable[Mapping[str, Any]]) -> bool:
    """Whether there is anything to tell of any track; damaged facts are told where a crop needs them."""
    span = Span(0.0, 1, 1.0)
    for of_track in facts:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            if config.fact_at(of_track, span) is not None:
                return True
    return False


def told_of(batch: Batch, denoiser: Denoiser, label_dropout: float, random: StepRandom) -> Conditioning:
    """What a denoiser in training is told of a batch's samples: where labels are dropped, everything is, as guidance
    needs it.

    Args:
        batch: of latents (B, Z, f, t), of which some conditioners tell what is known.
        label_dropout: share of the samples of which nothing is told.
    """
    drawn = [name for name, config in denoiser.told.items() if config.of_latents]
    if not denoiser.label_dim and not batch.values and not drawn:
        return Conditioning()
    told = (random.rand() >= label_dropout).to(batch.data)
    labels = one_hot(batch.game_ids, denoiser.label_dim).to(batch.data.device) if denoiser.label_dim else None
    kept = {
        name: told * batch.known[name] * (random.rand() >= denoiser.told[name].dropout).to(told)
        for name in batch.values
    }
    values = dict(batch.values)
    for name in drawn:  # what is known of a clip is told whatever else is dropped
        config = denoiser.told[name]
        values[name] = config.drawn(batch.data, random.rand(), random.rand(), random.rand())
        kept[name] = (random.rand() >= config.dropout).to(told)
    return Conditioning(labels, told if labels is not None else None, values, kept)


def unknown(conditioning: Conditioning, told: Mapping[str, ConditionerConfig]) -> Tensor | None:
    """How much each latent counts in the loss, (B, 1, F, T) with mean 1: those that are told do not, all others alike.

    None where none are told. Counted alike, the many columns that are told would hide the few that are to be mended.

    Args:
        told: the conditioners, by id.
    """
    left = None
    for name in conditioning.values:
        if told[name].of_latents:
            known = conditioning.values[name][:, -1:] * conditioning.kept[name][:, None, None, None]
            left = (1 - known) if left is None else left * (1 - known)
    if left is None:
        return None
    # Where less than a column is left, it does not count more than a whole one.
    return left / left.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1 / left.shape[-1])
