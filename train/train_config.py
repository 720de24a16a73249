"""The config of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from dualdiffusion.component import part_of
from dualdiffusion.config import Config
from dualdiffusion.model.shipped import is_shipped
from train.averages.ema import MAX_STD, ema_name
from train.averages.post_hoc import SnapshotConfig
from train.optimization.optimizer import OptimizerConfig
from train.optimization.schedule import ScheduleConfig
from train.reports.validation import ValidationConfig


class CheckpointConfig(Config):
    """When the state of training is saved."""

    every_samples: PositiveInt = 8000
    keep: Annotated[int, Field(ge=2)] = 2
    """Newest checkpoints kept; at least two, so that a damaged one has a predecessor."""


class TrainConfig(Config):
    """A run: what is trained on what, and for how long. One file in config/train/ per run."""

    description: str = ""
    """What the run is for."""
    model: Path
    """Model folder; what is missing in it is created."""
    dataset: Path
    """Folder written by dataset_processing."""
    module_trainer: part_of("train.module_trainers")
    """What is trained, and its loss."""
    init: Path | None = None
    """Model folder, or name of a shipped model, from whose weights a module starts that the model does not have yet;
    once it has, this counts no more. What the config says of networks must be what that model has; null there takes
    it from that model. null: from nothing."""
    seed: Annotated[int, Field(ge=0)] = 0
    total_samples: PositiveInt
    """Training ends after so many samples."""
    batch_size: PositiveInt = 16
    """Samples per update, over all processes."""
    micro_batch_size: PositiveInt | None = None
    """Samples at once on a device; null: the batch divided by the processes. Smaller values save memory."""
    mixed_precision: Literal["no", "bf16", "auto"] = "no"
    """bf16 halves the memory of activations; weights and optimizer stay float32. It is faster on a GPU that has it, and
    on a CPU with AVX512-BF16 or AMX; on others it is far slower. auto: bf16 where it is faster, which is found out when
    a run begins and holds for all of it."""
    compile: bool = False
    """torch.compile the module; falls back to eager with a message where that does not work."""
    num_workers: Annotated[int, Field(ge=0)] = 1
    """Processes that read data."""
    cpu_threads: PositiveInt | None = None
    """Threads where there is no GPU; null: OMP_NUM_THREADS where the user has set it, else all cores that the process
    may use, shared by the processes. Changes results in the last bit."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    ema_stds: tuple[Annotated[float, Field(gt=0, lt=MAX_STD)], ...] = (0.1,)
    """Widths of the averages of the weights that are published, relative to the length of the training."""
    ema_snapshots: SnapshotConfig = SnapshotConfig()
    """Snapshots of averages from which EMAs of other widths can be made after training."""
    log_every_samples: PositiveInt = 400
    gradient_noise_scale: bool = True
    """Log how large a batch would still pay; on one device, where the batch is at least two micro batches."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    validation: ValidationConfig = ValidationConfig()
    demo_every_samples: PositiveInt | None = None
    """Samples between demos in TensorBoard; null: only at the end."""
    max_skipped_steps: PositiveInt = 8
    """Steps in a row with a loss or gradient that is not finite before going back to the last checkpoint."""
    max_rollbacks: Annotated[int, Field(ge=0)] = 3
    """Times to go back before giving up."""

    @field_validator("model")
    @classmethod
    def _not_shipped(cls, model: Path) -> Path:
        if is_shipped(model):
            raise ValueError(
                f"{model} is a model that comes with the program, and stays as it is; choose another folder, such as "
                f"models/{model.name}"
            )
        return model

    @field_validator("ema_stds")
    @classmethod
    def _distinct(cls, stds: tuple[float, ...]) -> tuple[float, ...]:
        if len({ema_name(std) for std in stds}) < len(stds):
            raise ValueError("two are equal to three digits, which name their files")
        return stds

    @model_validator(mode="after")
    def _divides(self) -> TrainConfig:
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size: {self.micro_batch_size} does not divide batch_size, which is {self.batch_size}"
            )
        return self
