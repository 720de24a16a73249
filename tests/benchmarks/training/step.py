"""Speed and memory of one update of our UNet and of diffusers' UNet2DModel.

Both get the same input, and do the same: forward, mean squared error, backward, AdamW; ours also what keeps its weights
normalised. Steps take turns, and medians count. Peak memory is measured in a process for each network, over two steps:
on a GPU by its allocator; on a CPU as bytes of tensors alive (what memory_ratio compares), and as growth of the
process; and once more with the optimizer that our preset trains with (memory_ratio_as_trained), the peer's being AdamW
all the same. The share of the peak is of a matrix product in the same run and of the same precision.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import load_config
from tests.benchmarks.training.networks import (
    GAMES,
    NETWORKS,
    ROOT,
    build_ours,
    build_peer,
    latent_channels,
    parameters,
    peer_width,
)
from tests.benchmarks.vae_speed import peak_flops
from train.memory.preflight import MemoryTracker
from train.train_config import TrainConfig

# Preset, batch, columns and side of the matrices that give the peak.
DEFAULTS = {"cpu": ("small", 2, 128, 2048), "cuda": ("base", 12, 512, 8192)}
ROWS = 32


@dataclass(frozen=True)
class Case:
    """What is measured."""

    preset: str
    batch: int
    columns: int
    device: str
    compile: bool
    half: bool = False
    """Whether the network is run in bfloat16; weights and optimizer stay float32."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.half else torch.float32

    def inputs(self, device: str) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents (B, C, F, T), noise levels (B,) and games (B,)."""
        with torch.device(device):
            x = torch.randn(self.batch, latent_channels(self.preset), ROWS, self.columns)
            return x, torch.rand(self.batch), torch.arange(self.batch) % GAMES


def build(name: str, case: Case, device: str) -> nn.Module:
    """One of NETWORKS, to be trained on `device`."""
    with torch.device("meta"):
        ours = build_ours(case.preset)
        width = peer_width(ours.config, parameters(ours)) if name == "peer" else 0
    torch.manual_seed(0)
    with torch.device(device):
        network = build_peer(ours.config, width) if width else build_ours(case.preset)
    return network.to(memory_format=torch.channels_last)  # as the trainer does, on whatever device


def forward_of(name: str, network: nn.Module, case: Case, device: str) -> Callable[[], Tensor]:
    """Forward pass and loss."""
    x, level, games = case.inputs(device)

    def ours() -> Tensor:
        labels = F.one_hot(games, GAMES).to(x) if device != "meta" else x.new_empty(case.batch, GAMES)
        position = torch.linspace(-1.7, 1.7, ROWS, device=device)
        return network(x, level, conditioning=Conditioning(labels, torch.ones_like(level)), position=position)

    def peer() -> Tensor:
        return network(x, 1000 * level, class_labels=games).sample

    def loss() -> Tensor:
        with torch.autocast(device if device != "meta" else "cpu", torch.bfloat16, enabled=case.half):
            output = ours() if name == "ours" else peer()
        return (output.float() - x).square().mean()

    return loss


def make_step(name: str, case: Case, *, as_trained: bool = False) -> Callable[[], None]:
    """One whole update of a network.

    Args:
        as_trained: with the optimizer of our preset, where it is ours.
    """
    network = build(name, case, case.device)
    if name == "ours":
        nn.init.ones_(network.output_gain)  # at zero, most gradients would be zero
    if case.compile:
        network.compile()
    loss = forward_of(name, network, case, case.device)
    if as_trained and name == "ours":
        config = load_config(TrainConfig, ROOT / "config" / "train" / f"unet_{case.preset}.json")
        # Without its parts: they are of the denoiser around the network, which is not measured.
        optimizer = config.optimizer.model_copy(update={"parts": {}}).build_for(network)
    else:
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        if name == "ours":
            network.before_update()
        optimizer.step()
        if name == "ours":
            network.after_update()
        if case.device == "cuda":
            torch.cuda.synchronize()

    return step


def step_flops(name: str, case: Case) -> int:
    """FLOPs of forward and backward pass: three times those of the forward pass, which are counted.

    The counter takes the weight gradients of grouped convolutions for those of ungrouped ones.
    """
    loss = forward_of(name, build(name, case, "meta"), case, "meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        loss()
    return 3 * counter.get_total_flops()


def peak_memory(name: str, case: Case, as_trained: bool) -> dict[str, int]:
    """Bytes that two steps need at most; in a process of its own."""
    if case.device == "cuda":
        step = make_step(name, case, as_trained=as_trained)
        for _ in range(2):
            step()
        return {"bytes": torch.cuda.max_memory_allocated()}
    before = 4096 * int(Path("/proc/self/statm").read_text().split()[1])
    with MemoryTracker() as live:
        step = make_step(name, case, as_trained=as_trained)
        for _ in range(2):
            step()
    return {"bytes": live.peak, "process": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before}


def in_own_process(name: str, case: Case, *, as_trained: bool = False) -> dict[str, int]:
    """See `peak_memory`."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_memory, (name, case, as_trained))


def seconds_of(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def measure(case: Case, steps: int) -> dict[str, Any]:
    """All figures."""
    memory = {name: in_own_process(name, case) for name in NETWORKS}
    todo = {name: make_step(name, case) for name in NETWORKS}
    taken: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for turn in range(steps + 1):
        for name, step in todo.items():
            seconds = seconds_of(step)
            if turn > 0:  # the first one allocates, and compiles
                taken[name].append(seconds)
    todo.clear()
    peak = peak_flops(torch.device(case.device), case.dtype, DEFAULTS[case.device][3])
    result: dict[str, Any] = {"peak_tflops": peak / 1e12}
    for name in NETWORKS:
        seconds, flops = median(taken[name]), step_flops(name, case)
        result |= {
            f"parameters_{name}": parameters(build(name, case, "meta")),
            f"seconds_{name}": seconds,
            f"samples_per_second_{name}": case.batch / seconds,
            f"tflop_per_sample_{name}": flops / case.batch / 1e12,
            f"share_of_peak_{name}": flops / seconds / peak,
            **{f"memory_{kind}_{name}": value for kind, value in memory[name].items()},
        }
    result["speed_ratio"] = result["seconds_peer"] / result["seconds_ours"]
    result["memory_ratio"] = result["memory_bytes_ours"] / result["memory_bytes_peer"]
    result["memory_bytes_ours_as_trained"] = in_own_process("ours", case, as_trained=True)["bytes"]
    result["memory_ratio_as_trained"] = result["memory_bytes_ours_as_trained"] / result["memory_bytes_peer"]
    if "memory_process_ours" in result:
        result["process_memory_ratio"] = result["memory_process_ours"] / result["memory_process_peer"]
    return result


def print_results(console: Console, case: Case, result: dict[str, Any]) -> None:
    """A table, and the ratios with their goals."""
    way = f"{case.preset}, {str(case.dtype).removeprefix('torch.')}, {'compiled' if case.compile else 'eager'}"
    table = Table(f"{way}, batch {case.batch} of 4 x {ROWS} x {case.columns}", "ours", "peer", "ratio", "goal")
    rows = [
        ("parameters, M", "parameters_{}", 1e6, ".1f"),
        ("samples per second", "samples_per_second_{}", 1, ".3f"),
        ("TFLOP per sample, forward and backward", "tflop_per_sample_{}", 1, ".3f"),
        ("share of the peak FLOP/s", "share_of_peak_{}", 1, ".0%"),
        ("peak memory, GiB", "memory_bytes_{}", 2**30, ".2f"),
        ("growth of the process, GiB", "memory_process_{}", 2**30, ".2f"),
    ]
    goals = {"samples per second": "1.5", "peak memory, GiB": "0.8"}
    for label, key, unit, form in rows:
        if key.format("ours") in result:
            ours, peer = (result[key.format(name)] / unit for name in NETWORKS)
            table.add_row(label, f"{ours:{form}}", f"{peer:{form}}", f"{ours / peer:.2f}", goals.get(label, ""))
    as_trained = (result["memory_bytes_ours_as_trained"] / 2**30, result["memory_bytes_peer"] / 2**30)
    ratio = f"{result['memory_ratio_as_trained']:.2f}"
    table.add_row("peak memory with the preset's optimizer, GiB", *(f"{gib:.2f}" for gib in as_trained), ratio, "0.8")
    console.print(table)
    console.print(f"peak: {result['peak_tflops']:.3f} TFLOP/s; device: {result['device']}", markup=False)
