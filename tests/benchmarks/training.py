"""Training speed and memory: our UNet against diffusers' UNet2DModel of equal parameter count, in one run.

    python -m tests.benchmarks.training [--preset base] [--batch 12] [--columns 512] [--compile] [--json OUT]

Needs diffusers: pip install -r tests/benchmarks/requirements.txt (with pip's --target DIR it can stay out of the
environment: then --peers DIR). The peer has as many levels, whose widths grow as ours do, as many layers per level,
attention with heads of the same width at the same levels, and class labels; its first width is the multiple of 4 that
gives our parameter count most nearly, and everything else is its default. Both get the same input, and do
the same: forward, mean squared error, backward, AdamW; ours also what keeps its weights normalised. Steps take turns,
and medians count.

On a GPU: the base preset, in bfloat16 and compiled, batch 12 of latents 4 x 32 x 512. On a CPU: the small preset in
float32, and once more in bfloat16 where the CPU has that, batch 2 of 4 x 32 x 128, eager unless --compile. Peak memory
is measured in a process for each network, over two steps: on a GPU by its allocator; on a CPU as bytes of tensors alive
(what memory_ratio compares), and as growth of the process. The share of the peak is of a matrix product in the same run
and of the same precision. Speed alone is not what counts: the time to the same loss is told by backbones.py.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import read_config
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.machine.precision import bfloat16_unit
from dualdiffusion.models.unet_edm2 import UNet
from tests.benchmarks.vae_speed import device_name, peak_flops
from train.memory.preflight import MemoryTracker

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ("tiny", "small", "base")
NETWORKS = ("ours", "peer")
# Preset, batch, columns and side of the matrices that give the peak.
DEFAULTS = {"cpu": ("small", 2, 128, 2048), "cuda": ("base", 12, 512, 8192)}
ROWS = 32
GAMES = 16
MISSING = "diffusers is not installed; install it: pip install -r tests/benchmarks/requirements.txt"


@dataclass(frozen=True)
class Case:
    """What is measured."""

    preset: str
    batch: int
    columns: int
    device: str
    compile: bool
    peers: str | None = None
    """Folder in which diffusers is installed; None: the environment."""
    half: bool = False
    """Whether the network is run in bfloat16; weights and optimizer stay float32."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.half else torch.float32

    def inputs(self, device: str) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents (B, C, F, T), noise levels (B,) and games (B,)."""
        channels = read_config(ROOT / "config" / "models" / f"vae_{self.preset}.json")["latent_channels"]
        with torch.device(device):
            x = torch.randn(self.batch, channels, ROWS, self.columns)
            return x, torch.rand(self.batch), torch.arange(self.batch) % GAMES


def build_ours(preset: str) -> UNet:
    """Our UNet, for GAMES games."""
    config = read_config(ROOT / "config" / "models" / f"unet_{preset}.json")
    channels = read_config(ROOT / "config" / "models" / f"vae_{preset}.json")["latent_channels"]
    return component_from_json("dualdiffusion.models", {**config, "label_dim": GAMES, "in_channels": channels}).build()


def build_peer(config: UNet.Config, first_width: int) -> nn.Module:
    """diffusers' UNet of our depth, whose widths grow from `first_width` as ours do, in steps of 4 channels."""
    from diffusers import UNet2DModel

    widths = [4 * round(first_width * multiple / config.channel_mult[0] / 4) for multiple in config.channel_mult]
    levels = range(len(config.channel_mult))
    kinds = ["Attn" if level in config.attn_levels else "" for level in levels]
    return UNet2DModel(
        in_channels=config.in_channels,
        out_channels=config.in_channels,
        block_out_channels=tuple(widths),
        layers_per_block=config.num_layers_per_block,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        attention_head_dim=config.channels_per_head,
        norm_num_groups=max(groups for groups in (4, 8, 16, 32) if all(width % groups == 0 for width in widths)),
        num_class_embeds=GAMES + 1,
    )


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def peer_width(config: UNet.Config, wanted: int) -> int:
    """The first width, a multiple of 4, with which the peer's parameter count is nearest to `wanted`."""

    def distance(width: int) -> int:
        with torch.device("meta"):
            return abs(parameters(build_peer(config, width)) - wanted)

    # Parameters grow with the square of the width, very nearly.
    with torch.device("meta"):
        guess = 64 * (wanted / parameters(build_peer(config, 64))) ** 0.5
    nearest = round(guess / 4)
    return 4 * min(range(max(1, nearest - 2), nearest + 3), key=lambda quarter: distance(4 * quarter))


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


def make_step(name: str, case: Case) -> Callable[[], None]:
    """One whole update of a network."""
    network = build(name, case, case.device)
    if name == "ours":
        nn.init.ones_(network.output_gain)  # at zero, most gradients would be zero
    if case.compile:
        network.compile()
    loss = forward_of(name, network, case, case.device)
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


def peak_memory(name: str, case: Case) -> dict[str, int]:
    """Bytes that two steps need at most; in a process of its own."""
    find_diffusers(case.peers)
    if case.device == "cuda":
        step = make_step(name, case)
        for _ in range(2):
            step()
        return {"bytes": torch.cuda.max_memory_allocated()}
    before = 4096 * int(Path("/proc/self/statm").read_text().split()[1])
    with MemoryTracker() as live:
        step = make_step(name, case)
        for _ in range(2):
            step()
    return {"bytes": live.peak, "process": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before}


def in_own_process(name: str, case: Case) -> dict[str, int]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_memory, (name, case))


def find_diffusers(folder: str | None) -> None:
    """Makes diffusers importable.

    Raises:
        UserError: it is not installed.
    """
    if folder and folder not in sys.path:
        sys.path.append(folder)  # last: the environment's own versions of what both have
    if importlib.util.find_spec("diffusers") is None:
        raise UserError(MISSING)


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
    console.print(table)
    console.print(f"peak: {result['peak_tflops']:.3f} TFLOP/s; device: {result['device']}", markup=False)


def main() -> int:
    """Prints a table and, where asked, writes the figures as JSON."""
    parser = CommandParser(prog="python -m tests.benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, help="default: base on a GPU, small on a CPU")
    parser.add_argument("--batch", type=int, help="samples per step; default: 12 on a GPU, 2 on a CPU")
    parser.add_argument("--columns", type=int, help="of the latents; default: 512 on a GPU, 128 on a CPU")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each network (default 5)")
    parser.add_argument("--compile", action="store_true", help="compile both; on a GPU they always are")
    parser.add_argument("--peers", help="folder in which diffusers is installed, where it is not the environment")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    for name in ("batch", "columns", "steps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}: must be 1 or more, not {value}")
    find_diffusers(options.peers)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    preset, batch, columns, _ = DEFAULTS[device]
    preset = options.preset or preset
    with torch.device("meta"):
        multiple = build_ours(preset).size_multiple
    columns = options.columns or columns
    if columns % multiple:
        raise UserError(f"--columns: must be a multiple of {multiple} for the {preset} preset, not {columns}")
    on_gpu = device == "cuda"
    case = Case(preset, options.batch or batch, columns, device, options.compile or on_gpu, options.peers, half=on_gpu)
    result = {**vars(case), "device": device_name(torch.device(device)), **measure(case, options.steps)}
    print_results(Console(), case, result)
    if not case.half and bfloat16_unit() is not None:
        half = replace(case, half=True)
        in_half = {"device": result["device"], **measure(half, options.steps)}
        print_results(Console(), half, in_half)
        result |= {f"{name}_bf16": value for name, value in in_half.items() if name != "device"}
    elif case.half:
        result |= {f"{name}_bf16": result[name] for name in ("speed_ratio", "memory_ratio")}
    if options.json:
        write_json(options.json, {**result, "steps": options.steps})
    return 0


if __name__ == "__main__":
    run_command(main)
