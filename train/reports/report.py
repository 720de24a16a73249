"""What a run tells about itself: averaged metrics, validation of raw and averaged weights, demos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dualdiffusion.model.folder import RAW
from train.averages.ema import PowerEMA, restored
from train.module_trainer import ModuleTrainer
from train.reports.metrics import MetricLog, StepSums, merged
from train.reports.validation import ValidationConfig, validate


class Reports:
    """Writes to TensorBoard and metrics.csv. Only the main process of a run has one.

    Args:
        samples: where the run goes on from.
    """

    def __init__(
        self, trainer: ModuleTrainer, emas: list[PowerEMA], folder: Path, *, samples: int, config: dict[str, Any]
    ) -> None:
        self._trainer, self._emas = trainer, emas
        self._log = MetricLog(folder, samples)
        self._log.config(config, samples)

    def write_averages(self, parts: Sequence[StepSums], more: dict[str, float], *, step: int, samples: int) -> float:
        """Writes averages and distributions over what all processes noted, and `more`; returns the average loss."""
        values, distributions = merged(parts)
        for name, numbers in distributions.items():
            self._log.histogram(name, numbers, samples)
        self._log.scalars({**values, **more}, step=step, samples=samples)
        return values.get("loss/total", math.nan)

    def validate(self, config: ValidationConfig, device: torch.device, *, step: int, samples: int) -> str:
        """Scores raw and averaged weights; returns the name of the best."""
        arguments = (self._trainer, self._trainer.labels, config, device)
        results = {RAW: validate(*arguments)}
        for ema in self._emas:
            with ema.applied(self._trainer.module):
                results[ema.name] = validate(*arguments)
        for name, values in results.items():
            named = {f"validation/{name}/{key}": value for key, value in values.items()}
            self._log.scalars(named, step=step, samples=samples)
        scores = {name: values["loss"] for name, values in results.items()}
        return min(scores, key=lambda name: (not math.isfinite(scores[name]), scores[name]))

    def demos(self, best: str, samples: int) -> None:
        """Writes demos of the weights of the given name."""
        module = self._trainer.module
        ema = {ema.name: ema for ema in self._emas}.get(best)
        with ema.applied(module) if ema else restored(module):
            for demo in self._trainer.demos():
                self._log.demo(demo, samples)

    def close(self) -> None:
        """Flushes everything."""
        self._log.close()
