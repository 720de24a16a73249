"""An adapter that tells any backbone more than games: conditioners by id, and the routes by which they reach it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dualdiffusion.component import Component, part_of
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import Config, nearest
from dualdiffusion.contracts import ConditionerConfig
from dualdiffusion.model.module import Module


class Conditioned(Module):
    """The backbone, told what its conditioners make of values. How wide the routes are follows from the conditioners.

    Routes, each a list of ids:
        input_concat: further input channels, for what changes along time.
    """

    class Config(Config):
        """Settings of a conditioned backbone."""

        backbone: part_of("dualdiffusion.models")
        """The network that is told; it must have the routes that are used."""
        conditioners: dict[str, part_of("dualdiffusion.conditioners")] = Field(default_factory=dict)
        """By id: the name under which a request asks for them (`controls`)."""
        input_concat_ids: tuple[str, ...] = ()
        """Ids that are told as further input channels, in this order."""

        @model_validator(mode="after")
        def _routes(self) -> Conditioned.Config:
            for name in self.input_concat_ids:
                if name not in self.conditioners:
                    hint = nearest(name, self.conditioners) or self.conditioners
                    raise ValueError(f"input_concat_ids: no conditioner {name!r}; there are: {', '.join(hint)}")
            unused = [name for name in self.conditioners if name not in self.input_concat_ids]
            if unused:
                raise ValueError(f"conditioners: {unused[0]!r} has no route; name it in input_concat_ids")
            if len(set(self.input_concat_ids)) < len(self.input_concat_ids):
                raise ValueError("input_concat_ids: names an id twice")
            return self

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.conditioners = nn.ModuleDict({name: part.build() for name, part in config.conditioners.items()})
        self.backbone = _told_by(config.backbone, self._concat_channels()).build()

    def _concat_channels(self) -> int:
        return sum(self.conditioners[name].channels for name in self.config.input_concat_ids)

    @property
    def told(self) -> Mapping[str, ConditionerConfig]:
        """The conditioners' configs by id: what may be told beside games."""
        return {name: part.config for name, part in self.config.conditioners.items()}

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
        """Rows and columns must be multiples of this."""
        return self.backbone.size_multiple

    def forward(
        self, x: Tensor, c_noise: Tensor, *, conditioning: Conditioning, position: Tensor | None = None
    ) -> Tensor:
        """As the backbone's: x (B, C, F, T) -> (B, C, F, T). What `conditioning` does not tell is untold."""
        parts = [self._encode(name, x, conditioning) for name in self.config.input_concat_ids]
        told = replace(conditioning, values={}, kept={}, concat=torch.cat(parts, dim=1) if parts else None)
        return self.backbone(x, c_noise, conditioning=told, position=position)

    def _encode(self, name: str, x: Tensor, conditioning: Conditioning) -> Tensor:
        """(B, channels of the conditioner, T)."""
        conditioner = self.conditioners[name]
        values = conditioning.values.get(name)
        if values is None:
            values = x.new_zeros(len(x), conditioner.config.columns_told, x.shape[-1])
            return conditioner(values, x.new_zeros(len(x)))
        return conditioner(values.to(x), conditioning.kept.get(name, x.new_ones(len(x))))

    def before_update(self) -> None:
        """The backbone's."""
        self.backbone.before_update()

    def after_update(self) -> None:
        """The backbone's."""
        self.backbone.after_update()


def _told_by(backbone: Component, channels: int) -> Component:
    """The backbone with so many input channels beside its own.

    Raises:
        ValueError: it has no such route.
    """
    if "concat_channels" not in type(backbone.config).model_fields:
        raise ValueError(f"input_concat_ids: {backbone.name} has no such route; unet_edm2.UNet has")
    return Component(backbone.cls, backbone.config.model_copy(update={"concat_channels": channels}))
