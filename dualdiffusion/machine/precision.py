"""Does half precision pay on this machine? In bfloat16, whose range is that of float32, under autocast: weights stay.

Any CPU computes in bfloat16, but most of them far slower than in float32. It pays where the CPU multiplies matrices of
it (AVX512-BF16, AMX), and where the kernels for it are there: so one convolution is tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

# A convolution must be so many times faster than in float32: the rest of a step is not.
WORTH = 1.15
REPEATS = 5


@dataclass(frozen=True)
class Precision:
    """What `auto` means on a device, and why, in a few words."""

    half: bool
    reason: str


def choose_precision(device_type: str, speedup: Callable[[], float] | None = None) -> Precision:
    """Whether bfloat16 pays on a device: "cuda", "cpu", or another, for which it is never chosen.

    Takes a tenth of a second on a CPU that has it; elsewhere nothing is measured.

    Args:
        speedup: measures how many times faster a convolution is; None: on this CPU, with as many threads as there are.
    """
    if device_type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision(has, "the GPU has bfloat16" if has else "the GPU has no bfloat16")
    if device_type != "cpu":
        return Precision(False, f"only on CUDA and CPUs, not on {device_type}")
    unit = bfloat16_unit()
    if unit is None:
        return Precision(False, "the CPU has neither AVX512-BF16 nor AMX")
    factor = (speedup or measure_speedup)()
    return Precision(factor >= WORTH, f"the CPU has {unit}; a convolution is {factor:.1f} times as fast")


def may_be_half(device_type: str) -> bool:
    """The answer of `choose_precision` without trying: for predictions, and for single products of matrices."""
    return choose_precision(device_type, lambda: WORTH).half


def widest_dtype(device: torch.device) -> torch.dtype:
    """float64 where the device has it. Apple's GPUs know none, and refuse any such tensor."""
    return torch.float32 if device.type == "mps" else torch.float64


def bfloat16_unit() -> str | None:
    """What this CPU multiplies bfloat16 with; None where it has nothing for that."""
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    return "AVX512-BF16" if torch.cpu._is_avx512_bf16_supported() else None


def measure_speedup() -> float:
    """Time of a convolution with its gradients in float32, over that in bfloat16, on the CPU.

    Of a network's shape, channels innermost, in both ways by turns; the fastest times count, which other programs have
    disturbed least.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 64, 16, 64, generator=generator).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(64, 64, 3, 3, generator=generator).to(memory_format=torch.channels_last).requires_grad_()
    fastest = dict.fromkeys((False, True), float("inf"))
    for repeat in range(REPEATS + 1):
        for half in fastest:
            started = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                F.conv2d(x, weight, padding=1).sum().backward()
            if repeat:  # the first one makes its kernels
                fastest[half] = min(fastest[half], time.perf_counter() - started)
    return fastest[False] / fastest[True]
