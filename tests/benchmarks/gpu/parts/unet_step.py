"""A training step of the base UNet, as the real trainer makes it: compiled, in bfloat16, 12 crops of 4 x 32 x 512."""

from __future__ import annotations

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.gpu.context import Context, matrix_rate
from tests.benchmarks.memory import make_run
from tests.benchmarks.steps import RealSteps
from train.memory.preflight import make_plan, predict
from train.train_config import TrainConfig

ORDER, LIMIT = 2, 100
GOALS = {
    "samples_per_second": ("base UNet, samples/s", "", None),
    "share_of_matrix_rate": ("share of the matrix rate", "at least", 0.4),
    "peak_gib": ("peak memory, GiB", "at most", 22.0),
    "predicted_gib": ("predicted, GiB", "", None),
    "seconds_to_first_step": ("seconds to the first step (compiling)", "", None),
}


def measure(context: Context) -> None:
    """The time of a step, and what it needs."""
    config = step_config(context)
    context.note(predicted_gib=predict(config, device_type=context.device.type).peak / 2**30)
    context.forget_peak()
    started = time.perf_counter()
    steps = RealSteps(config)
    steps.next()
    context.synchronize()
    context.note(seconds_to_first_step=time.perf_counter() - started)
    seconds = context.median_seconds(steps.next, calls=8 if context.on_gpu else 2, warm_up=2)
    rate = config.batch_size / seconds
    context.note(samples_per_second=rate, seconds_per_step=seconds, peak_gib=context.peak_gib())
    dtype = torch.bfloat16 if context.on_gpu else torch.float32
    flops = sample_flops(config)
    context.note(tflop_per_sample=flops / 1e12, share_of_matrix_rate=flops * rate / matrix_rate(context, dtype))


def step_config(context: Context) -> TrainConfig:
    """The base preset as it is on a GPU of 24 GB, one micro batch a step; elsewhere the tiny one, made smaller."""
    if context.on_gpu:
        changes = ["batch_size=12", "micro_batch_size=12"]
        return make_run(context.folder, "unet", "base", [*changes, "ema_snapshots.stds=[]"])
    return make_run(context.folder, "unet", "tiny", ["batch_size=2", "micro_batch_size=2", "compile=false"])


def sample_flops(config: TrainConfig) -> float:
    """FLOPs of a sample: three times those of the forward pass, which are counted on the meta device."""
    plan, _ = make_plan(config, config.batch_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        plan.forward()
    return 3 * counter.get_total_flops() / config.batch_size
