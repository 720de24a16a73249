"""Steps of the real trainer, one at a time, for benchmarks to time."""

from __future__ import annotations

import contextlib
import io

from accelerate import Accelerator

from train.train_config import TrainConfig
from train.trainer import Trainer


class RealSteps:
    """A training that goes on for one update at each call: data, loss, backward, optimizer, averages."""

    def __init__(self, config: TrainConfig) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.trainer = Trainer(config, Accelerator(mixed_precision=config.mixed_precision))
            self._batches = self.trainer.batches()

    def next(self) -> None:
        """One update."""
        self.trainer.train_step(self._batches)
