"""What a run leaves to go on from: checkpoints, going back to one, and the published weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json
from dualdiffusion.model.folder import RAW, ModelFolder
from dualdiffusion.model.label_growth import grown_checkpoint
from dualdiffusion.model.module import load_state, save_module, save_weights
from train.averages.tracked import SnapshotWriter
from train.checkpoints.checkpoint import Checkpoints, CheckpointState, samples_of
from train.module_trainer import Stateful
from train.optimization.state import load_packed_state, packed_state
from train.position import Position
from train.reports.validation import Validation
from train.train_config import TrainConfig
from train.update import Outcome, Update


class Recovery:
    """Saves and publishes what an update changes, and brings it back; counts updates that were not finite.

    Attributes:
        skipped: updates in a row that were not finite.
    """

    def __init__(
        self, config: TrainConfig, update: Update, validation: Validation, snapshots: SnapshotWriter, run_path: Path
    ) -> None:
        self._config, self._update, self._validation, self._snapshots = config, update, validation, snapshots
        self._module_trainer = update.module_trainer
        self._accelerator: Accelerator = update.accelerator
        self._name, self._model = self._module_trainer.module_name, ModelFolder(config.model)
        self._finished_path = run_path / "finished.json"
        # The main process tidies up what a killed one left, before the others look.
        with self._accelerator.main_process_first():
            self.checkpoints = Checkpoints(run_path / "checkpoints", config.checkpoint.keep)
        self.skipped = 0
        # Samples of the newest checkpoint, as long as no step after it has been finite.
        self._unproven: int | None = None

    def note(self, outcome: Outcome, position: Position) -> None:
        """Takes in an update; says so if it was not finite."""
        if outcome.fault is None:
            self.skipped, self._unproven = 0, None
            return
        self.skipped += 1
        self._warn(f"step {position.step}: {outcome.fault}; skipped, {self.skipped} in a row")

    def due(self, position: Position) -> bool:
        """Every so many samples."""
        return position.passed(self._config.checkpoint.every_samples)

    def run(self, position: Position) -> None:
        """Saves everything that is checkpointed; then the weights are published for the page and for sampling.

        Weights after which no step is finite may be broken: then the checkpoints that there are stay.
        """
        if self.skipped and position.samples < self._config.total_samples:
            self._warn("the last step was not finite: not saved; the checkpoint before is kept")
            return
        self._unproven = position.samples
        if not self._accelerator.is_main_process:
            return
        # A new game is in the checkpoint before it is in what is published: a kill in between loses nothing.
        self.checkpoints.save(self._state(position))
        self._publish()

    def _state(self, position: Position) -> CheckpointState:
        """Everything that is checkpointed, by name."""
        loop = {
            "samples": position.samples,
            "step": position.step,
            "batch_size": position.batch_size,
            "rollbacks": position.rollbacks,
            "best": self._validation.best,
            "validated_at": self._validation.validated_at,
            "optimizer": self._config.optimizer.kind,
        }
        optimizer = packed_state(self._update.optimizer, self._module_trainer.module)
        own = self._module_trainer.state() if isinstance(self._module_trainer, Stateful) else {}
        return CheckpointState(self._weights(), optimizer, loop, own)

    def _weights(self) -> dict[str, dict[str, Tensor]]:
        return {self._name: self._module_trainer.module.state_dict(), **self._update.averages.states()}

    def _publish(self) -> None:
        """Averages first, then the raw weights, with which the model's index names the best."""
        module, averages = self._module_trainer.module, self._update.averages
        for ema in averages.published:
            with averages.applied(ema.name, module):
                self._module_trainer.finish()
                save_weights(self._model.weights_path(self._name, ema.name), module.state_dict())
        with averages.applied(RAW, module):
            self._module_trainer.finish()
            save_module(self._model, self._name, module, ema=self._validation.best)

    def resume(self, position: Position, before: int | None = None) -> None:
        """Goes on from the newest whole checkpoint, if there is one.

        Args:
            before: only of fewer samples than that.

        Raises:
            UserError: checkpoints of another optimizer or without an average that is wanted, or damaged ones alone.
        """
        state = self.checkpoints.load(before)
        self._snapshots.drop_after(state.loop["samples"] if state else 0)
        if state is None:
            return
        state = grown_checkpoint(state, self._module_trainer.module, self._name, self._config.seed)
        self._load_weights(state)
        self._load_optimizer(state)
        if isinstance(self._module_trainer, Stateful):
            self._module_trainer.load_state(state.module_trainer)
        self._load_loop(state.loop, position)
        print(f"{self._name}: going on from sample {position.samples} of {self._config.total_samples}")

    def _load_weights(self, state: CheckpointState) -> None:
        averages, module = self._update.averages, self._module_trainer.module
        if new := averages.forget_new(set(state.weights)):
            print(f"{self._name}: no snapshots of {', '.join(new)}: training began without them")
        expected = set(self._weights())
        if not expected <= set(state.weights):
            missing = ", ".join(sorted(expected - set(state.weights)))
            raise UserError(f"{self.checkpoints.folder}: has no {missing}; keep ema_stds as they were, or start anew")
        load_state(module, state.weights[self._name], self.checkpoints.folder)
        averages.load_states(state.weights)

    def _load_optimizer(self, state: CheckpointState) -> None:
        kind = state.loop["optimizer"]
        if kind != self._config.optimizer.kind:
            raise UserError(
                f"optimizer.type: {self.checkpoints.folder} is of {kind}, not {self._config.optimizer.kind}; keep it, "
                "or remove that folder to train on from the published weights with a new optimizer"
            )
        # A changed setting holds from here on: settings are the config's, not the checkpoint's.
        load_packed_state(self._update.optimizer, self._module_trainer.module, state.optimizer)

    def _load_loop(self, loop: dict[str, Any], position: Position) -> None:
        position.samples, position.rollbacks = loop["samples"], loop["rollbacks"]
        # Older checkpoints do not say the last two.
        position.step = loop.get("step", position.samples // position.batch_size)
        self._validation.validated_at = loop.get("validated_at", -1)
        self._validation.best = loop["best"] if loop["best"] in self._update.averages.names else RAW
        self._unproven = position.samples

    def roll_back(self, position: Position) -> None:
        """Goes back to a checkpoint, and on from there with other samples and noise.

        If no step after the newest one was finite, it is the weights in it that are broken: then to the one before.

        Raises:
            UserError: no checkpoint to go back to, or it has been done too often.
        """
        rollbacks, self.skipped = position.rollbacks + 1, 0
        if rollbacks > self._config.max_rollbacks:
            raise UserError(
                f"{self._name}: the loss stopped being finite {rollbacks} times; the last good checkpoint is kept; "
                "lower optimizer.learning_rate, or set mixed_precision to no, and run again"
            )
        times = [samples_of(path) for path in self.checkpoints.list()]
        if not times:
            raise UserError(f"{self._name}: the loss is not finite, and there is no checkpoint yet to go back to")
        broken = self._unproven == times[0] and len(times) > 1
        self._warn(f"going back to a checkpoint, {rollbacks} of at most {self._config.max_rollbacks} times")
        self.resume(position, before=times[0] if broken else None)
        position.rollbacks = rollbacks

    def finish(self, position: Position) -> None:
        """Saves for the last time, and marks the run as finished."""
        self.run(position)
        if self._accelerator.is_main_process:
            write_json(self._finished_path, self._finished(position))

    def is_finished(self, position: Position) -> bool:
        """Whether a run that ended here has published its weights."""
        path, published = self._finished_path, self._model.emas
        return (
            path.exists()
            and read_json(path) == self._finished(position)
            and self._validation.best in published(self._name)
        )

    def _finished(self, position: Position) -> dict[str, Any]:
        return {"samples": position.samples, "best": self._validation.best}

    def _warn(self, text: str) -> None:
        if self._accelerator.is_main_process:
            print(f"\n{self._name}: {text}", file=sys.stderr)
