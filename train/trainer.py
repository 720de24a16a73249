"""The training loop. It knows no module: what is trained, and how, is a module trainer's business.

A run is counted in samples seen, and all randomness follows from the seed and the sample's number: a run that was
interrupted goes on exactly as if it had not been.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast

from dualdiffusion.data.audio_crops import Batch
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_text
from dualdiffusion.model.folder import ModelFolder
from train.averages.post_hoc import Snapshots
from train.averages.tracked import SnapshotWriter
from train.checkpoints import changes
from train.checkpoints.recovery import Recovery
from train.data.loader import build_loader
from train.interruption import Interruption
from train.module_trainer import DependsOnWeights, ModuleTrainer
from train.position import Part, Position
from train.reports.demos import DemoWriter
from train.reports.progress_line import TrainingProgress
from train.reports.run_log import RunLog
from train.reports.update_log import PeakMemory, UpdateLog
from train.reports.validation import Validation
from train.startup.initial_weights import init_of
from train.train_config import TrainConfig
from train.update import Update


class Trainer:
    """Runs one training to its end, or to the next request to stop.

    Args:
        launcher: what `launcher_id` returned when the process started.
    """

    def __init__(self, config: TrainConfig, accelerator: Accelerator, launcher: int | None = None) -> None:
        self.config, self.accelerator, self.launcher = config, accelerator, launcher
        self.position = Position(config.seed, config.batch_size)
        self.module_trainer = self._build_module_trainer()
        self.name = self.module_trainer.module_name
        self.run_path = ModelFolder(config.model).run_path(self.name)
        main = accelerator.is_main_process
        if main:
            self.run_path.mkdir(parents=True, exist_ok=True)
            write_text(self.run_path / "pid", f"{os.getpid()}\n")
        self.update = Update(self.module_trainer, config, accelerator)

        averages, trainer = self.update.averages, self.module_trainer
        self.log = RunLog(self.run_path, config.to_json(), writes=main)
        self.update_log = UpdateLog(self.log, self.update, config.log_every_samples)
        self.validation = Validation(self.log, trainer, averages, config.validation, accelerator)
        self.demos = DemoWriter(self.log, trainer, averages, self.validation, config.demo_every_samples)
        snapshots = Snapshots(self.run_path / "ema_snapshots", config.ema_snapshots.keep)
        every = config.ema_snapshots.every_samples or -(-config.total_samples // 32)
        self.snapshots = SnapshotWriter(snapshots, averages, every, writes=main)
        self.recovery = Recovery(config, self.update, self.validation, self.snapshots, self.run_path)
        memory = PeakMemory(self.name, config, self.update, self.update_log)
        # The order matters: demos are made of the weights that validation found best; checkpoints come after all.
        self.parts: tuple[Part, ...] = (memory, self.update_log, self.snapshots, self.validation, self.demos)

    def _build_module_trainer(self) -> ModuleTrainer:
        part, config = self.config.module_trainer, self.config
        # The main process creates what the model folder lacks before the others read it.
        with self.accelerator.main_process_first():
            return part.cls(
                part.config,
                model=ModelFolder(config.model),
                dataset=DatasetFolder(config.dataset),
                seed=config.seed,
                init=init_of(config),
            )

    def run(self) -> int:
        """Trains to the end. Returns the exit code: 0, or 128 + the number of the signal that stopped it."""
        position = self.position
        self.recovery.resume(position)
        if position.samples >= self.config.total_samples and self.recovery.is_finished(position):
            print(f"{self.name}: already trained on {position.samples} samples; nothing to do")
            return 0
        processes, main = self.accelerator.num_processes, self.accelerator.is_main_process
        interruption = Interruption(self.run_path, self.launcher, processes=processes, quiet=not main)
        if processes > 1:
            self._say(f"{processes} processes share each batch")
        if main:
            trainer = self.module_trainer
            fingerprint = trainer.fingerprint if isinstance(trainer, DependsOnWeights) else None
            for difference in changes.store(self.run_path, self.config, fingerprint):
                self._say(f"changed since the last run: {difference}")
        if not self.module_trainer.holds_out:
            self._say(
                "no track is held out that is long enough: validation is on training tracks, and cannot tell learning "
                "from learning by heart; more music, or validation_tracks of the dataset's split step, mends that"
            )
        self.log.open(position.samples)
        try:
            code = self._loop(interruption)
            if code == 0:
                self._finish()
        finally:
            self.log.close()
        return code

    def _loop(self, interruption: Interruption) -> int:
        position, total, batches = self.position, self.config.total_samples, self.batches()
        with TrainingProgress(self.name, position.samples, total, self.module_trainer.seconds_per_sample) as bar:
            while position.samples < total:
                if code := self._from_main_process(interruption.requested() or 0):
                    self.recovery.run(position)
                    self._say(f"stopped after {position.samples} of {total} samples")
                    return code
                self.train_step(batches)
                if self.recovery.skipped > self.config.max_skipped_steps:
                    self._roll_back()
                    batches = self.batches()
                for part in self.parts:
                    if part.due(position):
                        part.run(position)
                # The main process alone asks: to ask removes the file that requests it.
                asked = self.accelerator.is_main_process and interruption.save_requested()
                if self._from_main_process(asked) or self.recovery.due(position):
                    self.recovery.run(position)
                bar.update(position.samples, self.update_log.loss)
        return 0

    def _from_main_process(self, value: int) -> int:
        """What the main process says, in all processes: they must stop and save at the same step."""
        if self.accelerator.num_processes == 1:
            return value
        return int(broadcast(torch.tensor(int(value), device=self.accelerator.device)))

    def train_step(self, batches: Iterator[Batch | UserError]) -> None:
        """One update with the next of `batches`; recovery and the log take note of how it went."""
        outcome = self.update(batches, self.position)
        self.recovery.note(outcome, self.position)
        self.update_log.note(outcome)

    def _roll_back(self) -> None:
        self.recovery.roll_back(self.position)
        self.update_log.forget()
        self.log.open(self.position.samples)

    def batches(self) -> Iterator[Batch | UserError]:
        """This process's micro batches from where the run is, without end."""
        return build_loader(
            self.module_trainer.train_data(self.position.data_seed),
            first=self.position.samples,
            batch_size=self.config.batch_size,
            micro_batch_size=self.update.micro_batch_size,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            workers=self.config.num_workers,
        )

    def _finish(self) -> None:
        started, position = time.monotonic(), self.position
        for part in (self.validation, self.demos, self.snapshots):
            part.run(position)
        self.recovery.finish(position)
        seconds, best = time.monotonic() - started, self.validation.best
        took = f"the last validation and demos took {seconds:.0f} s"
        self._say(f"trained on {position.samples} samples; best weights: {best}; {took}")

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(f"{self.name}: {text}")
