"""Overfits one batch: the first thing to try when something is off.

A network that learns at all can learn a handful of samples by heart. One that cannot has a fault in its data, its loss
or its settings, and no amount of training helps.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from dualdiffusion.data.audio_crops import Batch, collate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.randomness import StepRandom, mix_seed
from train.module_trainer import ModuleTrainer, StepOutput
from train.precision import with_precision
from train.setup import copy_modules
from train.trainer import TrainConfig

# Share of the loss of the first step to which it has to fall.
GOAL = 0.6
LINES = 10
# The last losses are averaged over so many steps, as dropout makes them differ.
AVERAGED = 10


@dataclass(frozen=True)
class Overfitting:
    """The losses (without learned weights) of the steps, and what stopped it before its end."""

    losses: list[float]
    not_finite: bool

    @property
    def first(self) -> float:
        return self.losses[0]

    @property
    def last(self) -> float:
        """Mean of the last steps."""
        tail = self.losses[-AVERAGED:]
        return sum(tail) / len(tail)

    @property
    def works(self) -> bool:
        return not self.not_finite and self.last <= GOAL * self.first


@contextlib.contextmanager
def scratch_trainer(config: TrainConfig) -> Iterator[ModuleTrainer]:
    """The config's module trainer with newly initialised weights, in a model folder that is thrown away.

    Format and VAE of the model are copied where it has them; the model folder itself is only read.
    """
    with tempfile.TemporaryDirectory(prefix="dualdiffusion-") as folder:
        scratch, source, part = ModelFolder(Path(folder)), ModelFolder(config.model), config.module_trainer
        stored = [name for name in ("format", "vae") if name in source.module_names() and name != part.cls.module_name]
        copy_modules(source, scratch, stored)
        if stored and source.labels_path.exists():
            source.labels().save(scratch.labels_path)
        try:
            trainer = part.cls(part.config, model=scratch, dataset=DatasetFolder(config.dataset), seed=config.seed)
        except UserError as error:  # which names the folder that nobody has heard of
            raise UserError(str(error).replace(str(scratch.path), str(source.path))) from None
        yield trainer


def prepare(trainer: ModuleTrainer, config: TrainConfig) -> tuple[torch.device, torch.optim.Optimizer]:
    """Moves everything to a GPU where there is one; the device, and the config's optimizer."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.cpu_threads and device.type == "cpu":
        torch.set_num_threads(config.cpu_threads)
    module = trainer.module.to(device, memory_format=torch.channels_last).train()
    trainer.to(device)
    return device, config.optimizer.build(module.parameters())


def update(
    trainer: ModuleTrainer,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    batch: Batch,
    *,
    samples: int,
    rate: float = 1.0,
) -> StepOutput:
    """One update on `batch` after `samples` samples; where the gradient is not finite, the weights stay.

    The same as a step of the trainer with one process and without micro batches, with the learning rate multiplied by
    `rate`. The noise belongs to the batch's sample numbers.
    """
    indices = batch.indices.tolist()
    random = StepRandom(mix_seed(config.seed, "data", 0), first=indices[0], batch_size=len(indices), indices=indices)
    torch.manual_seed(mix_seed(config.seed, "dropout", samples))
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(batch.data.device.type, torch.bfloat16, enabled=config.mixed_precision == "bf16"):
        output = trainer.step(batch, generator=random)
    output.loss.mean().backward()
    trainer.module.before_update()
    norm = torch.nn.utils.clip_grad_norm_(trainer.module.parameters(), config.optimizer.max_grad_norm or math.inf)
    if bool(norm.isfinite()):
        for group in optimizer.param_groups:
            group["lr"] = config.optimizer.learning_rate * config.schedule.factor(samples) * rate
        optimizer.step()
        trainer.module.after_update()
    return output


def overfit(
    trainer: ModuleTrainer, config: TrainConfig, steps: int, on_step: Callable[[int, float], None]
) -> Overfitting:
    """Trains on the first batch of the training alone, always with the same noise.

    Args:
        on_step: called with (steps done, loss of the step).
    """
    device, optimizer = prepare(trainer, config)
    data, size = trainer.train_data(mix_seed(config.seed, "data", 0)), config.micro_batch_size or config.batch_size
    batch = collate([data[index] for index in range(size)]).to(device)
    losses: list[float] = []
    for step in range(steps):
        output = update(trainer, optimizer, config, batch, samples=step * size)
        losses.append(float(output.score.detach().mean()))
        on_step(step + 1, losses[-1])
        if not math.isfinite(losses[-1]):
            return Overfitting(losses, not_finite=True)
    return Overfitting(losses, not_finite=False)


def run(config: TrainConfig, steps: int) -> int:
    """Overfits one batch and says whether learning works: 0, or 1 where it does not.

    Raises:
        UserError: settings, data or a model that do not fit, as in training.
    """
    name = config.module_trainer.cls.module_name
    config = with_precision(config, "cuda" if torch.cuda.is_available() else "cpu")
    with scratch_trainer(config) as trainer:
        samples = config.micro_batch_size or config.batch_size
        print(f"{name}: {steps} steps on the same {samples} samples, from new weights; nothing is kept", flush=True)

        def show(step: int, loss: float) -> None:
            if step == 1 or step % max(1, steps // LINES) == 0 or step == steps:
                print(f"{name}: step {step}  loss {loss:.4f}", flush=True)

        result = overfit(trainer, config, steps, show)
    print(verdict(result, config))
    return 0 if result.works else 1


def verdict(result: Overfitting, config: TrainConfig) -> str:
    """What the losses mean, and what to do."""
    if result.not_finite:
        return (
            f"learning does not work: the loss was no longer a number at step {len(result.losses)}; lower "
            "optimizer.learning_rate, or set mixed_precision to no"
        )
    share = result.last / result.first
    reached = f"the loss went from {result.first:.4f} to {result.last:.4f}, {share:.0%} of the first"
    if result.works:
        return f"learning works: {reached} ({GOAL:.0%} or less was wanted)"
    rate = config.optimizer.learning_rate
    return (
        f"learning does not work: {reached}, but {GOAL:.0%} or less was wanted; give more --steps; if the loss hardly "
        f"falls or jumps, change optimizer.learning_rate ({rate:g}) by a factor of three either way; if that does not "
        "help, listen to the audio of the dataset, and suspect the last change of the network or the loss"
    )


def check_steps(steps: int) -> None:
    """
    Raises:
        UserError: too few steps to tell anything.
    """
    if steps < 2 * AVERAGED:
        raise UserError(f"--steps: must be {2 * AVERAGED} or more, not {steps}")
