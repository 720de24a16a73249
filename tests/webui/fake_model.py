"""A model without torch, quick and audible, that misbehaves for certain seeds. Loaded in the worker process by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy
import soundfile
from PIL import Image

from dualdiffusion.errors import UserError
from sampling.request import Request

DIES, REFUSES, CRASHES, PRINTS, OUT_OF_MEMORY = 9001, 9002, 9003, 9004, 9005
SAMPLE_RATE = 32000
STEP = 0.05  # seconds


class Cancelled(Exception):  # noqa: N818 (the name that sampling.generator has)
    """Raised in on_step."""


@dataclass
class Result:
    audio: numpy.ndarray
    sample_rate: int
    request: Request
    fingerprint: str = "f" * 16


@dataclass
class Report:
    fraction: float
    text: str
    picture: Callable[[], Image.Image]

    def preview(self) -> Image.Image:
        return self.picture()


def spectrogram(audio: numpy.ndarray) -> Image.Image:
    """A magma-like picture of (2, samples) audio, 256 log-spaced rows."""
    hop, size = 512, 2048
    mono = numpy.pad(audio.mean(axis=0), (0, size))
    frames = numpy.lib.stride_tricks.sliding_window_view(mono, size)[::hop] * numpy.hanning(size)
    power = numpy.abs(numpy.fft.rfft(frames, axis=1)).T ** 0.35
    rows = numpy.geomspace(4, len(power) - 1, 256).astype(int)[::-1]
    x = power[rows] / max(float(power.max()), 1e-6)
    colours = (
        numpy.stack([x**0.8, x**2.2 * 0.9, 0.25 + 0.5 * numpy.sin(x * 2.6)], axis=-1)
        * numpy.clip(x * 4, 0, 1)[..., None]
    )
    return Image.fromarray((numpy.clip(colours, 0, 1) * 255).astype(numpy.uint8))


def compose(request: Request) -> numpy.ndarray:
    """An arpeggio that follows the seed and the games, (2, samples)."""
    random = numpy.random.default_rng(request.seed + sum(map(ord, "".join(request.games))))
    t = numpy.arange(int(request.seconds * SAMPLE_RATE)) / SAMPLE_RATE
    audio = numpy.zeros((2, len(t)), numpy.float32)
    beat = random.choice([0.18, 0.22, 0.3])
    for start in numpy.arange(0, request.seconds, beat):
        at = slice(int(start * SAMPLE_RATE), int((start + 4 * beat) * SAMPLE_RATE))
        local = t[at] - start
        pitch = 110 * 2 ** (random.choice([0, 3, 5, 7, 10, 12, 15, 19, 24]) / 12)
        tone = sum(numpy.sin(2 * numpy.pi * pitch * k * local) / k for k in (1, 2, 3, 5, 8))
        pan = random.uniform(0.2, 0.8)
        audio[:, at] += numpy.outer([pan, 1 - pan], tone * numpy.exp(-local / beat) * random.uniform(0.05, 0.25))
    return numpy.clip(audio, -1, 1)


class FakeModel:
    """A `webui.models.contract.Model`."""

    fingerprint, sample_rate, least_seconds, cancelled = "f" * 16, SAMPLE_RATE, 256 / SAMPLE_RATE, Cancelled

    def generate(self, request: Request, on_step: Callable[[Report], None]) -> Result:
        if request.seed == PRINTS:
            os.write(1, b'{"type": "done", "id": "nonsense"}\nnoise' * 100)
        if request.seed == REFUSES:
            raise UserError("the weights are of another shape")
        if request.seed == CRASHES:
            raise RuntimeError("a tensor was\nsurprised")
        if request.seed == OUT_OF_MEMORY:
            raise MemoryError
        audio = compose(request)
        random = numpy.random.default_rng(request.seed)
        for step in range(request.steps):
            time.sleep(STEP)
            if request.seed == DIES and step == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            noise = (1 - (step + 1) / request.steps) ** 2
            noisy = audio + noise * random.normal(0, 0.3, audio.shape)
            text = f"sampling {step + 1}/{request.steps}"
            on_step(Report(0.9 * (step + 1) / request.steps, text, lambda noisy=noisy: spectrogram(noisy)))
        on_step(Report(0.95, "recovering phase 12/50", lambda: spectrogram(audio)))
        return Result(audio, SAMPLE_RATE, request)

    def save(self, result: Result, folder: Path) -> Path:
        games = "+".join(result.request.games)
        path = folder / f"{games}_{result.request.seed}_{time.time_ns()}.flac"
        soundfile.write(path, result.audio.T, result.sample_rate)
        return path

    def picture(self, result: Result) -> Image.Image:
        return spectrogram(result.audio)

    def recover(self) -> None:
        pass


def load(path: Path) -> FakeModel:
    """Model folders named after a fault have that fault."""
    if path.name == "dies_at_load":
        os.kill(os.getpid(), signal.SIGKILL)
    if path.name == "unusable":
        raise UserError(f"{path}: has no module 'unet'")
    return FakeModel()
