"""The contract between the training loop and the module trainers, and the part of a step that is differentiated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from dualdiffusion.config import Config as BaseConfig
from dualdiffusion.data.audio_crops import Batch, Crop
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import Module
from dualdiffusion.randomness import StepRandom

if TYPE_CHECKING:
    from train.startup.initial_weights import Source


@dataclass(frozen=True)
class StepOutput:
    """Result of a module trainer on one batch.

    Attributes:
        loss: (B,), what is minimised.
        score: (B,), what validation compares, without learned weights; lower is better.
        metrics: name -> values to be averaged. A tensor may hold any number of values, also none: a bucket's metric
            holds the values of those samples that fell into it. "loss/total" is shown by the progress bar.
    """

    loss: Tensor
    score: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Demo:
    """Something to hear and see in TensorBoard. `audio` is (C, N); images are (height, width, 3) uint8."""

    name: str
    audio: Tensor
    sample_rate: int
    images: dict[str, np.ndarray]


class ModuleTrainer(Protocol):
    """Trains one module. Built from the few objects it uses, never from the trainer.

    The constructor takes (config, *, model: ModelFolder, dataset: DatasetFolder, seed: int, init: ModelFolder | None =
    None), creates what the model folder lacks, and reads the rest. `seed` is of the module's initial weights, which are
    those of the model `init` where one is given.
    """

    Config: ClassVar[type[BaseConfig]]
    """Settings."""
    module_name: str
    """Name of the module in the model folder."""
    module: Module
    """The module whose parameters are trained."""
    labels: Labels
    """The model's games, for validation by game."""
    seconds_per_sample: float
    """Of audio, for the progress display."""

    def to(self, device: torch.device) -> None:
        """Moves what belongs to the loss, but is not the trained module itself."""
        ...

    def train_data(self, seed: int) -> Dataset[Crop]:
        """Training samples: item i is sample i of the whole training, a pure function of (seed, i)."""
        ...

    def validation_data(self) -> Dataset[Crop]:
        """A fixed list of validation samples."""
        ...

    @property
    def holds_out(self) -> bool:
        """Whether these are of tracks that are not trained on. A dataset may be too small for that."""
        ...

    def step(self, batch: Batch, *, generator: StepRandom) -> StepOutput:
        """Loss of one batch; all randomness comes from `generator`."""
        ...

    def demos(self) -> list[Demo]:
        """Examples of what the module does now."""
        ...

    def finish(self) -> None:
        """Measures what is stored with the trained module; called before every publication of its weights."""
        ...

    @classmethod
    def completed(cls, config: BaseConfig, source: Source) -> BaseConfig:
        """The config with networks that it leaves to the model folder or to `init`; checked against the latter."""
        ...

    @classmethod
    def plan(cls, config: BaseConfig, *, model: ModelFolder, labels: Labels, batch_size: int) -> Plan:
        """What training would do, worked out on the meta device: nothing is read, written or allocated."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """Optional: a module trainer that learns something beside its module, which is part of a checkpoint."""

    def after_update(self, samples: int) -> bool:
        """Called after every update, with the samples seen; whether the state has changed."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The state, on the CPU."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on from a state; from an empty one as at the start."""
        ...


@runtime_checkable
class DependsOnWeights(Protocol):
    """Optional: a module trainer whose data were made with other weights, as latents are with a VAE."""

    fingerprint: str
    """Of these weights. A run that goes on with others says so, as its losses do not compare."""


@runtime_checkable
class FinishMeasures(Protocol):
    """Optional: says whether `finish` reads data. Without this member it does, and needs the dataset."""

    finish_measures: bool
    """False: an EMA can be made without the dataset."""


@dataclass(frozen=True)
class Plan:
    """Answer to `--dry-run`.

    Attributes:
        module: what is trained, on the meta device.
        shapes: name -> shape of what a step works on.
        forward: a step's forward pass of one micro batch on the meta device, as in training: its scalar loss.
        beside: modules that the run holds on its device, but does not train.
    """

    module: Module
    shapes: dict[str, tuple[int, ...]]
    forward: Callable[[], Tensor]
    beside: tuple[nn.Module, ...] = ()


class TrainingStep(nn.Module):
    """A module trainer's step as one forward pass, which is what accelerate wraps for several processes."""

    def __init__(self, module_trainer: ModuleTrainer) -> None:
        super().__init__()
        self.module = module_trainer.module
        self._step = module_trainer.step

    def forward(self, batch: Batch, generator: StepRandom) -> StepOutput:
        """Loss of a batch; see `ModuleTrainer.step`."""
        return self._step(batch, generator=generator)
