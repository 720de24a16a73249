"""An encoder of the x-transformers package on a sequence of latent columns, with all of that package's settings.

The package is an optional extra, and only imported where such a network is built. A position of the sequence is a
column, or several, with all of its rows: positions have one axis there. What a network is told as one vector reaches
every layer by adaptive norms and scales, which give nothing at initialisation.

Shapes: B batch, C latent channels, F frequency rows, T time columns.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from dualdiffusion.conditioning import Conditioning, settled_label_dim
from dualdiffusion.config import Config
from dualdiffusion.model.extras import extra
from dualdiffusion.model.module import Module
from dualdiffusion.nn.magnitude_preserving import normalize_weights, project_gradients
from dualdiffusion.nn.told import ToldVector, with_told
from dualdiffusion.nn.transformer import linear, patches, unpatched

VERSION = "2.31.10"
OURS = ("dim", "depth", "heads", "dim_condition", "cross_attend", "cross_attn_dim_context")
Channels = Annotated[int, Field(ge=0)]


class XTransformer(Module):
    """Backbone F(x; c_noise) of the denoiser: (B, C, F, T) -> (B, C, F, T). F is given, and T divides by the patch.

    Raises:
        ValueError: x-transformers is not installed, or in another version than the network was made with.
    """

    class Config(Config):
        """Settings of an encoder of x-transformers."""

        channels: PositiveInt | None = None
        """Latent channels; null: those of the autoencoder that it is trained with (4 without one)."""
        rows: PositiveInt = 1
        """F, latent rows."""
        patch: PositiveInt = 1
        """Latent columns of a position of the sequence."""
        label_dim: Annotated[int, Field(ge=0)] | None = None
        """Games; null: as many as the model's labels when it is created. 0: unconditional."""
        width: Annotated[int, Field(gt=0, multiple_of=2)] = 384
        depth: PositiveInt = 12
        heads: PositiveInt = 6
        settings: dict[str, Any] = Field({"rotary_pos_emb": True, "attn_flash": True, "ff_glu": True})
        """Further arguments of the package's Encoder."""
        version: str = VERSION
        """Of x-transformers: weights and results hang on it."""
        concat_channels: Channels = 0
        """Channels along time that are told beside the input; `conditioned.Conditioned` sets it."""
        global_channels: Channels = 0
        """Channels that are told beside the noise level; `conditioned.Conditioned` sets it."""
        cross_channels: Channels = 0
        """Length of the tokens that each layer looks at; `conditioned.Conditioned` sets it."""
        prepend_channels: Channels = 0
        """Length of the tokens that stand before the sequence; `conditioned.Conditioned` sets it."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.label_dim = settled_label_dim(config.label_dim)
        area = config.rows * config.patch
        self.vector = ToldVector(self.label_dim, config.width, config.global_channels)
        self.input = linear((self.in_channels + 1 + config.concat_channels) * area, config.width, bias=True)
        self.prepended = linear(config.prepend_channels, config.width, bias=True) if config.prepend_channels else None
        self.encoder = _build(config)
        self.output = linear(config.width, self.in_channels * area, zero=True, bias=True)

    @property
    def in_channels(self) -> int:
        """C, latent channels."""
        return self.config.channels or 4

    @property
    def size_multiple(self) -> int:
        """T must be a multiple of this."""
        return self.config.patch

    @property
    def rows(self) -> int:
        """F, which cannot be another."""
        return self.config.rows

    @property
    def row_multiple(self) -> int:
        """The same."""
        return self.config.rows

    def forward(
        self, x: Tensor, c_noise: Tensor, *, conditioning: Conditioning, position: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            x: (B, C, F, T), unit variance.
            c_noise: (B,), the noise level as the preconditioning encodes it.
            position: (F,) log-frequency of each row, zero mean and unit variance; None is all 0.

        Returns:
            (B, C, F, T).
        """
        size, told = (self.config.rows, self.config.patch), {}
        sequence = self.input(patches(with_told(x, position, conditioning, self.config.concat_channels), size))
        count = sequence.shape[1]
        if self.prepended is not None and (before := conditioning.prepend) is not None:
            sequence = torch.cat([self.prepended(before.values.to(x.dtype)), sequence], dim=1)
            told["mask"] = torch.cat([before.mask, before.mask.new_ones(len(x), count)], dim=1)
        if self.config.cross_channels and (tokens := conditioning.cross) is not None:
            told |= {"context": tokens.values.to(x.dtype), "context_mask": tokens.mask}
        sequence = self.encoder(sequence, condition=self.vector(c_noise.to(x.dtype), conditioning), **told)
        return unpatched(self.output(sequence[:, -count:]), self.config.rows, size)

    def before_update(self) -> None:
        """Keeps the lengths of what takes in the conditions out of the update: see `project_gradients`."""
        project_gradients(self)

    def after_update(self) -> None:
        """Brings what takes in the conditions back to unit variance: see `normalize_weights`."""
        normalize_weights(self)


class _Autocast(torch.autocast):
    """On the meta device, where memory is predicted, that of the CPU: torch has none for it."""

    def __init__(self, device_type: str, **options: Any) -> None:
        super().__init__("cpu" if device_type == "meta" else device_type, **options)


def _build(config: XTransformer.Config) -> Any:
    package = extra("x-transformers", config.version)
    package.x_transformers.autocast = _Autocast  # the package asks for one of whatever device its positions are on
    given = [name for name in OURS if name in config.settings]
    if given:
        raise ValueError(f"settings: {given[0]!r} follows from the rest of the config; leave it out")
    try:
        return package.Encoder(
            dim=config.width,
            depth=config.depth,
            heads=config.heads,
            dim_condition=config.width,
            use_adaptive_layernorm=True,
            use_adaptive_layerscale=True,
            cross_attend=bool(config.cross_channels),
            cross_attn_dim_context=config.cross_channels or None,
            **config.settings,
        )
    except (TypeError, AssertionError) as error:
        raise ValueError(f"settings: Encoder: {error}") from None
