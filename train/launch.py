"""Starts a training run in the process, or one of the processes, that `accelerate launch` made."""

from __future__ import annotations

import contextlib
import os
import sys

import torch
from accelerate import Accelerator

from dualdiffusion.files import folder_lock
from train.interruption import launcher_id
from train.trainer import TrainConfig, Trainer


def launch(config: TrainConfig, *, wait: bool) -> int:
    """Trains; returns the exit code.

    Raises:
        UserError: wrong settings, data or model folder, or another process at work on the model folder.
    """
    launcher = launcher_id()
    # Without a GPU, accelerate joins several processes only where it is told that the CPU is meant.
    cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    accelerator = Accelerator(cpu=cpu, mixed_precision=config.mixed_precision)
    if not accelerator.is_main_process:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for good: one process tells, of all of them)
    if accelerator.device.type == "cpu":
        # The launcher sets one thread per process where it is not told otherwise.
        share = max(1, len(os.sched_getaffinity(0)) // accelerator.num_processes)
        torch.set_num_threads(config.cpu_threads or share)
    lock = folder_lock(config.model, wait=wait) if accelerator.is_main_process else contextlib.nullcontext()
    with lock:
        code = Trainer(config, accelerator, launcher).run()
    accelerator.end_training()
    return code
