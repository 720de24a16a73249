"""Tracks for the tiny model, and the step that encodes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dataset_processing.step import Paths, Record
from dataset_processing.steps.encode import Encode
from dualdiffusion import audio
from dualdiffusion.model.folder import ModelFolder
from tests import tiny

HOP, COLUMN = 64, 512  # samples
RATE = tiny.SAMPLE_RATE


class OneProcess:
    """The runner's part in a collective step, without its journal."""

    processes = 1

    def each(self, records: list[Record], function: Callable[[Record], Record]) -> list[Record]:
        return [function(record) for record in records]


def melody(seconds: float, seed: int) -> torch.Tensor:
    """A random melody (2, samples), four notes a second, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    pitches = rng.uniform(100, 2000, (2, int(seconds * 4) + 1)).repeat(RATE // 4, 1)[:, : round(seconds * RATE)]
    tones = 0.2 * np.sin(2 * np.pi * np.cumsum(pitches, 1) / RATE) + 0.01 * rng.standard_normal(pitches.shape)
    return torch.from_numpy(tones.astype(np.float32))


def write_track(path: Path, samples: int, *, seed: int = 0, rate: int = RATE, channels: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write_flac(path, melody(samples / RATE + 1, seed)[:channels, :samples], rate)
    return path


def encode_one(model: ModelFolder, dataset: Path, **settings: object) -> Record:
    """What the step makes of the track audio/Cave/a.flac."""
    config = Encode.Config.from_json({"model": str(model.path), "device": "cpu", **settings})
    step = Encode(config, paths=Paths(dataset / "source", dataset))
    record = Record("Cave/a.wav", game="Cave", fields={"file_name": "audio/Cave/a.flac"})
    return step.run_all([record], OneProcess())[0]
