"""Validation: the same samples, noise levels and noise every time, for the raw weights and every EMA."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

import torch
from pydantic import Field

from dualdiffusion.config import Config
from dualdiffusion.data.audio_crops import collate
from dualdiffusion.labels import Labels
from dualdiffusion.randomness import StepRandom
from train.module_trainer import ModuleTrainer
from train.reports.metrics import MetricAverages


class ValidationConfig(Config):
    """How often, and on how much."""

    every_samples: Annotated[int, Field(gt=0)] = 4000
    """Training samples between validations; there is always one at the end."""
    samples: Annotated[int, Field(gt=0)] = 64
    """Noisy versions of the validation tracks' crops; every track is used about equally often."""
    batch_size: Annotated[int, Field(gt=0)] = 16


@torch.no_grad()
def validate(
    trainer: ModuleTrainer, labels: Labels, config: ValidationConfig, device: torch.device
) -> dict[str, float]:
    """Mean score of the module as it is, as "loss", and by part and game.

    The quantiles of the noise levels are stratified over all samples, and a function of the sample's number alone.
    """
    data = trainer.validation_data()
    names = {game.id: game.name for game in labels.games}
    averages = MetricAverages()
    training = trainer.module.training
    trainer.module.eval()
    try:
        for first in range(0, config.samples, config.batch_size):
            indices = range(first, min(first + config.batch_size, config.samples))
            batch = collate([data[index % len(data)] for index in indices]).to(device)
            random = StepRandom(0, first=0, batch_size=config.samples, indices=indices)
            output = trainer.step(batch, generator=random)
            averages.add("loss", output.score)
            for name, values in output.metrics.items():
                if name.startswith("loss_by_sigma/"):
                    averages.add(name, values)
            by_game: dict[str, list[float]] = defaultdict(list)
            for game_id, score in zip(batch.game_ids.tolist(), output.score.tolist(), strict=True):
                by_game[names[game_id]].append(score)
            for game, scores in by_game.items():
                averages.add(f"loss_by_game/{game}", torch.tensor(scores))
    finally:
        trainer.module.train(training)
    return averages.take()
