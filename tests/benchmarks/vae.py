"""The VAE: what the multi-scale loss and the options are worth with a small budget, and how fast it is.

    python -m tests.benchmarks.vae [--music DIR] [--json FILE] [--steps 150] [--options]

DIR is a folder of music; without it the built-in corpus is composed and used. One track in six is held out. Every way
is trained from the same weights for the same steps on the same crops, with a learning rate that falls to zero, and then
judged by the sound of held-out excerpts after format, VAE and phase recovery: mrstft is the multi-resolution STFT
distance of left and right after matching levels (FFT 512, 1024, 2048, 4096), mrstft_ms that of mid and side; lower is
better. The row "format alone" is what no VAE can better. With --options each of config/experiments/vae_tiny_*.json is
trained and judged too.

Speed is measured with random weights, of the small preset on a CPU and of the base preset, in bfloat16 and compiled, on
a GPU: seconds of audio per second through format and VAE, and the share of the peak, which is that of a large matrix
product in the same run and of the same precision.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dataset_processing.synth import write_corpus
from dualdiffusion import audio
from dualdiffusion.audio import resample, write_flac
from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import load_config, read_config
from dualdiffusion.data.audio_crops import collate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json, write_jsonl
from dualdiffusion.labels import Game, Labels
from tests.benchmarks.phase_recovery import SAMPLE_RATE, distance, mid_side, read_stereo
from train.commands.overfit import alone, scratch_trainer
from train.module_trainer import ModuleTrainer
from train.position import Position
from train.trainer import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "config" / "experiments"
TRAINED = ROOT / "config" / "train" / "vae_tiny.json"
# What is timed on a CPU and on a GPU: preset, seconds of audio at a time, side of the matrices that give the peak.
TIMED = {"cpu": ("vae_small", 4.096, 2048), "cuda": ("vae_base", 32.768, 8192)}
TRACK_SECONDS = 20.0
EXCERPT_SECONDS = 4.0
COOLDOWN = 0.4
"""Share of the training over which the learning rate falls to zero."""
MOST_TRACKS = 42
MOST_EXCERPTS = 6
PLAIN = {"point": 0}
LOSSES: dict[str, dict[str, Any]] = {
    "full": {},
    "l1": {"loss": {"type": "point.L1"}, "loss_weights": PLAIN},
    "l2": {"loss": {"type": "point.L2"}, "loss_weights": PLAIN},
}


def make_dataset(music: Path, out: Path, sample_rate: int) -> Path:
    """A dataset of the middle of up to MOST_TRACKS tracks, chosen by their file names alone; one in six is held out."""
    paths = sorted(path for path in music.rglob("*") if path.is_file())
    random.Random(0).shuffle(paths)
    records: list[dict[str, Any]] = []
    length = int(TRACK_SECONDS * SAMPLE_RATE)
    for path in paths:
        samples = read_stereo(path) if len(records) < MOST_TRACKS else None
        if samples is None or samples.shape[1] < EXCERPT_SECONDS * SAMPLE_RATE or float(samples.std()) < 1e-3:
            continue
        start = max(0, samples.shape[1] - length) // 2
        excerpt = resample(samples[:, start : start + length], SAMPLE_RATE, sample_rate)
        name = f"audio/music/{len(records)}.flac"
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write_flac(out / name, excerpt, sample_rate)
        seconds = excerpt.shape[1] / sample_rate
        record = {"file_name": name, "game": "music", "game_id": 0, "seconds": seconds}
        records.append({**record, "sample_rate": sample_rate, "channels": 2})
    if len(records) < 6:
        raise UserError(f"--music {music}: has only {len(records)} tracks of {EXCERPT_SECONDS:g} s that sound; give 6")
    write_jsonl(out / "train.jsonl", [record for i, record in enumerate(records) if i % 6])
    write_jsonl(out / "validation.jsonl", records[::6])
    write_json(out / "dataset_info.json", Labels((Game(0, "music", len(records)),)).to_json())
    return out


def excerpts(dataset: Path) -> list[Tensor]:
    """(2, N) from the middle of held-out tracks."""
    found = []
    for track in DatasetFolder(dataset).tracks("validation")[:MOST_EXCERPTS]:
        length = int(EXCERPT_SECONDS * track.sample_rate)
        start = (round(track.seconds * track.sample_rate) - length) // 2
        found.append(audio.read(track.path, start=start, frames=length)[0])
    return found


def train(config: TrainConfig, steps: int, judge: Callable[[ModuleTrainer], dict[str, float]]) -> dict[str, float]:
    """What `judge` says of the module after so many updates."""
    with scratch_trainer(config) as trainer:
        update, position = alone(trainer, config, config.batch_size), Position(config.seed, config.batch_size)
        data, size, started = trainer.train_data(config.seed), config.batch_size, time.monotonic()
        for step in range(steps):
            batch = collate([data[step * size + i] for i in range(size)])
            # At a full rate the weights of one step and the next differ by more than two losses do.
            rate = min(1.0, (steps - step) / (COOLDOWN * steps))
            update(iter([batch]), position, rate=rate)
        seconds = time.monotonic() - started
        trainer.module.eval()
        return {**judge(trainer), "train_seconds": seconds}


@torch.no_grad()
def judge_sound(trainer: ModuleTrainer, clips: list[Tensor], through_vae: bool = True) -> dict[str, float]:
    """Distances of the clips after format, VAE (its mode) and phase recovery."""
    pairs, latents = [], []
    step = trainer.format.num_samples(trainer.module.downsampling)
    for clip in clips:
        clip = clip[:, : clip.shape[1] // step * step].to(trainer.position.device)
        x = trainer.format.encode(clip[None])
        if through_vae:
            arguments = {"position": trainer.position, "conditioning": Conditioning()}
            mode = trainer.module.encode(x, **arguments).mode
            x = trainer.module.decode(mode, **arguments)
            latents.append(mode[0].flatten(1))
        pairs.append((clip.cpu(), trainer.format.decode(x)[0].cpu()))
    values = {
        "mrstft": mean(distance(a, b) for a, b in pairs),
        "mrstft_ms": mean(distance(mid_side(a), mid_side(b)) for a, b in pairs),
    }
    if latents:
        values["latents_std"] = float(torch.cat(latents, dim=1).std(dim=1).mean())
    return values


def load_way(path: Path, folder: Path, changes: dict[str, Any]) -> TrainConfig:
    """A training config on the dataset in `folder`; `changes` are laid over its module_trainer."""
    overrides = [f"module_trainer.{key}={json.dumps(value)}" for key, value in changes.items()]
    paths = [f"model={folder / 'none'}", f"dataset={folder / 'dataset'}"]
    return load_config(TrainConfig, path, [*paths, *overrides])


def compare_training(music: Path, folder: Path, options: Any, console: Console) -> dict[str, dict[str, float]]:
    """Distances by way; the ways are trained one after the other."""
    ways = {name: load_way(TRAINED, folder, changes) for name, changes in LOSSES.items()}
    if options.options:
        paths = sorted(EXPERIMENTS.glob("vae_tiny_*.json"))
        ways |= {path.stem.removeprefix("vae_tiny_"): load_way(path, folder, {}) for path in paths}
    format = ways["full"].module_trainer.config.format.config
    clips = excerpts(make_dataset(music, folder / "dataset", format.sample_rate))
    console.print(f"{len(clips)} held-out excerpts of {EXCERPT_SECONDS:g} s, {options.steps} steps each", markup=False)
    with scratch_trainer(ways["full"]) as trainer:
        results = {"format": judge_sound(trainer, clips, through_vae=False)}
    for name, config in ways.items():
        results[name] = train(config, options.steps, lambda trainer: judge_sound(trainer, clips))
        console.print(f"{name}: " + "  ".join(f"{k} {v:.3f}" for k, v in results[name].items()), markup=False)
    return results


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


def print_results(console: Console, training: dict[str, dict[str, float]], speed: dict[str, Any]) -> None:
    """Two tables, and who won."""
    table = Table("way", "mrstft", "mrstft_ms", "std of latents", "training, s")
    for name, row in training.items():
        cells = [f"{row[key]:.3f}" if key in row else "" for key in ("mrstft", "mrstft_ms", "latents_std")]
        table.add_row("format alone" if name == "format" else name, *cells, f"{row.get('train_seconds', 0):.0f}")
    console.print(table)
    table = Table(f"{speed['preset']}, {speed['dtype']}", "x real time", "share of the peak")
    for name in ("encode", "decode_without_phase", "decode"):
        table.add_row(name, f"{speed[f'{name}_x_realtime']:.1f}", f"{speed[f'{name}_share_of_peak']:.0%}")
    console.print(table)
    console.print(f"peak: {speed['peak_tflops']:.2f} TFLOP/s; device: {speed['device']}", markup=False)
    best = min(LOSSES, key=lambda name: training[name]["mrstft"])
    console.print(f"best of full, l1 and l2 in mrstft: {best}")


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def main() -> int:
    """Prints tables and, where asked, writes the figures as JSON."""
    parser = CommandParser(prog="python -m tests.benchmarks.vae", description=__doc__.splitlines()[0])
    parser.add_argument("--music", type=Path, help="folder of music; default: the built-in corpus")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--steps", type=int, default=150, help="training steps of each way (default 150)")
    parser.add_argument("--options", action="store_true", help="also train config/experiments/vae_tiny_*.json")
    options = parser.parse_args()
    if options.steps < 1:
        raise UserError(f"--steps: must be 1 or more, not {options.steps}")
    if options.music and not options.music.is_dir():
        raise UserError(f"--music {options.music}: no such folder")
    console = Console()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory(prefix="dualdiffusion-") as folder:
        music = options.music or Path(folder) / "corpus"
        if not options.music:
            write_corpus(music, games=6, tracks=3, seconds=TRACK_SECONDS)
        training = compare_training(music, Path(folder), options, console)
    speed = {"device": device_name(device), **measure_speed(device)}
    print_results(console, training, speed)
    if options.json:
        mrstft = {f"{name}_mrstft": row["mrstft"] for name, row in training.items()}
        write_json(options.json, {**mrstft, **speed, "steps": options.steps, "training": training})
    return 0


if __name__ == "__main__":
    run_command(main)
