"""How fast format and VAE are, with random weights: of the small preset on a CPU, of the base one on a GPU.

Seconds of audio per second, and the share of the peak, which is that of a large matrix product in the same run and of
the same precision; on a GPU in bfloat16 and compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import read_config

ROOT = Path(__file__).resolve().parents[2]
# What is timed on a CPU and on a GPU: preset, seconds of audio at a time, side of the matrices that give the peak.
TIMED = {"cpu": ("vae_small", 4.096, 2048), "cuda": ("vae_base", 32.768, 8192)}


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """The shortest of three runs, after one to warm up."""

    def once() -> float:
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    once()
    return min(once() for _ in range(3))


def peak_flops(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """FLOP/s of the product of two square matrices."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: a @ b, device)


@torch.no_grad()
def measure_speed(device: torch.device) -> dict[str, Any]:
    """Seconds of audio per second, and shares of the peak."""
    preset, seconds, side = TIMED[device.type]
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    config = read_config(ROOT / "config" / "train" / f"{preset}.json")["module_trainer"]
    format = component_from_json("dualdiffusion.formats", config["format"]).build().to(device)
    vae = component_from_json("dualdiffusion.models", {**config["vae"], "label_dim": 0}).build().eval()
    vae = vae.to(device, memory_format=torch.channels_last)
    if device.type == "cuda":
        vae.enable_compile()
    frames = int(seconds * format.frames_per_second) // vae.downsampling * vae.downsampling
    sound = 0.1 * torch.randn(1, format.config.num_channels, format.num_samples(frames), device=device)
    arguments = {"position": format.position().to(device), "conditioning": Conditioning()}
    mode = vae.encode(format.encode(sound), **arguments).mode

    def encode() -> Tensor:
        x = format.encode(sound)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return vae.encode(x, **arguments).mode

    def decode(iterations: int | None = None) -> Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            x = vae.decode(mode, **arguments)
        return format.decode(x.float(), iterations=iterations)

    length, peak = sound.shape[-1] / format.config.sample_rate, peak_flops(device, dtype, side)
    timed = {
        "encode": (encode, lambda: vae.encode(format.encode(sound), **arguments)),
        "decode_without_phase": (lambda: decode(0), lambda: vae.decode(mode, **arguments)),
        "decode": (decode, lambda: vae.decode(mode, **arguments)),
    }
    result: dict[str, Any] = {"preset": preset, "dtype": str(dtype).removeprefix("torch."), "peak_tflops": peak / 1e12}
    for name, (work, network) in timed.items():
        with FlopCounterMode(display=False) as counter:
            network()
        took = seconds_of(work, device)
        result[f"{name}_x_realtime"] = length / took
        result[f"{name}_share_of_peak"] = counter.get_total_flops() / took / peak
    return result


def device_name(device: torch.device) -> str:
    """The GPU's name, or how many threads the CPU has."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"
