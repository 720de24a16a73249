"""Waveform: the audio itself, at unit variance over the dataset, for models in one dimension.

Shapes: B batch, C audio channels, N samples, p patch, T frames = N / p.
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
    """Audio (B, C, N) <-> x (B, C p, 1, T): one row, and p samples after each other as channels of one frame.

    The first p channels are those of the first audio channel. Nothing is lost but the rounding of float32, and samples
    after the last whole frame. The buffers `mean` and `std` are constants of the dataset, never of a clip: loudness and
    dynamics survive.
    """

    class Config(Config):
        """Settings of a waveform; fixed when a model is created."""

        sample_rate: PositiveInt = 32000
        """In Hz."""
        num_channels: PositiveInt = 2
        patch: PositiveInt = 1
        """Samples that are folded into the channels of a frame: a network's work falls with it, and what it can tell
        apart in time too."""

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
        """p, samples of a frame."""
        return self.config.patch

    @property
    def frames_per_second(self) -> float:
        """Frames of a second of audio."""
        return self.config.sample_rate / self.config.patch

    @property
    def context_frames(self) -> int:
        """A frame depends on its own samples alone."""
        return 0

    @property
    def rows(self) -> int:
        """1: there is no frequency axis."""
        return 1

    def position(self) -> Tensor:
        """0 for the only row: (1,)."""
        return torch.zeros(1)

    def num_frames(self, samples: int) -> int:
        """Frames that `encode` makes of so many samples; a rest of less than a frame is dropped."""
        return samples // self.config.patch

    def num_samples(self, frames: int) -> int:
        """Samples that `decode` makes of so many frames."""
        return frames * self.config.patch

    def sample_shape(self, frames: int) -> tuple[int, int, int]:
        """(C p, 1, T) of an encoded clip."""
        return self.config.num_channels * self.config.patch, 1, frames

    def encode(self, audio: Tensor) -> Tensor:
        """(B, C, N) samples in [-1, 1] -> (B, C p, 1, N // p), about zero mean and unit variance."""
        whole = audio[..., : self.num_samples(self.num_frames(audio.shape[-1]))]
        folded = whole.unflatten(-1, (-1, self.config.patch)).transpose(-1, -2)  # (B, C, p, T)
        return ((folded - self.mean) / self.std).flatten(1, 2)[:, :, None]

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
        """(B, C p, 1, T) -> audio (B, C, T p). There is nothing to recover: all but `held` change nothing.

        Args:
            held: audio that is known already, (C, T p), and how far it is kept, (T p,) in [0, 1].
        """
        if callback:
            callback(1, 1)
        folded = x.reshape(len(x), self.config.num_channels, self.config.patch, -1)
        audio = folded.transpose(-1, -2).flatten(-2) * self.std + self.mean
        return audio if held is None else torch.lerp(audio, *held)

    @torch.no_grad()
    def fit(self, clips: list[Tensor]) -> None:
        """Measures the normalisation constants on a list of clips (C, N)."""
        values = torch.cat([clip.flatten() for clip in clips]).to(self.mean.device)
        self.mean.copy_(values.mean())
        self.std.copy_(values.std())
