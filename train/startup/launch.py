"""Starts a training run in the process, or one of the processes, that `accelerate launch` made."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from datetime import timedelta

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs

from dualdiffusion.files import folder_lock
from dualdiffusion.machine.memory import is_out_of_memory
from dualdiffusion.machine.threads import usable_cores
from train.interruption import launcher_id, processes_asked, threads_asked
from train.memory.auto_batch import (
    choose_micro_batch,
    device_memory,
    divisors,
    out_of_memory,
    warn_if_too_large,
    with_micro_batch,
)
from train.startup.launcher_settings import check_launcher, not_used
from train.startup.precision import local_device_type, with_precision
from train.trainer import TrainConfig, Trainer

# The main process validates, makes demos and saves while the others wait for it, for longer than the ten minutes after
# which a process group gives up by itself. A process that dies ends the others through their launcher at once.
PATIENCE = timedelta(days=1)


def join_processes(cpu: bool) -> PartialState:
    """Joins the processes that the launcher started, if it started several; they wait for each other for PATIENCE."""
    return PartialState(cpu=cpu, **InitProcessGroupKwargs(timeout=PATIENCE).to_kwargs())


def launch(config: TrainConfig, *, wait: bool, auto_batch: bool = False, memory_gib: float | None = None) -> int:
    """Trains; returns the exit code.

    Args:
        auto_batch: take the largest micro batch that fits the memory, rather than the config's.
        memory_gib: to use for that; None: what is free.

    Raises:
        UserError: wrong settings, data or model folder, another process at work on the model folder, or no memory.
    """
    check_launcher()
    launcher = launcher_id()
    # Without a GPU, accelerate joins several processes only where it is told that the CPU is meant.
    cpu = local_device_type() == "cpu"
    state = join_processes(cpu)
    if state.device.type == "cpu":
        share = max(1, usable_cores() // state.num_processes)
        torch.set_num_threads(config.cpu_threads or threads_asked() or share)
    config = with_precision(config, state.device.type, state)
    if state.is_main_process:
        for line in not_used(config, state.device.type):
            print(line)
    alone = GradientAccumulationPlugin(num_steps=1)  # else accelerate may divide losses by a number of its own
    accelerator = Accelerator(cpu=cpu, mixed_precision=config.mixed_precision, gradient_accumulation_plugin=alone)
    if accelerator.num_processes == 1 < processes_asked():
        print(
            f"one process trains, not {processes_asked()}: on a CPU accelerate starts several only with MPI; "
            f"torchrun --standalone --nproc-per-node {processes_asked()} train.py ... needs none"
        )
    if not accelerator.is_main_process:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for good: one process tells, of all of them)
    lock = folder_lock(config.model, wait=wait) if accelerator.is_main_process else contextlib.nullcontext()
    with lock:
        if auto_batch:
            room = device_memory(accelerator.device.type, memory_gib)
            if accelerator.device.type == "cpu":
                room //= accelerator.num_processes  # which share the machine's memory
            config = _chosen(config, accelerator, room)
        elif accelerator.device.type == "cuda" and accelerator.is_main_process:
            free = device_memory("cuda")
            warn_if_too_large(config, free, processes=accelerator.num_processes)
        code = _train(config, accelerator, launcher, smaller=auto_batch)
    accelerator.end_training()
    return code


def _chosen(config: TrainConfig, accelerator: Accelerator, room: int) -> TrainConfig:
    """The config with the largest micro batch that fits `room` bytes on every device."""
    device_type, processes = accelerator.device.type, accelerator.num_processes
    fit = choose_micro_batch(config, room, device_type=device_type, processes=processes)
    size = fit.micro_batch_size
    if processes > 1:
        size = int(accelerator.gather(torch.tensor([size], device=accelerator.device)).min())
    if accelerator.is_main_process:
        print(
            f"micro_batch_size {size} of batch_size {config.batch_size}: predicted to need {fit.bytes / 2**30:.2f} GiB "
            f"of {room / 2**30:.2f} GiB"
        )
    return with_micro_batch(config, size)


def _train(config: TrainConfig, accelerator: Accelerator, launcher: int | None, *, smaller: bool) -> int:
    """Trains; where memory runs out before the first update and `smaller` is set, with the next smaller micro batch."""
    processes, device_type = accelerator.num_processes, accelerator.device.type
    while True:
        trainer = None
        try:
            trainer = Trainer(config, accelerator, launcher)
            return trainer.run()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # Several processes would have to agree; the failure of one ends them all.
            again = smaller and processes == 1 and trainer and not trainer.update.count
            size = _next_smaller(config) if again else None
            if size is None:
                raise out_of_memory(config, error, device_type=device_type, processes=processes) from None
        # Outside of the except block, which would keep the step's tensors alive.
        print(f"out of memory in the first step; micro_batch_size {size} instead")
        config = with_micro_batch(config, size)
        del trainer
        accelerator.free_memory()
        gc.collect()
        torch.cuda.empty_cache()


def _next_smaller(config: TrainConfig) -> int | None:
    current = config.micro_batch_size or config.batch_size
    return next((size for size in divisors(config) if size < current), None)
