"""Which GPU it is, and what it can do at most."""

from __future__ import annotations

import os
import platform

import torch

from tests.benchmarks.gpu.context import Context, matrix_rate

ORDER, LIMIT = 0, 30
GOALS = {
    "device": ("device", "", None),
    "memory_gib": ("its memory, GiB", "", None),
    "tflops_bfloat16": ("matrix product in bfloat16, TFLOP/s", "", None),
    "tflops_float32": ("matrix product in float32, TFLOP/s", "", None),
    "bandwidth_gb_per_s": ("copying, GB/s read and written", "", None),
}


def measure(context: Context) -> None:
    """Names, versions, and the rates that other parts' shares are of."""
    context.note(torch=torch.__version__, python=platform.python_version(), cores=os.cpu_count())
    if context.on_gpu:
        properties = torch.cuda.get_device_properties(context.device)
        context.note(
            device=properties.name,
            memory_gib=properties.total_memory / 2**30,
            capability=f"{properties.major}.{properties.minor}",
            cuda=torch.version.cuda,
        )
    else:
        context.note(device=f"CPU, {torch.get_num_threads()} threads", memory_gib=None)
    context.note(tflops_bfloat16=matrix_rate(context, torch.bfloat16) / 1e12)
    context.note(tflops_float32=matrix_rate(context, torch.float32) / 1e12)
    source = torch.zeros((2**30 if context.on_gpu else 2**22) // 4, device=context.device)
    copy = torch.empty_like(source)
    seconds = context.median_seconds(lambda: copy.copy_(source), calls=10)
    context.note(bandwidth_gb_per_s=2 * 4 * source.numel() / seconds / 1e9)
