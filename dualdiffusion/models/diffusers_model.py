"""A network of the diffusers package under our denoiser: the ADM U-Net, a baseline to compare with.

Dhariwal and Nichol 2021, appendix A. The package is an optional extra, and only imported where such a network is built.
What it takes as class embedding is what our networks are told as one vector: games, and what else is told beside them.

Shapes: B batch, C latent channels, F frequency rows, T time columns.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning, settled_label_dim
from dualdiffusion.config import Config
from dualdiffusion.model.extras import extra
from dualdiffusion.model.module import Module
from dualdiffusion.nn.magnitude_preserving import normalize_weights, project_gradients
from dualdiffusion.nn.told import ToldVector, with_told

VERSION = "0.42.1"
TIMESTEPS = 1000
OURS = ("sample_size", "in_channels", "out_channels", "class_embed_type", "num_class_embeds", "time_embedding_type")

Channels = Annotated[int, Field(ge=0)]


class DiffusersModel(Module):
    """Backbone F(x; c_noise) of the denoiser: (B, C, F, T) -> (B, C, F, T).

    Raises:
        ValueError: diffusers is not installed, or in another version than the network was made with.
    """

    class Config(Config):
        """Settings of a network of diffusers."""

        class_name: Literal["UNet2DModel"] = "UNet2DModel"
        """Its class."""
        settings: dict[str, Any] = Field({"resnet_time_scale_shift": "scale_shift"})
        """Arguments of the class, but for sizes of input and output and what it is told, which are ours."""
        version: str = VERSION
        """Of diffusers: weights and results hang on it."""
        channels: PositiveInt | None = None
        """Latent channels; null: those of the autoencoder that it is trained with (4 without one)."""
        label_dim: Annotated[int, Field(ge=0)] | None = None
        """Games; null: as many as the model's labels when it is created. 0: unconditional."""
        concat_channels: Channels = 0
        """Channels along time that are told beside the input; `conditioned.Conditioned` sets it."""
        global_channels: Channels = 0
        """Channels that are told beside the noise level; `conditioned.Conditioned` sets it."""
        activation_checkpointing: bool = False
        """Compute activations again in the backward pass: about a third slower, far less memory."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.label_dim = settled_label_dim(config.label_dim)
        self.network = _build(config, self.in_channels)
        self.levels = len(self.network.config.block_out_channels)
        # As in the paper: the untrained denoiser is then the best linear guess.
        for parameter in self.network.conv_out.parameters():
            nn.init.zeros_(parameter)
        if config.activation_checkpointing:
            self.network.enable_gradient_checkpointing()
        self.vector = ToldVector(
            self.label_dim, self.network.time_embedding.linear_2.out_features, config.global_channels
        )

    @property
    def in_channels(self) -> int:
        """C, latent channels."""
        return self.config.channels or 4

    @property
    def size_multiple(self) -> int:
        """Rows and columns must be multiples of this."""
        return 2 ** (self.levels - 1)

    def forward(
        self, x: Tensor, c_noise: Tensor, *, conditioning: Conditioning, position: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            x: (B, C, F, T), unit variance.
            c_noise: (B,), ln(sigma) / 4.
            position: (F,) log-frequency of each row, zero mean and unit variance; None is all 0.

        Returns:
            (B, C, F, T).
        """
        # The number of a step among as many as such networks are made for, by the angle of signal and noise.
        time = (4 * c_noise.float()).exp().atan() * (2 / math.pi) * (TIMESTEPS - 1)
        told = self.vector(c_noise.to(x.dtype), conditioning)
        told_input = with_told(x, position, conditioning, self.config.concat_channels)
        return self.network(told_input, time, class_labels=told).sample

    def before_update(self) -> None:
        """Keeps the lengths of what takes in the conditions out of the update: see `project_gradients`."""
        project_gradients(self)

    def after_update(self) -> None:
        """Brings what takes in the conditions back to unit variance: see `normalize_weights`."""
        normalize_weights(self)


def _build(config: DiffusersModel.Config, channels: int) -> Any:
    package = extra("diffusers", config.version, config.class_name)
    given = [name for name in OURS if name in config.settings]
    if given:
        raise ValueError(f"settings: {given[0]!r} follows from the rest of the config; leave it out")
    try:
        return getattr(package, config.class_name)(
            in_channels=channels + 1 + config.concat_channels,
            out_channels=channels,
            class_embed_type="identity",
            time_embedding_type="positional",
            **config.settings,
        )
    except TypeError as error:
        raise ValueError(f"settings: {config.class_name}: {error}") from None
