"""One update of a module's weights: the same for a training of any length and for overfitting a batch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor

from dualdiffusion.data.audio_crops import Batch
from dualdiffusion.errors import UserError
from dualdiffusion.randomness import StepRandom, mix_seed
from train.averages.tracked import TrackedAverages
from train.data.loader import micro_batch_size
from train.module_trainer import ModuleTrainer, Stateful, StepOutput, TrainingStep
from train.optimization.gradient_noise import add_gradient_noise
from train.position import Position
from train.reports.gradient_noise_scale import GradientNoiseScale
from train.reports.transfer import to_cpu
from train.train_config import TrainConfig


@dataclass(frozen=True)
class Outcome:
    """What an update came to.

    Attributes:
        loss: mean over the batch, of all processes.
        gradient_norm: before it was limited; of the mean over the batch.
        learning_rate: that was used.
        metrics: of each micro batch of this process, on the CPU.
        score: mean over the samples of this process.
    """

    loss: float
    gradient_norm: float
    learning_rate: float
    metrics: list[dict[str, Tensor]]
    score: float

    @property
    def fault(self) -> str | None:
        """What is not finite, so that the weights were left as they were; None where all is well."""
        if not math.isfinite(self.loss):
            return f"the loss is not finite ({self.loss})"
        return None if math.isfinite(self.gradient_norm) else f"the gradient is not finite ({self.gradient_norm})"


class Update:
    """Updates the weights of a module trainer's module, and what follows them: averages and the trainer's own state.

    Moves module and module trainer to the device of `accelerator`, and the module into training mode.

    Attributes:
        averages: of the weights.
        noise_scale: of the gradient; None where it is not wanted, or a device sees all of a batch at once.
        count: updates of this process that changed the weights.

    Raises:
        UserError: the batch does not divide into processes and micro batches; wrong settings of the optimizer.
    """

    def __init__(self, module_trainer: ModuleTrainer, config: TrainConfig, accelerator: Accelerator) -> None:
        self.module_trainer, self.config, self.accelerator = module_trainer, config, accelerator
        self.micro_batch_size = micro_batch_size(config.batch_size, config.micro_batch_size, accelerator.num_processes)
        # Convolutions are a third faster on CPUs, and on GPUs in half precision, with channels innermost.
        module = module_trainer.module.to(accelerator.device, memory_format=torch.channels_last).train()
        module_trainer.to(accelerator.device)
        self.averages = TrackedAverages(module, config.ema_stds, config.ema_snapshots.stds)
        if config.compile:
            module.enable_compile()
        optimizer = config.optimizer.build_for(module)
        self._step, self.optimizer = accelerator.prepare(TrainingStep(module_trainer), optimizer)
        self.noise_scale = self._build_noise_scale()
        self.count = 0

    def _build_noise_scale(self) -> GradientNoiseScale | None:
        size, micro = self.config.batch_size, self.micro_batch_size
        if self.accelerator.num_processes > 1 or size < 2 * micro or not self.config.gradient_noise_scale:
            return None
        return GradientNoiseScale(self.module_trainer.module, batch_size=size, micro_batch_size=micro)

    def __call__(
        self,
        batches: Iterator[Batch | UserError],
        position: Position,
        *,
        first: int | None = None,
        rate: float = 1.0,
    ) -> Outcome:
        """One update, which moves `position` on. Where loss or gradient is not finite, nothing else is changed.

        Args:
            batches: this process's micro batches, of which as many are taken as make its share of a batch.
            first: number of the batch's first sample, to which noise belongs; None: the position's, as samples of a
                training are counted.
            rate: multiplies the learning rate.

        Raises:
            UserError: a sample cannot be read.
        """
        outputs = self.backward(batches, position, position.samples if first is None else first)
        if self.noise_scale:
            self.noise_scale.end_step()
        outcome = self._outcome(outputs, rate * self._learning_rate(position))
        position.advance()
        if outcome.fault:
            self.optimizer.zero_grad(set_to_none=True)
        else:
            self._change_weights(outcome.learning_rate, position)
        return outcome

    def backward(self, batches: Iterator[Batch | UserError], position: Position, first: int) -> list[StepOutput]:
        """Loss and gradient of the next batch, a micro batch at a time."""
        self.optimizer.zero_grad(set_to_none=True)
        count = self.config.batch_size // self.micro_batch_size // self.accelerator.num_processes
        outputs: list[StepOutput] = []
        for micro in range(count):
            batch = next(batches)
            if isinstance(batch, UserError):
                raise batch
            # Only the last backward pass of a batch exchanges gradients between processes.
            last = micro == count - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self._step):
                outputs.append(self._backward_of(batch, position, first))
        return outputs

    def _backward_of(self, batch: Batch, position: Position, first: int) -> StepOutput:
        size, seed, indices = self.config.batch_size, position.data_seed, batch.indices.tolist()
        random = StepRandom(seed, first=first, batch_size=size, indices=indices)
        # Dropout draws from torch's own generator; everything else from `random`. In a batch that is trained on again
        # and again, noise stays and dropout does not.
        torch.manual_seed(mix_seed(seed, "dropout", position.samples + indices[0] - first))
        output: StepOutput = self._step(batch.to(self.accelerator.device), random)
        # Processes average their gradients: times their number, the parts of the mean over the batch add up.
        self.accelerator.backward(output.loss.sum() * (self.accelerator.num_processes / size))
        return output

    def _outcome(self, outputs: list[StepOutput], learning_rate: float) -> Outcome:
        """Reads what the backward passes gave, all at once: each reading waits for the device."""
        total = torch.stack([output.loss.detach().float().sum() for output in outputs]).sum()
        # Over all processes, so that they come to the same conclusion.
        total, norm = self.accelerator.reduce(total, "sum"), self._limited_gradient_norm()
        names = [(k, name) for k, output in enumerate(outputs) for name in output.metrics]
        score = torch.cat([output.score.detach() for output in outputs]).float().mean()
        read = to_cpu([total, norm, score, *(outputs[k].metrics[name] for k, name in names)])
        metrics: list[dict[str, Tensor]] = [{} for _ in outputs]
        for (k, name), values in zip(names, read[3:], strict=True):
            metrics[k][name] = values
        loss, norm, score = (float(value) for value in read[:3])
        return Outcome(loss / self.config.batch_size, norm, learning_rate, metrics, score)

    def _limited_gradient_norm(self) -> Tensor:
        # First the part of the gradient that would only change the length of normalised weights is taken away.
        self.module_trainer.module.before_update()
        limit = self.config.optimizer.max_grad_norm or math.inf
        return self.accelerator.clip_grad_norm_(self.module_trainer.module.parameters(), limit)

    def _learning_rate(self, position: Position) -> float:
        return self.config.optimizer.learning_rate * self.config.schedule.factor(position.samples)

    def _change_weights(self, learning_rate: float, position: Position) -> None:
        """The optimizer's step, and what follows it, with the samples that have then been seen."""
        module = self.module_trainer.module
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group.get("rate", 1.0)
        if noise := self.config.optimizer.gradient_noise:
            seed = mix_seed(position.data_seed, position.samples)
            add_gradient_noise(module.parameters(), noise.std(position.step - 1), seed)
        self.optimizer.step()
        module.after_update()  # brings weights back to their length; averages take in what is then used
        self.averages.update(module, position)
        self.count += 1
        if isinstance(self.module_trainer, Stateful) and self.module_trainer.after_update(position.samples):
            self._share_state(self.module_trainer)

    def _share_state(self, stateful: Stateful) -> None:
        """Gives all processes the main one's state of the module trainer, to the last bit."""
        if self.accelerator.num_processes > 1:
            state = stateful.state()
            device = self.accelerator.device
            # In one order in all processes, as each broadcast meets the others' next one.
            stateful.load_state({name: broadcast(state[name].to(device)).cpu() for name in sorted(state)})
