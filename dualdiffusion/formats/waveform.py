"""Waveform: the audio itself, at unit variance over the dataset, for models in one dimension.

Shapes: B batch, C channels, N samples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import PositiveInt
from torch import Tensor

from dualdiffusion.config import Config
from dualdiffusion.dsp.tiles import HeldAudio
from dualdiffusion.model.module import Module


class Waveform(Module):
    """Audio (B, C, N) <-> x (B, C, N). A frame is a sample; nothing is lost but the rounding of float32.

    The buffers `mean` and `std` are constants of the dataset, never of a clip: loudness and dynamics survive.
    """

    class Config(Config):
        """Settings of a waveform; fixed when a model is created."""

        sample_rate: PositiveInt = 32000
        """In Hz."""
        num_channels: PositiveInt = 2

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.config.sample_rate

    @property
    def num_channels(self) -> int:
        """C."""
        return self.config.num_channels

    @property
    def hop_length(self) -> int:
        """A frame is a sample."""
        return 1

    @property
    def frames_per_second(self) -> float:
        """The sample rate."""
        return float(self.config.sample_rate)

    @property
    def context_frames(self) -> int:
        """A frame depends on its own sample alone."""
        return 0

    def num_frames(self, samples: int) -> int:
        """Frames that `encode` makes of so many samples."""
        return samples

    def num_samples(self, frames: int) -> int:
        """Samples that `decode` makes of so many frames."""
        return frames

    def sample_shape(self, frames: int) -> tuple[int, int]:
        """(C, N) of an encoded clip."""
        return self.config.num_channels, frames

    def encode(self, audio: Tensor) -> Tensor:
        """(B, C, N) samples in [-1, 1] -> (B, C, N), about zero mean and unit variance."""
        return (audio - self.mean) / self.std

    def decode(
        self,
        x: Tensor,
        *,
        iterations: int | None = None,
        seeds: list[int] | None = None,
        callback: Callable[[int, int], None] | None = None,
        held: HeldAudio | None = None,
        circular: bool = False,
    ) -> Tensor:
        """(B, C, N) -> audio (B, C, N). There is nothing to recover: all but `held` change nothing.

        Args:
            held: audio that is known already, (C, N), and how far it is kept, (N,) in [0, 1].
        """
        if callback:
            callback(1, 1)
        audio = x * self.std + self.mean
        return audio if held is None else torch.lerp(audio, *held)

    @torch.no_grad()
    def fit(self, clips: list[Tensor]) -> None:
        """Measures the normalisation constants on a list of clips (C, N)."""
        values = torch.cat([clip.flatten() for clip in clips]).to(self.mean.device)
        self.mean.copy_(values.mean())
        self.std.copy_(values.std())
