"""Sounds whose rhythm and notes are known: stereo, (2, samples), at 16 kHz."""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 16000
C_MAJOR = (261.63, 329.63, 392.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clicks(tempo: float, seconds: float = 8.0) -> Tensor:
    """Short bursts of noise, `tempo` a minute, the first after a tenth of a second."""
    samples, burst = torch.zeros(round(seconds * RATE)), torch.randn(640, generator=seeded())
    burst = 0.3 * burst * torch.exp(-torch.arange(640) / 100)
    for number in range(int((seconds - 0.2) * tempo / 60) + 1):
        start = round((0.1 + number * 60 / tempo) * RATE)
        samples[start : start + 640] += burst[: len(samples) - start]
    return samples.expand(2, -1)


def chord(frequencies: tuple[float, ...] = C_MAJOR, seconds: float = 8.0, partials: int = 8) -> Tensor:
    """HeldAudio notes with overtones, at an equal level from beginning to end."""
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    tones = [torch.sin(2 * torch.pi * f * k * time) / k for f in frequencies for k in range(1, partials + 1)]
    return (0.1 * torch.stack(tones).sum(dim=0)).float().expand(2, -1)


def noise(seconds: float = 8.0, seed: int = 0) -> Tensor:
    """White noise, the same left and right."""
    return (0.1 * torch.randn(round(seconds * RATE), generator=seeded(seed))).expand(2, -1)


def tune(seconds: float = 8.0) -> Tensor:
    """A scale in quavers at 120 a minute, left louder than right, with some noise: something of everything."""
    time = torch.arange(round(seconds * RATE)) / RATE
    step = (time / 0.25).long()
    pitch = torch.tensor([0, 2, 4, 5, 7, 9, 11, 12])[step % 8]
    frequency = 261.63 * 2 ** (pitch / 12)
    phase = 2 * torch.pi * (frequency / RATE).double().cumsum(dim=0)
    voice = sum(torch.sin(k * phase) / k for k in range(1, 6)).float() * torch.exp(-8 * (time - 0.25 * step))
    return torch.stack([0.2 * voice, 0.1 * voice]) + 0.001 * torch.randn(2, len(time), generator=seeded())
