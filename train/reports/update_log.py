"""What updates came to, averaged over many of them and over all processes."""

from __future__ import annotations

import math

import torch
from accelerate.utils import gather_object

from train.memory.preflight import predict
from train.position import Position
from train.reports.metrics import StepMetrics, merged
from train.reports.run_log import RunLog
from train.train_config import TrainConfig
from train.update import Outcome, Update


class UpdateLog:
    """The part of a run that logs averages of what its updates came to.

    Attributes:
        loss: the average that was logged last; NaN before, and in other processes than the main one.
    """

    def __init__(self, log: RunLog, update: Update, every: int) -> None:
        self._log, self._update, self._every = log, update, every
        self._metrics = StepMetrics()
        self.loss = math.nan

    def note(self, outcome: Outcome) -> None:
        """Takes in an update; one that was not finite counts for nothing."""
        if outcome.fault:
            return
        self._metrics.note(outcome.metrics)
        if self._log.file:  # the same in all processes
            self._metrics.add("gradient/norm", outcome.gradient_norm)
            self._metrics.add("learning_rate", outcome.learning_rate)

    def add(self, name: str, value: float) -> None:
        """Adds a number of the main process to what is logged next."""
        if self._log.file:
            self._metrics.add(name, value)

    def due(self, position: Position) -> bool:
        """Every so many samples."""
        return position.passed(self._every)

    def run(self, position: Position) -> None:
        """Writes what all processes have noted since the last time."""
        parts = gather_object([self._metrics.take()])
        if not self._log.file:
            return
        scale = self._update.noise_scale.take() if self._update.noise_scale else None
        values, distributions = merged(parts)
        for name, numbers in distributions.items():
            self._log.file.histogram(name, numbers, position.samples)
        if scale is not None:
            values["train/gradient_noise_scale"] = scale
        self._log.file.scalars(values, step=position.step, samples=position.samples)
        self.loss = values.get("loss/total", math.nan)

    def forget(self) -> None:
        """Drops what was noted, where training goes back."""
        self._metrics = StepMetrics()


class PeakMemory:
    """The part of a run that tells, once, what an update takes on a GPU beside what was predicted.

    After the second update: the first one makes the optimizer's state only at its end.
    """

    def __init__(self, name: str, config: TrainConfig, update: Update, log: UpdateLog) -> None:
        self._name, self._config, self._update, self._log = name, config, update, log
        self._told = update.accelerator.device.type != "cuda" or not update.accelerator.is_main_process

    def due(self, position: Position) -> bool:
        """Whether there has been a second update, and nothing is told yet."""
        return not self._told and self._update.count >= 2

    def run(self, position: Position) -> None:
        """Prints the most bytes that were taken, and adds them to the log."""
        self._told = True
        accelerator = self._update.accelerator
        measured = torch.cuda.max_memory_allocated(accelerator.device) / 2**30
        predicted = predict(self._config, device_type="cuda", processes=accelerator.num_processes).peak / 2**30
        print(f"{self._name}: GPU memory at most {measured:.2f} GiB, predicted {predicted:.2f} GiB")
        self._log.add("memory/peak", measured)
        self._log.add("memory/predicted", predicted)
