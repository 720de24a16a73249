"""Demos: something to hear and see of the best weights."""

from __future__ import annotations

from train.averages.tracked import TrackedAverages
from train.module_trainer import ModuleTrainer
from train.position import Position
from train.reports.run_log import RunLog
from train.reports.validation import Validation


class DemoWriter:
    """The part of a run that writes demos to TensorBoard.

    They are made outside of the training's precision: a clip is in the precision that its request names, as on the page
    and the command line, so that what one hears is what the model will sound like.

    Args:
        every: samples between demos; None: never by itself.
    """

    def __init__(
        self,
        log: RunLog,
        module_trainer: ModuleTrainer,
        averages: TrackedAverages,
        validation: Validation,
        every: int | None,
    ) -> None:
        self._log, self._module_trainer, self._averages = log, module_trainer, averages
        self._validation, self._every = validation, every

    def due(self, position: Position) -> bool:
        """Every so many samples, if at all."""
        return self._every is not None and position.passed(self._every)

    def run(self, position: Position) -> None:
        """Writes demos of the weights that validation found best."""
        if not self._log.file:
            return
        with self._averages.applied(self._validation.best, self._module_trainer.module):
            for demo in self._module_trainer.demos():
                self._log.file.demo(demo, position.samples)
