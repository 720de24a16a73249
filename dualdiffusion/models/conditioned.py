"""An adapter that tells any backbone more than games: conditioners by id, and the routes by which they reach it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from dualdiffusion.component import Component, list_files, part_of, type_name
from dualdiffusion.conditioning import Conditioning, Tokens
from dualdiffusion.config import Config, nearest
from dualdiffusion.contracts import Conditioner, ConditionerConfig
from dualdiffusion.model.module import Module
from dualdiffusion.nn.magnitude_preserving import MPConv, normalize_weights, project_gradients

ROUTES = {
    "input_concat_ids": "concat_channels",
    "global_cond_ids": "global_channels",
    "cross_attention_cond_ids": "cross_channels",
    "prepend_cond_ids": "prepend_channels",
}
"""The field of a backbone's config by which it has a route: how many channels come that way, 0 for none."""
TOKENS = {"cross_attention_cond_ids": "cross", "prepend_cond_ids": "prepend"}
Channels = Annotated[int, Field(ge=0)]


class Conditioned(Module):
    """The backbone, told what its conditioners make of values. How wide the routes are follows from the conditioners.

    An id may have several routes:
        input_concat: further input channels, for what changes along time;
        global: a vector beside the noise level, the mean of what is told of all columns;
        cross_attention, prepend: tokens, one for each column of what changes along time, else one. A learned token that
            is always there comes first, so that attention never has nothing to look at.

    The backbone may be another adapter: both tell it what they have.
    """

    class Config(Config):
        """Settings of a conditioned backbone."""

        backbone: part_of("dualdiffusion.models")
        """The network that is told; it must have the routes that are used."""
        conditioners: dict[str, part_of("dualdiffusion.conditioners")] = Field(default_factory=dict)
        """By id: the name under which a request asks for them (`controls`)."""
        input_concat_ids: tuple[str, ...] = ()
        """Ids that are told as further input channels, in this order."""
        global_cond_ids: tuple[str, ...] = ()
        """Ids that are told as one vector, in this order."""
        cross_attention_cond_ids: tuple[str, ...] = ()
        """Ids that attention may look at, in this order."""
        prepend_cond_ids: tuple[str, ...] = ()
        """Ids that stand before the sequence, in this order."""
        token_channels: PositiveInt = 64
        """Length of a token, of both routes that have them."""
        concat_channels: Channels = 0
        global_channels: Channels = 0
        cross_channels: Channels = 0
        prepend_channels: Channels = 0
        """What an adapter around this one brings by each route, which sets them."""

        @property
        def routes(self) -> dict[str, tuple[str, ...]]:
            """The ids of each route."""
            return {route: getattr(self, route) for route in ROUTES}

        @model_validator(mode="after")
        def _routes(self) -> Conditioned.Config:
            for route, ids in self.routes.items():
                for name in ids:
                    if name not in self.conditioners:
                        hint = nearest(name, self.conditioners) or self.conditioners
                        raise ValueError(f"{route}: no conditioner {name!r}; there are: {', '.join(hint)}")
                    if route != "input_concat_ids" and self.conditioners[name].config.along_rows:
                        raise ValueError(f"{route}: {name!r} tells each row its own, which only input_concat_ids can")
                if len(set(ids)) < len(ids):
                    raise ValueError(f"{route}: names an id twice")
            used = {name for ids in self.routes.values() for name in ids}
            unused = [name for name in self.conditioners if name not in used]
            if unused:
                raise ValueError(f"conditioners: {unused[0]!r} has no route; name it in one of {', '.join(ROUTES)}")
            inner = getattr(self.backbone.config, "conditioners", {})
            twice = [name for name in self.conditioners if name in inner]
            if twice:
                raise ValueError(f"conditioners: the network inside is told {twice[0]!r} too; give it another name")
            return self

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.conditioners = nn.ModuleDict({name: part.build() for name, part in config.conditioners.items()})
        self.backbone = _told_by(config.backbone, self._widths()).build()
        # After the backbone's: what it draws at random does not depend on these routes.
        self.tokens = nn.ModuleDict({route: self._token_layers(route) for route in TOKENS if getattr(config, route)})
        self.first_tokens = nn.ParameterDict(
            {route: nn.Parameter(torch.randn(config.token_channels)) for route in self.tokens}
        )

    def _token_layers(self, route: str) -> nn.ModuleDict:
        ids, width = getattr(self.config, route), self.config.token_channels
        return nn.ModuleDict({name: MPConv(self.conditioners[name].channels, width, ()) for name in ids})

    def _widths(self) -> dict[str, int]:
        """The channels of each route that is used, by this adapter or one around it."""
        config, widths = self.config, {}
        for route, field in ROUTES.items():
            ids, outer = getattr(config, route), getattr(config, field)
            own = sum(self.conditioners[name].channels for name in ids)
            if route in TOKENS:
                if ids and outer and outer != config.token_channels:
                    raise ValueError(
                        f"token_channels: is {config.token_channels}, but around it {outer}; make them equal"
                    )
                own, outer = (config.token_channels if ids else outer), 0
            if own + outer:
                widths[route] = own + outer
        return widths

    @property
    def told(self) -> Mapping[str, ConditionerConfig]:
        """The conditioners' configs by id, those of the network inside first: what may be told beside games."""
        own = {name: part.config for name, part in self.config.conditioners.items()}
        return {**getattr(self.backbone, "told", {}), **own}

    @property
    def label_dim(self) -> int:
        """Games that the backbone is told; 0: unconditional."""
        return self.backbone.label_dim

    @property
    def in_channels(self) -> int:
        """C, latent channels."""
        return self.backbone.in_channels

    @property
    def size_multiple(self) -> int:
        """Columns must be a multiple of this."""
        return self.backbone.size_multiple

    @property
    def row_multiple(self) -> int:
        """Rows must be a multiple of this."""
        return getattr(self.backbone, "row_multiple", self.backbone.size_multiple)

    @property
    def rows(self) -> int | None:
        """How many rows the backbone takes, where it takes no other number."""
        return getattr(self.backbone, "rows", None)

    def forward(
        self, x: Tensor, c_noise: Tensor, *, conditioning: Conditioning, position: Tensor | None = None
    ) -> Tensor:
        """As the backbone's: x (B, C, F, T) -> (B, C, F, T). What `conditioning` does not tell is untold."""
        encoded = {name: self._encode(name, x, conditioning) for name in self.conditioners}
        rest, kept = (
            {name: value for name, value in values.items() if name not in encoded}
            for values in (conditioning.values, conditioning.kept)
        )
        told = replace(conditioning, values=rest, kept=kept)
        if self.config.input_concat_ids:
            told = replace(told, concat=self._concat(encoded, x, conditioning.concat))
        if self.config.global_cond_ids:
            means = [encoded[name].mean(dim=-1) for name in self.config.global_cond_ids]
            told = replace(told, vector=torch.cat([*_given(conditioning.vector), *means], dim=1))
        for route, field in TOKENS.items():
            if route in self.tokens:
                tokens = self._tokens(route, encoded, conditioning)
                told = replace(told, **{field: tokens.beside(getattr(conditioning, field))})
        return self.backbone(x, c_noise, conditioning=told, position=position)

    def _encode(self, name: str, x: Tensor, conditioning: Conditioning) -> Tensor:
        """(B, channels of the conditioner, T), or with rows (B, channels, F, T)."""
        conditioner: Conditioner = self.conditioners[name]
        values = conditioning.values.get(name)
        if values is None:
            of_latents = conditioner.config.of_latents
            rest = x.shape[2:] if of_latents else x.shape[-1:]
            return conditioner(x.new_zeros(len(x), conditioner.config.columns_told, *rest), x.new_zeros(len(x)))
        return conditioner(values.to(x), conditioning.kept.get(name, x.new_ones(len(x))))

    def _concat(self, encoded: Mapping[str, Tensor], x: Tensor, outer: Tensor | None) -> Tensor:
        parts = [*_given(outer), *(encoded[name] for name in self.config.input_concat_ids)]
        if any(part.ndim == 4 for part in parts):
            parts = [part if part.ndim == 4 else part[:, :, None].expand(-1, -1, x.shape[2], -1) for part in parts]
        return torch.cat(parts, dim=1)

    def _tokens(self, route: str, encoded: Mapping[str, Tensor], conditioning: Conditioning) -> Tokens:
        values, masks = [], []
        for name, layer in self.tokens[route].items():
            channels = encoded[name] if self.conditioners[name].config.along_time else encoded[name][..., :1]
            tokens = layer(channels.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(channels), -1))
            told = conditioning.kept.get(name, tokens.new_ones(len(tokens)))
            told = told if name in conditioning.values else torch.zeros_like(told)
            values.append(tokens)
            masks.append((told > 0)[:, None].expand(-1, tokens.shape[1]))
        first = self.first_tokens[route].to(values[0]).expand(len(values[0]), 1, -1)
        return Tokens(torch.cat([first, *values], 1), torch.cat([masks[0].new_ones(len(first), 1), *masks], 1))

    def before_update(self) -> None:
        """The backbone's, and of the layers that make tokens."""
        self.backbone.before_update()
        project_gradients(self.tokens)

    def after_update(self) -> None:
        """The backbone's, and of the layers that make tokens."""
        self.backbone.after_update()
        normalize_weights(self.tokens)


def _given(value: Tensor | None) -> list[Tensor]:
    return [] if value is None else [value]


def _told_by(backbone: Component, widths: Mapping[str, int]) -> Component:
    """The backbone with so many channels by each route.

    Raises:
        ValueError: it lacks one.
    """
    fields = type(backbone.config).model_fields
    for route in widths:
        if ROUTES[route] not in fields:
            others = [name for name in _networks_with(ROUTES[route]) if name != type_name(Conditioned)]
            raise ValueError(f"{route}: {backbone.name} has no such route; {', '.join(others) or 'none'} has")
    return Component(
        backbone.cls, backbone.config.model_copy(update={ROUTES[route]: width for route, width in widths.items()})
    )


def _networks_with(field: str) -> list[str]:
    """The networks whose config has a field."""
    package = __name__.rpartition(".")[0]
    modules = [importlib.import_module(f"{package}.{file}") for file in list_files(package)]
    return [
        type_name(cls)
        for module in modules
        for cls in vars(module).values()
        if isinstance(cls, type) and cls.__module__ == module.__name__ and field in _fields(cls)
    ]


def _fields(cls: type) -> Mapping[str, object]:
    return getattr(getattr(cls, "Config", None), "model_fields", {})
