"""What every part of the GPU benchmark gets: the device, a folder, and a file that keeps what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from dualdiffusion.files import write_json


@dataclass
class Context:
    """Where a part measures, and where it notes what it has found.

    Attributes:
        folder: for what the part makes.
        report: JSON file of the part's figures. Written after each of them, so that a part that is stopped at its time
            limit leaves what it had.
    """

    device: torch.device
    folder: Path
    report: Path
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        """Whether the sizes are those of the goals; elsewhere the benchmark only tries itself."""
        return self.device.type == "cuda"

    def note(self, **figures: Any) -> None:
        """Keeps figures, whatever happens next."""
        self.figures |= figures
        write_json(self.report, self.figures)

    def synchronize(self) -> None:
        """Waits for all that was asked of the GPU."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, function: Callable[[], object]) -> float:
        """How long one call takes."""
        self.synchronize()
        started = time.perf_counter()
        function()
        self.synchronize()
        return time.perf_counter() - started

    def median_seconds(self, function: Callable[[], object], *, calls: int, warm_up: int = 1) -> float:
        """The median of some calls, after some that allocate and compile."""
        for _ in range(warm_up):
            self.seconds(function)
        return median(self.seconds(function) for _ in range(calls))

    def forget_peak(self) -> None:
        """From here on, `peak_gib` tells what is needed."""
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_gib(self) -> float | None:
        """Most memory of tensors since `forget_peak`, in GiB; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) / 2**30 if self.on_gpu else None


def matrix_rate(context: Context, dtype: torch.dtype) -> float:
    """FLOP/s of a product of two large square matrices, which is what shares of the peak are taken of."""
    side = 8192 if context.on_gpu else 512
    a, b = (torch.randn(side, side, device=context.device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / context.median_seconds(lambda: a @ b, calls=10, warm_up=3)
