"""The base VAE: a training step, and encoding a dataset, in seconds of audio per second."""

from __future__ import annotations

import torch

from dualdiffusion.codec import Codec
from dualdiffusion.conditioning import Conditioning
from tests.benchmarks.gpu.context import Context
from tests.benchmarks.memory import make_run
from tests.benchmarks.steps import RealSteps

ORDER, LIMIT = 3, 70
GOALS = {
    "encode_times_real_time": ("base VAE encodes, times real time", "at least", 100),
    "samples_per_second": ("base VAE training, crops of 4 s per second", "", None),
    "peak_gib": ("peak memory of a step, GiB", "at most", 22.0),
}
ENCODED_SECONDS = 120


def measure(context: Context) -> None:
    """Encoding first, as it is the figure with a goal."""
    preset = "base" if context.on_gpu else "tiny"
    micro = 4 if context.on_gpu else 1
    changes = [f"batch_size={micro}", f"micro_batch_size={micro}", *([] if context.on_gpu else ["compile=false"])]
    config = make_run(context.folder, "vae", preset, changes)
    part = config.module_trainer.config
    with torch.device(context.device):
        format = part.format.build()
        vae = part.vae.cls(part.vae.config.model_copy(update={"label_dim": 0})).eval()
    codec = Codec(format.to(context.device), vae.to(context.device), Conditioning())
    seconds = ENCODED_SECONDS if context.on_gpu else 4
    frames = int(seconds * format.frames_per_second) // vae.downsampling * vae.downsampling
    sound = 0.1 * torch.randn(2, format.num_samples(frames))

    def encode() -> None:
        with torch.inference_mode(), torch.autocast(context.device.type, torch.bfloat16, enabled=context.on_gpu):
            codec.encode(codec.spectrogram(sound))

    context.note(encode_times_real_time=seconds / context.median_seconds(encode, calls=3))
    context.forget_peak()
    steps = RealSteps(config)
    taken = context.median_seconds(steps.next, calls=6 if context.on_gpu else 2, warm_up=2)
    context.note(samples_per_second=micro / taken, peak_gib=context.peak_gib())
