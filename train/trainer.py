"""The training loop. It knows no module: what is trained, and how, is a module trainer's business.

Progress is counted in samples seen, and all randomness follows from the seed and the sample's number: a run that was
interrupted goes on exactly as if it had not been.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object

from dualdiffusion.data.audio_crops import Batch
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json, write_text
from dualdiffusion.model.folder import RAW, ModelFolder
from dualdiffusion.model.label_growth import grown_checkpoint
from dualdiffusion.model.module import load_state, save_module, save_weights
from dualdiffusion.randomness import StepRandom, mix_seed
from train.averages.ema import PowerEMA, ema_name, restored
from train.averages.post_hoc import Snapshots
from train.checkpoints import changes
from train.checkpoints.checkpoint import Checkpoints, CheckpointState, samples_of
from train.interruption import Interruption, signals_held
from train.loader import build_loader, micro_batch_size
from train.memory.preflight import predict
from train.module_trainer import ModuleTrainer, Stateful, StepOutput, TrainingStep
from train.optimizer import add_gradient_noise, load_packed_state, packed_state, parameter_groups
from train.reports.gradient_noise_scale import GradientNoiseScale
from train.reports.metrics import StepMetrics
from train.reports.progress import TrainingProgress
from train.reports.report import Reports
from train.starting import init_of
from train.train_config import TrainConfig


class Trainer:
    """Runs one training to its end, or to the next request to stop."""

    def __init__(self, config: TrainConfig, accelerator: Accelerator, launcher: int | None = None) -> None:
        self.config, self.accelerator, self.launcher = config, accelerator, launcher
        self.model = ModelFolder(config.model)
        self.device = accelerator.device
        part = config.module_trainer
        # The main process creates what the model folder lacks before the others read it.
        with accelerator.main_process_first():
            self.trainer: ModuleTrainer = part.cls(
                part.config,
                model=self.model,
                dataset=DatasetFolder(config.dataset),
                seed=config.seed,
                init=init_of(config),
            )
        self.name = self.trainer.module_name
        self.run_path = self.model.run_path(self.name)
        if accelerator.is_main_process:
            self.run_path.mkdir(parents=True, exist_ok=True)
            write_text(self.run_path / "pid", f"{os.getpid()}\n")
        self.micro_batch_size = micro_batch_size(config.batch_size, config.micro_batch_size, accelerator.num_processes)

        # Convolutions are a third faster on CPUs, and on GPUs in half precision, with channels innermost.
        module = self.trainer.module.to(self.device, memory_format=torch.channels_last).train()
        self.trainer.to(self.device)
        self.emas = [PowerEMA(module, std) for std in config.ema_stds]
        # Some averages are followed for their snapshots alone, and are neither validated nor published.
        named = {ema.name: ema for ema in self.emas}
        self.stored_emas = [named.get(ema_name(std)) or PowerEMA(module, std) for std in config.ema_snapshots.stds]
        self.tracked_emas = list({ema.name: ema for ema in (*self.emas, *self.stored_emas)}.values())
        if config.compile:
            module.enable_compile()
        optimizer = config.optimizer.build(parameter_groups(module))
        self.step_module, self.optimizer = accelerator.prepare(TrainingStep(self.trainer), optimizer)

        self.noise_scale = self._build_noise_scale()
        self.samples, self.step, self.rollbacks, self.skipped, self.best = 0, 0, 0, 0, RAW
        self.updates = 0  # of this process
        self.validated_at = -1
        # Samples of the newest checkpoint, as long as no step after it has been finite.
        self.unproven: int | None = None
        self.metrics = StepMetrics()
        self.reports: Reports | None = None
        with accelerator.main_process_first():
            self.checkpoints = Checkpoints(self.run_path / "checkpoints", config.checkpoint.keep)
        self.snapshots = Snapshots(self.run_path / "ema_snapshots", config.ema_snapshots.keep)

    def _build_noise_scale(self) -> GradientNoiseScale | None:
        size, micro = self.config.batch_size, self.micro_batch_size
        if self.accelerator.num_processes > 1 or size < 2 * micro or not self.config.gradient_noise_scale:
            return None
        return GradientNoiseScale(self.trainer.module, batch_size=size, micro_batch_size=micro)

    def run(self) -> int:
        """Trains to the end. Returns the exit code: 0, or 128 + the number of the signal that stopped it."""
        self._resume()
        if self.samples >= self.config.total_samples and self._is_finished():
            print(f"{self.name}: already trained on {self.samples} samples; nothing to do")
            return 0
        processes, main = self.accelerator.num_processes, self.accelerator.is_main_process
        interruption = Interruption(self.run_path, self.launcher, processes=processes, quiet=not main)
        if processes > 1:
            self._say(f"{processes} processes share each batch")
        if main:
            for difference in changes.store(self.run_path, self.config, getattr(self.trainer, "fingerprint", None)):
                self._say(f"changed since the last run: {difference}")
            self._open_reports()
        try:
            code = self._loop(interruption)
            if code == 0:
                self._finish()
        finally:
            if self.reports:
                self.reports.close()
        return code

    def _loop(self, interruption: Interruption) -> int:
        config = self.config
        batches = self._batches()
        with TrainingProgress(self.name, self.samples, config.total_samples, self.trainer.seconds_per_sample) as bar:
            while self.samples < config.total_samples:
                if code := self._agreed(interruption.requested() or 0):
                    self._save_checkpoint()
                    self._say(f"stopped after {self.samples} of {config.total_samples} samples")
                    return code
                self._train_step(batches)
                if self.skipped > config.max_skipped_steps:
                    self._roll_back()
                    batches = self._batches()
                if self._due(config.log_every_samples):
                    bar.show_loss(self._log_averages())
                if self._due(config.ema_snapshots.every_samples or -(-config.total_samples // 32)):
                    self._save_snapshot()
                if self._due(config.validation.every_samples):
                    self._validate()
                if config.demo_every_samples and self._due(config.demo_every_samples):
                    self._log_demos()
                # The main process alone asks: asking takes the request away.
                asked = self.accelerator.is_main_process and interruption.save_requested()
                if self._agreed(asked) or self._due(config.checkpoint.every_samples):
                    self._save_checkpoint()
                bar.update(self.samples)
        return 0

    def _agreed(self, value: int) -> int:
        """What the main process says, in all processes: they must stop and save at the same step."""
        if self.accelerator.num_processes == 1:
            return value
        return int(broadcast(torch.tensor(int(value), device=self.device)))

    def _train_step(self, batches: Any) -> None:
        """One update; where the loss or the gradient is not finite, nothing is changed and the step is counted."""
        size = self.config.batch_size
        outputs = self._backward(batches)
        if self.noise_scale:
            self.noise_scale.end_step()
        loss, norm = self._total_loss(outputs), self._gradient_norm()
        self.samples, self.step = self.samples + size, self.step + 1
        if math.isfinite(loss) and math.isfinite(norm):
            self._update(outputs, norm)
            return
        self.skipped += 1
        self.optimizer.zero_grad(set_to_none=True)
        what = f"the gradient is not finite ({norm})" if math.isfinite(loss) else f"the loss is not finite ({loss})"
        self._warn(f"step {self.step}: {what}; skipped, {self.skipped} in a row")

    def _backward(self, batches: Any) -> list[StepOutput]:
        """Loss and gradient of the next batch, a micro batch at a time."""
        first, size = self.samples, self.config.batch_size
        self.optimizer.zero_grad(set_to_none=True)
        micro_batches = size // self.micro_batch_size // self.accelerator.num_processes
        outputs: list[StepOutput] = []
        for micro in range(micro_batches):
            batch: Batch = next(batches)
            if isinstance(batch, UserError):
                raise batch
            random = StepRandom(self._data_seed(), first=first, batch_size=size, indices=batch.indices.tolist())
            # Dropout draws from torch's own generator; everything else from `random`.
            torch.manual_seed(mix_seed(self._data_seed(), "dropout", int(batch.indices[0])))
            last = micro == micro_batches - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.step_module):
                output: StepOutput = self.step_module(batch.to(self.device), random)
                self.accelerator.backward(output.loss.sum() * (self.accelerator.num_processes / size))
            outputs.append(output)
        return outputs

    def _total_loss(self, outputs: list[StepOutput]) -> float:
        """Sum over the batch, whichever processes its samples fell to: all must come to the same conclusion."""
        total = torch.stack([output.loss.detach().float().sum() for output in outputs]).sum()
        return float(self.accelerator.reduce(total, "sum"))

    def _gradient_norm(self) -> float:
        self.trainer.module.before_update()
        limit = self.config.optimizer.max_grad_norm or math.inf
        return float(self.accelerator.clip_grad_norm_(self.trainer.module.parameters(), limit))

    def _update(self, outputs: list[StepOutput], norm: float) -> None:
        self.skipped, self.unproven = 0, None
        factor = self.config.schedule.factor(self.samples - self.config.batch_size)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.optimizer.learning_rate * factor
        if noise := self.config.optimizer.gradient_noise:
            seed = mix_seed(self._data_seed(), self.samples)
            add_gradient_noise(self.trainer.module.parameters(), noise.std(self.step - 1), seed)
        self.optimizer.step()
        self.trainer.module.after_update()
        for ema in self.tracked_emas:
            ema.update(self.trainer.module, samples=self.samples, batch_size=self.config.batch_size)
        self.updates += 1
        if (
            self.updates == 2 and self.device.type == "cuda"
        ):  # the first one makes the optimizer's state only at its end
            self._tell_memory()
        if isinstance(self.trainer, Stateful) and self.trainer.after_update(self.samples):
            self._share_state()
        self.metrics.note(outputs)
        if self.reports:
            self.metrics.add("gradient/norm", norm)
            self.metrics.add("learning_rate", self.optimizer.param_groups[0]["lr"])

    def _tell_memory(self) -> None:
        """What updates take at most on a GPU, beside what was predicted."""
        measured = torch.cuda.max_memory_allocated(self.device)
        if self.reports:
            need = predict(self.config, device_type="cuda", processes=self.accelerator.num_processes).peak
            print(f"{self.name}: GPU memory at most {measured / 2**30:.2f} GiB, predicted {need / 2**30:.2f} GiB")
            self.metrics.add("memory/peak", measured / 2**30)
            self.metrics.add("memory/predicted", need / 2**30)

    def _share_state(self) -> None:
        """Gives all processes the main one's state of the module trainer, to the last bit."""
        if self.accelerator.num_processes > 1:
            state = self.trainer.state()
            self.trainer.load_state({name: broadcast(state[name].to(self.device)).cpu() for name in sorted(state)})

    def _batches(self) -> Any:
        loader = build_loader(
            self.trainer.train_data(self._data_seed()),
            first=self.samples,
            batch_size=self.config.batch_size,
            micro_batch_size=self.micro_batch_size,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            workers=self.config.num_workers,
        )
        with signals_held():
            return iter(loader)

    def _data_seed(self) -> int:
        # After a rollback the same samples would lead to the same end.
        return mix_seed(self.config.seed, "data", self.rollbacks)

    def _due(self, every: int) -> bool:
        return self.samples // every > (self.samples - self.config.batch_size) // every

    # Checkpoints and publication.

    def _weights(self) -> dict[str, dict[str, torch.Tensor]]:
        return {self.name: self.trainer.module.state_dict(), **{ema.name: ema.state for ema in self.tracked_emas}}

    def _save_checkpoint(self) -> None:
        """Everything that is checkpointed, by name; then the weights are published for the page and for sampling.

        Weights after which no step is finite may be broken: then the checkpoints that there are stay.
        """
        if self.skipped and self.samples < self.config.total_samples:
            self._warn("the last step was not finite: not saved; the checkpoint before is kept")
            return
        self.unproven = self.samples
        if not self.accelerator.is_main_process:
            return
        progress = {
            "samples": self.samples,
            "step": self.step,
            "batch_size": self.config.batch_size,
            "rollbacks": self.rollbacks,
            "best": self.best,
            "validated_at": self.validated_at,
            "optimizer": self.config.optimizer.type,
        }
        optimizer = packed_state(self.optimizer, self.trainer.module)
        own = self.trainer.state() if isinstance(self.trainer, Stateful) else {}
        self.checkpoints.save(CheckpointState(self._weights(), optimizer, progress, own))
        self._publish()

    def _save_snapshot(self) -> None:
        if self.accelerator.is_main_process and self.stored_emas:
            self.snapshots.save(self.stored_emas, self.samples)

    def _publish(self) -> None:
        module = self.trainer.module
        for ema in self.emas:
            with ema.applied(module):
                self.trainer.finish()
                save_weights(self.model.weights_path(self.name, ema.name), module.state_dict())
        with restored(module):
            self.trainer.finish()
            save_module(self.model, self.name, module, ema=self.best)

    def _resume(self, before: int | None = None) -> None:
        state = self.checkpoints.load(before)
        if self.accelerator.is_main_process:
            self.snapshots.drop_after(state.progress["samples"] if state else 0)
        if state is None:
            return
        state = grown_checkpoint(state, self.trainer.module, self.name, self.config.seed)
        self._forget_new_averages(set(state.weights))
        expected = set(self._weights())
        if not expected <= set(state.weights):
            missing = ", ".join(sorted(expected - set(state.weights)))
            raise UserError(f"{self.checkpoints.folder}: has no {missing}; keep ema_stds as they were, or start anew")
        load_state(self.trainer.module, state.weights[self.name], self.checkpoints.folder)
        for ema in self.tracked_emas:
            for name, tensor in ema.state.items():
                tensor.copy_(state.weights[ema.name][name])
        self._load_optimizer(state)
        if isinstance(self.trainer, Stateful):
            self.trainer.load_state(state.module_trainer)
        progress = state.progress
        self.samples, self.rollbacks = progress["samples"], progress["rollbacks"]
        self.step = progress.get("step", self.samples // self.config.batch_size)
        self.best = progress["best"] if progress["best"] in {ema.name for ema in self.emas} else RAW
        self.validated_at = progress.get("validated_at", -1)
        self.unproven = self.samples
        print(f"{self.name}: going on from sample {self.samples} of {self.config.total_samples}")

    def _forget_new_averages(self, known: set[str]) -> None:
        """Averages that a checkpoint lacks cannot be had any more: without them there are no snapshots of them."""
        new = {ema.name for ema in self.stored_emas} - {ema.name for ema in self.emas} - known
        if new:
            print(f"{self.name}: no snapshots of {', '.join(sorted(new))}: training began without them")
        self.stored_emas = [ema for ema in self.stored_emas if ema.name not in new]
        self.tracked_emas = [ema for ema in self.tracked_emas if ema.name not in new]

    def _load_optimizer(self, state: CheckpointState) -> None:
        kind = state.progress["optimizer"]
        if kind != self.config.optimizer.type:
            raise UserError(
                f"optimizer.type: {self.checkpoints.folder} is of {kind}, not {self.config.optimizer.type}; keep it, "
                "or remove that folder to train on from the published weights with a new optimizer"
            )
        # A changed setting holds from here on: settings are the config's, not the checkpoint's.
        load_packed_state(self.optimizer, self.trainer.module, state.optimizer)

    def _roll_back(self) -> None:
        """Goes back to a checkpoint, and on from there with other samples and noise.

        If no step after the newest one was finite, it is the weights in it that are broken: then to the one before.
        """
        rollbacks, self.skipped = self.rollbacks + 1, 0
        if rollbacks > self.config.max_rollbacks:
            raise UserError(
                f"{self.name}: the loss stopped being finite {rollbacks} times; the last good checkpoint is kept; "
                "lower optimizer.learning_rate, or set mixed_precision to no, and run again"
            )
        times = [samples_of(path) for path in self.checkpoints.list()]
        if not times:
            raise UserError(f"{self.name}: the loss is not finite, and there is no checkpoint yet to go back to")
        broken = self.unproven == times[0] and len(times) > 1
        self._warn(f"going back to a checkpoint, {rollbacks} of at most {self.config.max_rollbacks} times")
        self._resume(before=times[0] if broken else None)
        self.rollbacks = rollbacks
        self.metrics = StepMetrics()
        if self.reports:
            self.reports.close()
            self._open_reports()

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(f"{self.name}: {text}")

    def _warn(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(f"\n{self.name}: {text}", file=sys.stderr)

    # Reports.

    def _open_reports(self) -> None:
        """From here on; what was told of later samples is dropped."""
        config = self.config.to_json()
        self.reports = Reports(self.trainer, self.emas, self.run_path, samples=self.samples, config=config)

    def _log_averages(self) -> float:
        """Writes what all processes have noted since the last time; the average loss in the main process."""
        parts = gather_object([self.metrics.take()])
        if not self.reports:
            return math.nan
        scale = self.noise_scale.take() if self.noise_scale else None
        more = {} if scale is None else {"train/gradient_noise_scale": scale}
        return self.reports.write_averages(parts, more, step=self.step, samples=self.samples)

    def _validate(self) -> None:
        if self.reports and self.validated_at != self.samples:
            validation = self.config.validation
            self.best = self.reports.validate(validation, self.device, step=self.step, samples=self.samples)
            self.validated_at = self.samples

    def _log_demos(self) -> None:
        if self.reports:
            self.reports.demos(self.best, self.samples)

    def _finish(self) -> None:
        started = time.monotonic()
        self._validate()
        self._log_demos()
        self._save_snapshot()
        self._save_checkpoint()
        if not self.accelerator.is_main_process:
            return
        write_json(self.run_path / "finished.json", self._finished())
        seconds = time.monotonic() - started
        print(f"{self.name}: trained on {self.samples} samples; best weights: {self.best}; finished in {seconds:.0f} s")

    def _finished(self) -> dict[str, Any]:
        return {"samples": self.samples, "best": self.best}

    def _is_finished(self) -> bool:
        path = self.run_path / "finished.json"
        return path.exists() and read_json(path) == self._finished() and self.best in self.model.emas(self.name)
