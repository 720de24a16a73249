"""What `mixed_precision: "auto"` means for a run: decided once, where it begins."""

from __future__ import annotations

import torch
from accelerate.state import PartialState
from accelerate.utils import broadcast_object_list

from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json
from dualdiffusion.machine.precision import choose_precision, may_be_half
from dualdiffusion.model.folder import ModelFolder
from train.train_config import TrainConfig


def local_device_type() -> str:
    """Where a process trains by itself: "cuda", "mps" or "cpu"."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def with_precision(config: TrainConfig, device_type: str, state: PartialState | None = None) -> TrainConfig:
    """The config with "no" or "bf16" instead of "auto", which one line tells.

    On a CPU a run that goes on keeps what it began with: the answer rests on a measurement, and another one would lead
    elsewhere.

    Args:
        state: of a run of several processes, which all get what the main one finds.
    """
    if config.mixed_precision != "auto":
        return config
    chosen = [_decide(config, device_type) if state is None or state.is_main_process else None]
    if state is not None and state.num_processes > 1:
        broadcast_object_list(chosen)
    return config.model_copy(update={"mixed_precision": chosen[0]})


def _decide(config: TrainConfig, device_type: str) -> str:
    earlier = _earlier(config) if device_type == "cpu" else None
    if earlier == "no" or (earlier == "bf16" and may_be_half("cpu")):
        precision, reason = earlier, "as this run began"
    else:
        choice = choose_precision(device_type)
        precision, reason = "bf16" if choice.half else "no", choice.reason
    print(f"{config.module_trainer.cls.module_name}: mixed_precision auto: {precision} ({reason})")
    return precision


def in_half(config: TrainConfig, device_type: str) -> bool:
    """Whether a run would be in bfloat16, as far as can be told without measuring."""
    if config.mixed_precision == "auto":
        return may_be_half(device_type)
    return config.mixed_precision == "bf16"


def _earlier(config: TrainConfig) -> str | None:
    """What the last run of this training had; None where there was none."""
    path = ModelFolder(config.model).run_path(config.module_trainer.cls.module_name) / "config.json"
    try:
        told = read_json(path)["mixed_precision"]
    except (UserError, KeyError, TypeError):
        return None
    return told if told in ("no", "bf16") else None
