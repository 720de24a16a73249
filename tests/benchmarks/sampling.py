"""Sampling: what each sampler costs at equal quality, and what our loop and guidance add to the network's own time.

    python -m tests.benchmarks.sampling --model models/demo [--json FILE] [--only PART]

samplers   Calls of the network and seconds per second of audio at equal quality, without guidance. A sampler that
           ignores its generator is deterministic: equal quality is a relative RMS difference from Heun's method with
           REFERENCE_STEPS steps of at most --tolerance, from the same noise. A stochastic sampler ends elsewhere each
           time, and only its distribution can be compared: mean and standard deviation of every channel and row of the
           latents, over time and --seeds clips. Equal quality is an RMS distance from the reference's of at most
           SLACK times that between two sets of clips of the reference itself. That is a weak test: it sees the
           spectrum and its spread, and neither melody nor rhythm.
overhead   Share of the time between the network's first call and the last step's report, in a real generation, that is
           not spent in the denoiser.
guidance   One batch for both passes, and an interval, against the plain loop that calls the network twice, with the
           same result, for each number of threads; --compile tries torch.compile too (minutes).
end        Steps that deterministic samplers save by stopping at the noise of the latents themselves (sigma_end): the
           fewest that come within each of --distances (relative RMS) of what REFERENCE_STEPS steps of Heun's method
           give that end where they do; and how far that end is from 0's.
peer       Largest difference of the samples from those of diffusers' schedulers, from the same noise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dualdiffusion.command_line import CommandParser, positive_int, run_command
from dualdiffusion.conditioning import Conditioning, one_hot
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import find_model
from dualdiffusion.randomness import SeededNoise
from sampling.generator import Generator, StepReport
from sampling.guidance import Guidance, PassCounter, conditional, guided
from sampling.request import Request
from sampling.solvers.samplers import SAMPLERS, Denoise
from sampling.solvers.schedules import SCHEDULES
from tests.benchmarks import sampling_end, sampling_peer

LEVELS = {"sigma_min": 0.01, "sigma_max": 80.0, "rho": 7.0}
STEPS_TRIED = (4, 6, 8, 12, 16, 24, 32, 48, 64)
REFERENCE_STEPS = 200
SLACK = 1.25
CFG_SCALE = 2.0
FIGURES = ("loop_overhead", "guided_speed_ratio", "guided_speed_ratio_interval", "max_difference_to_peer")


@dataclass(frozen=True)
class Case:
    """What all parts sample: clips of one game."""

    generator: Generator
    denoiser: Denoiser
    shape: tuple[int, int, int]
    seconds: float

    def conditioning(self, items: int) -> Conditioning:
        ids = torch.zeros(items, dtype=torch.long, device=self.denoiser.device)
        return Conditioning(one_hot(ids, self.denoiser.label_dim)) if self.denoiser.label_dim else Conditioning()

    def denoise(self, items: int = 1) -> Denoise:
        """Without guidance."""
        return conditional(self.denoiser, self.conditioning(items), position=self.generator.position)

    def until(self, end: float | None, name: str, steps: int) -> Tensor:
        """The latents (1, Z, F, T) of seed 0 where sampling stops at a noise level; None: at 0."""
        levels = Request(games={}, steps=steps, sigma_end=end).noise_levels()
        return self.sample(name, self.denoise(), steps, [0], levels)

    @torch.inference_mode()
    def sample(
        self, name: str, denoise: Denoise, steps: int, seeds: list[int], levels: list[float] | None = None
    ) -> Tensor:
        """(items, Z, F, T) latents."""
        levels, random = levels or SCHEDULES["edm"](steps, **LEVELS), SeededNoise(seeds)
        noise = random.randn(self.shape).to(self.denoiser.device) * levels[0]
        return SAMPLERS[name](denoise, noise, levels, generator=random, callback=None)


def load_case(model: ModelFolder, seconds: float) -> Case:
    generator = Generator.load(model)
    if not generator.labels.games:
        raise UserError(f"{model.path}: knows no games")
    denoiser = generator.unet(None)
    grid = generator.grid(denoiser)
    columns = grid.rounded_up(math.ceil(grid.samples(seconds) / grid.column_samples))
    shape = generator.vae.latent_shape(generator.format.sample_shape(columns * generator.vae.downsampling))
    return Case(generator, denoiser, shape, seconds)


class Calls:
    """Counts the calls of a denoise function, and the seconds since it was made."""

    def __init__(self, denoise: Denoise) -> None:
        self.denoise, self.count, self.started = denoise, 0, time.perf_counter()

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.count += 1
        return self.denoise(x, sigma)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started


def statistics(latents: Tensor) -> Tensor:
    """(items, Z, F, T) -> mean and standard deviation of every channel and row: (2, Z, F)."""
    return torch.stack([latents.mean(dim=(0, 3)), latents.std(dim=(0, 3))])


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def samplers(case: Case, options: Any, console: Console) -> dict[str, Any]:
    """Sampler -> kind, steps, calls, seconds per second of audio, and distance, at equal quality; None: not reached."""
    seeds = list(range(options.seeds))
    reference = case.sample("heun", case.denoise(), options.reference_steps, [0])
    many, others = (
        case.sample("heun", case.denoise(len(seeds)), options.reference_steps, [first + seed for seed in seeds])
        for first in (0, 1000)
    )
    floor = rms(statistics(many) - statistics(others))
    console.print(f"statistics of two sets of {len(seeds)} clips of the reference differ by {floor:.4f}", markup=False)

    def ode_distance(name: str, steps: int) -> float:
        return rms(case.sample(name, case.denoise(), steps, [0]) - reference) / rms(reference)

    def set_distance(name: str, steps: int) -> float:
        # Clips of other noise than the reference's, as the two sets of the reference are.
        made = case.sample(name, case.denoise(len(seeds)), steps, [2000 + seed for seed in seeds])
        return rms(statistics(made) - statistics(many))

    found: dict[str, Any] = {}
    done: dict[Callable[..., Tensor], str] = {}
    for name, function in SAMPLERS.items():
        if function in done:
            found[name] = {**found[done[function]], "same_as": done[function]}
            continue
        done[function] = name
        if deterministic(case, name):
            found[name] = fewest(case, name, "ODE", ode_distance, options.tolerance, options.steps_tried)
        else:
            found[name] = fewest(case, name, "statistics", set_distance, SLACK * floor, options.steps_tried)
        console.print(f"{name}: {found[name]}", markup=False)
    return {"samplers": found, "samplers_statistics_floor": floor, "samplers_tolerance": options.tolerance}


def deterministic(case: Case, name: str) -> bool:
    """Whether other noise from the generator, but the same initial noise, gives the same samples."""
    levels = SCHEDULES["edm"](4, **LEVELS)
    noise = SeededNoise([0]).randn(case.shape) * levels[0]
    a, b = (
        SAMPLERS[name](lambda x, sigma: x / (1 + sigma**2), noise, levels, generator=SeededNoise([seed]))
        for seed in (1, 2)
    )
    return torch.equal(a, b)


def fewest(
    case: Case, name: str, measure: str, distance: Callable[[str, int], float], limit: float, tried: tuple[int, ...]
) -> dict[str, Any]:
    """The first number of steps at which the distance is within the limit, and what a single clip then takes."""
    calls = None
    for steps in tried:
        away = distance(name, steps)
        counter = Calls(case.denoise())
        case.sample(name, counter, steps, [0])
        took, unchanged, calls = counter.seconds, counter.count == calls, counter.count
        if away <= limit or unchanged:  # unchanged: it chooses its steps itself
            break
    reached = away <= limit
    return {
        "measure": measure,
        "reached": reached,
        "steps": steps,
        "calls": calls,
        "calls_per_second": calls / case.seconds,
        "seconds_per_second": took / case.seconds,
        "distance": away,
    }


def overhead(case: Case, options: Any, console: Console) -> dict[str, Any]:
    """Median over repeats, plain and guided generations in turn."""
    shares: dict[float, list[float]] = {1.0: [], CFG_SCALE: []}
    for _ in range(options.repeats):
        for scale, values in shares.items():
            values.append(loop_share(case, scale, options.steps))
    names = {1.0: "loop_overhead_unguided", CFG_SCALE: "loop_overhead"}
    return {names[scale]: median(values) for scale, values in shares.items()}


def loop_share(case: Case, cfg_scale: float, steps: int) -> float:
    """The share of one generation's sampling that is not spent in the denoiser."""
    starts: list[float] = []
    inside: list[float] = []
    ends: list[float] = []

    def on_step(report: StepReport) -> None:
        if report.text.startswith("sampling"):
            ends.append(time.perf_counter())

    hooks = [
        case.denoiser.register_forward_pre_hook(lambda *_: starts.append(time.perf_counter())),
        case.denoiser.register_forward_hook(lambda *_: inside.append(time.perf_counter() - starts[-1])),
    ]
    game = case.generator.labels.names[0]
    request = Request(games={game: 1.0}, seconds=case.seconds, steps=steps, cfg_scale=cfg_scale, phase_iterations=0)
    try:
        case.generator.generate(request, on_step=on_step)
    finally:
        for hook in hooks:
            hook.remove()
    return 1 - sum(inside) / (ends[-1] - starts[0])


def guidance(case: Case, options: Any, console: Console) -> dict[str, Any]:
    """Seconds of each way, in turn, for each number of threads; ratios to the plain loop at the last number."""
    before, counter = torch.get_num_threads(), PassCounter()
    ways = guided_ways(case, options, counter)
    result: dict[str, Any] = {"guided_interval": list(options.interval), "guided_seconds": {}}
    try:
        for threads in options.threads:
            torch.set_num_threads(threads)
            outputs = {name: case.sample("heun", way, 2, [0]) for name, way in ways.items()}  # to warm up
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(options.repeats):
                for name, way in ways.items():
                    started = time.perf_counter()
                    outputs[name] = case.sample("heun", way, options.steps, [0])
                    times[name].append(time.perf_counter() - started)
            result["guided_seconds"][str(threads)] = {name: median(values) for name, values in times.items()}
    finally:
        torch.set_num_threads(before)
    last = result["guided_seconds"][str(options.threads[-1])]
    ratios = {name: last["two passes"] / value for name, value in last.items()}
    result |= {"guided_speed_ratio": ratios["one batch"], "guided_speed_ratio_interval": ratios["interval"]}
    if "compiled" in ratios:
        result["guided_speed_ratio_compiled"] = ratios["compiled"]
    same = [name for name in ways if name != "interval"]
    result["guided_max_difference"] = max(float((outputs[n] - outputs["two passes"]).abs().max()) for n in same)
    result["guided_work_saved_by_interval"] = counter.saved
    return result


def guided_ways(case: Case, options: Any, counter: PassCounter) -> dict[str, Denoise]:
    conditioning, position = case.conditioning(1), case.generator.position
    asked = conditional(case.denoiser, conditioning, position=position)
    none = conditional(case.denoiser, conditioning.without(conditioning.ids), position=position)

    def two_passes(x: Tensor, sigma: float) -> Tensor:
        return torch.lerp(none(x, sigma), asked(x, sigma), CFG_SCALE)

    settings = {"cfg_scale": CFG_SCALE, "position": position}
    interval = Guidance(interval=tuple(options.interval))
    ways = {
        "two passes": two_passes,
        "one batch": guided(case.denoiser, conditioning, **settings),
        "interval": guided(case.denoiser, conditioning, **settings, guidance=interval, counter=counter),
    }
    if options.compile:
        network = torch.compile(case.denoiser)  # the same weights; case.denoiser itself stays as it is
        ways["compiled"] = guided(network, conditioning, **settings)
    return ways


def peer(case: Case, options: Any, console: Console) -> dict[str, Any]:
    """Differences by sampler; None, with the reason, without the peer."""
    unit_noise = SeededNoise([0]).randn(case.shape).to(case.denoiser.device)
    try:
        found = sampling_peer.differences(case.denoise(), unit_noise, steps=options.steps, **LEVELS)
    except ImportError:
        console.print(sampling_peer.MISSING, markup=False)
        return {"max_difference_to_peer": None, "peer_reason": sampling_peer.MISSING}
    return {"max_difference_to_peer": max(found.values()), "peer": found}


PARTS = {"overhead": overhead, "guidance": guidance, "peer": peer, "end": sampling_end.end, "samplers": samplers}


def measure(case: Case, options: Any, console: Console) -> dict[str, Any]:
    """All figures; those of parts that were not asked for are None."""
    result: dict[str, Any] = dict.fromkeys(FIGURES)
    for name, part in PARTS.items():
        if options.only in (None, name):
            console.print(name)
            result |= part(case, options, console)
    return result


def show(result: dict[str, Any], console: Console) -> None:
    table = Table("figure", "measured", "goal")
    goals = dict(zip(FIGURES, ("below 3 %", "1.7", "", "1e-4"), strict=True))
    for name, value in result.items():
        if isinstance(value, float) or value is None:
            table.add_row(name, "" if value is None else f"{value:.3g}", goals.get(name, ""))
    console.print(table)
    for threads, times in result.get("guided_seconds", {}).items():
        table = Table(f"guided, {threads} threads", "seconds", "times faster")
        for name, value in times.items():
            table.add_row(name, f"{value:.2f}", f"{times['two passes'] / value:.2f}")
        console.print(table)
    if "peer" in result:
        table = Table("sampler", "difference to the peer")
        for name, value in result["peer"].items():
            table.add_row(name, f"{value:.1e}")
        console.print(table)
    if "end" in result:
        sampling_end.show(result, console)
    if "samplers" in result:
        table = Table(
            "sampler", "equal quality by", "steps", "calls", "calls / s of audio", "s / s of audio", "distance"
        )
        for name, row in result["samplers"].items():
            steps = str(row["steps"]) if row["reached"] else f"not at {row['steps']}"
            speeds = (f"{row[key]:.2f}" for key in ("calls_per_second", "seconds_per_second"))
            table.add_row(name, row["measure"], steps, str(row["calls"]), *speeds, f"{row['distance']:.4f}")
        console.print(table)


def parser() -> CommandParser:
    parser = CommandParser(prog="python -m tests.benchmarks.sampling", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--only", choices=PARTS, help="one part; default: all")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the clips (default 8)")
    parser.add_argument("--steps", type=positive_int, default=20, help="of overhead, guidance and peer (default 20)")
    parser.add_argument("--repeats", type=positive_int, default=5, help="of what is timed (default 5)")
    parser.add_argument("--threads", type=positive_int, nargs="+", default=[1, 2], help="of guidance (default 1 2)")
    parser.add_argument("--interval", type=float, nargs=2, default=[0.5, 6.0], help="of guidance (default 0.5 6)")
    parser.add_argument("--compile", action="store_true", help="try torch.compile too")
    parser.add_argument("--seeds", type=positive_int, default=6, help="clips of stochastic samplers (default 6)")
    parser.add_argument("--tolerance", type=float, default=0.05, help="of deterministic samplers (default 0.05)")
    parser.add_argument("--distances", type=float, nargs="+", default=[0.2, 0.1, 0.05], help="of end")
    parser.add_argument("--reference-steps", type=positive_int, default=REFERENCE_STEPS, help="default 200")
    parser.add_argument("--steps-tried", type=positive_int, nargs="+", default=STEPS_TRIED, help="of samplers")
    return parser


def main() -> int:
    """Prints tables and, where asked, writes the figures as JSON."""
    options, console = parser().parse_args(), Console()
    result = measure(load_case(find_model(options.model), options.seconds), options, console)
    show(result, console)
    if options.json:
        write_json(options.json, result)
    return 0


if __name__ == "__main__":
    run_command(main)
