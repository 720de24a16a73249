"""Phase recovery: milliseconds for a second of 32 kHz stereo, at the format's own setting and at the best one."""

from __future__ import annotations

import torch

from dualdiffusion.formats.mel_spectrogram import MelSpectrogram
from tests.benchmarks.gpu.context import Context
from tests.benchmarks.phase_recovery import BEST_ITERATIONS

ORDER, LIMIT = 5, 25
GOALS = {
    "fast_ms_per_second": ("default iterations, ms per second of audio", "", None),
    "best_ms_per_second": (f"{BEST_ITERATIONS} iterations, ms per second of audio", "", None),
}


def measure(context: Context) -> None:
    """The reference format at 32 kHz."""
    format = MelSpectrogram(MelSpectrogram.Config()).to(context.device)
    seconds = 20 if context.on_gpu else 1
    frames = int(seconds * format.frames_per_second)
    audio = 0.1 * torch.randn(1, 2, format.num_samples(frames), device=context.device)
    with torch.inference_mode():
        x = format.encode(audio)
        for name, iterations in (("fast", None), ("best", BEST_ITERATIONS if context.on_gpu else 4)):
            taken = context.median_seconds(lambda n=iterations: format.decode(x, iterations=n), calls=3)
            context.note(**{f"{name}_ms_per_second": 1000 * taken / seconds})
