"""Validation: the same samples, noise levels and noise every time, for the raw weights and every EMA."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Annotated

import torch
from accelerate import Accelerator
from pydantic import Field

from dualdiffusion.config import Config
from dualdiffusion.data.audio_crops import collate
from dualdiffusion.model.folder import RAW
from dualdiffusion.randomness import StepRandom
from train.averages.tracked import TrackedAverages
from train.module_trainer import ModuleTrainer, StepOutput
from train.position import Position
from train.reports.metrics import MetricAverages
from train.reports.run_log import RunLog
from train.reports.transfer import to_cpu


class ValidationConfig(Config):
    """How often, and on how much."""

    every_samples: Annotated[int, Field(gt=0)] = 4000
    """Training samples between validations; there is always one at the end."""
    samples: Annotated[int, Field(gt=0)] = 64
    """Noisy versions of the validation tracks' crops; every track is used about equally often."""
    batch_size: Annotated[int, Field(gt=0)] = 16


# Logged as 1 beside a validation that is not one, so that its curves are not taken for more than they are.
ON_TRAINING_TRACKS = "validation/on_training_tracks"


class Validation:
    """The part of a run that scores raw and averaged weights; the main process does it while others wait.

    Attributes:
        best: name of the weights with the lowest loss.
        validated_at: samples seen at the last validation; -1: there was none.
    """

    def __init__(
        self,
        log: RunLog,
        module_trainer: ModuleTrainer,
        averages: TrackedAverages,
        config: ValidationConfig,
        accelerator: Accelerator,
    ) -> None:
        self._log, self._module_trainer, self._averages = log, module_trainer, averages
        self._config, self._accelerator = config, accelerator
        self.best, self.validated_at = RAW, -1

    def due(self, position: Position) -> bool:
        """Every so many samples."""
        return position.passed(self._config.every_samples)

    def run(self, position: Position) -> None:
        """Scores all weights, unless these have been scored; remembers the best."""
        if not self._log.file or self.validated_at == position.samples:
            return
        scores = {}
        for name in self._averages.names:
            with self._averages.applied(name, self._module_trainer.module):
                values = validate(self._module_trainer, self._config, self._accelerator)
            named = {f"validation/{name}/{key}": value for key, value in values.items()}
            self._log.file.scalars(named, step=position.step, samples=position.samples)
            scores[name] = values["loss"]
        if not self._module_trainer.holds_out:
            self._log.file.scalars({ON_TRAINING_TRACKS: 1.0}, step=position.step, samples=position.samples)
        self.best = min(scores, key=lambda name: (not math.isfinite(scores[name]), scores[name]))
        self.validated_at = position.samples


@torch.no_grad()
def validate(module_trainer: ModuleTrainer, config: ValidationConfig, accelerator: Accelerator) -> dict[str, float]:
    """Mean score of the module as it is, as "loss", and by part and game.

    In the precision of training: what is compared is what is trained, it takes no longer for its size than training
    does, and it fits where training fits (train/memory/preflight.py counts on it).

    The quantiles of the noise levels are stratified over all samples, and a function of the sample's number alone.
    """
    data, module = module_trainer.validation_data(), module_trainer.module
    names = {game.id: game.name for game in module_trainer.labels.games}
    averages = MetricAverages()
    training = module.training
    module.eval()
    try:
        for first in range(0, config.samples, config.batch_size):
            indices = range(first, min(first + config.batch_size, config.samples))
            batch = collate([data[index % len(data)] for index in indices])
            random = StepRandom(0, first=0, batch_size=config.samples, indices=indices)
            with accelerator.autocast():
                output = module_trainer.step(batch.to(accelerator.device), generator=random)
            _note(averages, output, [names[game_id] for game_id in batch.game_ids.tolist()])
    finally:
        module.train(training)
    return averages.take()


def _note(averages: MetricAverages, output: StepOutput, games: list[str]) -> None:
    """Takes in a batch whose samples are of `games`."""
    parts = [name for name in output.metrics if name.startswith("loss_by_sigma/")]
    score, *values = to_cpu([output.score, *(output.metrics[name] for name in parts)])
    averages.add("loss", score)
    for name, value in zip(parts, values, strict=True):
        averages.add(name, value)
    by_game: dict[str, list[float]] = defaultdict(list)
    for game, of_sample in zip(games, score.tolist(), strict=True):
        by_game[game].append(of_sample)
    for game, scores in by_game.items():
        averages.add(f"loss_by_game/{game}", torch.tensor(scores))
