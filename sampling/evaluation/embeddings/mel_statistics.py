"""Mean and standard deviation of mel bands: timbre, balance and how much moves, but no order in time."""

from __future__ import annotations

import torch
from torch import Tensor

from dualdiffusion.formats.mel_spectrogram import MelSpectrogram
from sampling.generator import Generator

BANDS = 64
FRAMES_PER_SECOND = 100


class MelStatistics:
    """Mean and standard deviation over time of the logarithm of 64 mel bands of the mono mix: a clip's timbre.

    Independent of the clip's level.
    """

    def __init__(self, sample_rate: int) -> None:
        self.format = MelSpectrogram(
            MelSpectrogram.Config(
                sample_rate=sample_rate,
                hop_length=sample_rate // FRAMES_PER_SECOND,
                window_length=sample_rate // 10,
                n_mels=BANDS,
                f_max=sample_rate / 2,
            )
        )

    def __call__(self, clip: Tensor) -> Tensor:
        """(C, N) -> (128,)."""
        return _statistics(self.log_mel(clip))

    def frames(self, clip: Tensor) -> Tensor:
        """(C, N) -> (m, 128), the statistics of m equal parts of about a second."""
        log = self.log_mel(clip)
        count = max(log.shape[1] // FRAMES_PER_SECOND, 1)
        return torch.stack([_statistics(part) for part in log.split(log.shape[1] // count, dim=1)[:count]])

    def log_mel(self, clip: Tensor) -> Tensor:
        """(C, N) -> (64, T)."""
        mel = self.format.mel(clip.mean(dim=0, keepdim=True)[None])[0, 0]
        return (mel / mel.square().mean().sqrt().clamp(min=1e-9) + 1e-3).log()


def _statistics(log: Tensor) -> Tensor:
    return torch.cat([log.mean(dim=1), log.std(dim=1)])


class MelEmbedding:
    """`MelStatistics` of every second."""

    name, dim = "mel_statistics", 2 * BANDS

    def __init__(self, sample_rate: int) -> None:
        self.statistics = MelStatistics(sample_rate)

    def __call__(self, clip: Tensor, sample_rate: int) -> Tensor:
        """(C, N) -> (m, 128)."""
        return self.statistics.frames(clip)


def build(generator: Generator) -> MelEmbedding:
    """For clips of the model's sample rate."""
    return MelEmbedding(generator.sample_rate)
