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
from accelerate import Accelerator

from dualdiffusion.data.audio_crops import collate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from train.averages.post_hoc import SnapshotConfig
from train.module_trainer import ModuleTrainer
from train.position import Position
from train.startup.precision import local_device_type, with_precision
from train.startup.setup import copy_modules
from train.train_config import TrainConfig
from train.update import Update

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
        """Loss of the first step."""
        return self.losses[0]

    @property
    def last(self) -> float:
        """Mean of the last steps."""
        tail = self.losses[-AVERAGED:]
        return sum(tail) / len(tail)

    @property
    def works(self) -> bool:
        """Whether the loss has fallen as far as one batch lets it where learning works at all."""
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
            module_trainer = part.cls(
                part.config, model=scratch, dataset=DatasetFolder(config.dataset), seed=config.seed
            )
        except UserError as error:  # which names the folder that nobody has heard of
            raise UserError(str(error).replace(str(scratch.path), str(source.path))) from None
        yield module_trainer


def alone(module_trainer: ModuleTrainer, config: TrainConfig, batch_size: int) -> Update:
    """The updates of the config's training, with all of a batch at once in this process, and without averages.

    On a GPU where there is one; without one, in as many threads as the config says.
    """
    accelerator = Accelerator(cpu=local_device_type() == "cpu", mixed_precision=config.mixed_precision)
    if config.cpu_threads and accelerator.device.type == "cpu":
        torch.set_num_threads(config.cpu_threads)
    changes = {
        "batch_size": batch_size,
        "micro_batch_size": None,
        "ema_stds": (),
        "ema_snapshots": SnapshotConfig(stds=()),
    }
    return Update(module_trainer, config.model_copy(update=changes), accelerator)


def overfit(
    module_trainer: ModuleTrainer, config: TrainConfig, steps: int, on_step: Callable[[int, float], None]
) -> Overfitting:
    """Trains on the first batch of the training alone, always with the same noise.

    Args:
        on_step: called with (steps done, loss of the step).
    """
    size = config.micro_batch_size or config.batch_size
    update, position = alone(module_trainer, config, size), Position(config.seed, size)
    data = module_trainer.train_data(position.data_seed)
    batch = collate([data[index] for index in range(size)])
    losses: list[float] = []
    for step in range(steps):
        losses.append(update(iter([batch]), position, first=0).score)
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
    config = with_precision(config, local_device_type())
    with scratch_trainer(config) as module_trainer:
        samples = config.micro_batch_size or config.batch_size
        print(f"{name}: {steps} steps on the same {samples} samples, from new weights; nothing is kept", flush=True)

        def show(step: int, loss: float) -> None:
            if step == 1 or step % max(1, steps // LINES) == 0 or step == steps:
                print(f"{name}: step {step}  loss {loss:.4f}", flush=True)

        result = overfit(module_trainer, config, steps, show)
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
