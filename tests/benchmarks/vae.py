"""The VAE: what the multi-scale loss and the options are worth with a small budget, and how fast it is.

    python -m tests.benchmarks.vae [--music DIR] [--json FILE] [--steps 150] [--batch 8] [--seeds 1] [--options]
                                   [--out DIR]

--music is a folder of music; without it the built-in corpus is composed and used. One track in six is held out. Every
way is trained from the same weights for the same steps on the same crops, with a learning rate that falls to zero, and
then judged by the sound of held-out excerpts after format, VAE and phase recovery: mrstft is the multi-resolution STFT
distance of left and right after matching levels (FFT 512, 1024, 2048, 4096), mrstft_ms that of mid and side, lower is
better; sharpness and onsets are the measures of notes and hits of `sampling evaluate`. The row "format alone" is what
no VAE can better. With --options each of config/experiments/vae_tiny_*.json is trained and judged too; with --seeds N
all of it N times, from other weights and with other crops. Long runs are given a folder, --out: the trainings that
have ended lie there, and the same command goes on from them; another --music, --steps or --batch is refused.

The speed of format and VAE is that of vae_speed.py.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dataset_processing.synth import write_corpus
from dualdiffusion import audio
from dualdiffusion.audio import resample, write_flac
from dualdiffusion.command_line import CommandParser, positive_int, run_command
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import load_config
from dualdiffusion.data.audio_crops import collate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json, write_jsonl
from dualdiffusion.labels import Game, Labels
from sampling.evaluation.music.record import listen
from tests.benchmarks.phase_recovery import SAMPLE_RATE, distance, mid_side, read_stereo
from tests.benchmarks.vae_speed import device_name, measure_speed
from train.commands.overfit import alone, scratch_trainer
from train.module_trainer import ModuleTrainer
from train.position import Position
from train.trainer import TrainConfig

Row = dict[str, float]
ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "config" / "experiments"
TRAINED = ROOT / "config" / "train" / "vae_tiny.json"
TRACK_SECONDS = 20.0
EXCERPT_SECONDS = 4.0
COOLDOWN = 0.4
"""Share of the training over which the learning rate falls to zero."""
MOST_TRACKS = 42
MOST_EXCERPTS = 6
HEARD = ("sharpness", "onsets")
RESULTS = "results.json"
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


def train(config: TrainConfig, steps: int, judge: Callable[[ModuleTrainer], Row]) -> Row:
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
def judge_sound(trainer: ModuleTrainer, clips: list[Tensor], through_vae: bool = True) -> Row:
    """Distances and measures of the clips after format, VAE (its mode) and phase recovery."""
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
    heard = [listen(sound, trainer.format.config.sample_rate).measures([]) for _, sound in pairs]
    values = {
        "mrstft": mean(distance(a, b) for a, b in pairs),
        "mrstft_ms": mean(distance(mid_side(a), mid_side(b)) for a, b in pairs),
        **{name: mean(measures[name] or 0.0 for measures in heard) for name in HEARD},
    }
    if latents:
        values["latents_std"] = float(torch.cat(latents, dim=1).std(dim=1).mean())
    return values


def load_way(path: Path, folder: Path, changes: dict[str, Any], *, seed: int = 0, batch: int = 8) -> TrainConfig:
    """A training config on the dataset in `folder`; `changes` are laid over its module_trainer."""
    overrides = [f"module_trainer.{key}={json.dumps(value)}" for key, value in changes.items()]
    paths = [f"model={folder / 'none'}", f"dataset={folder / 'dataset'}"]
    return load_config(TrainConfig, path, [*paths, f"seed={seed}", f"batch_size={batch}", *overrides])


def all_ways(folder: Path, options: Namespace, seed: int) -> dict[str, TrainConfig]:
    """The training configs by name."""
    found = {name: (TRAINED, changes) for name, changes in LOSSES.items()}
    if options.options:
        found |= {path.stem.removeprefix("vae_tiny_"): (path, {}) for path in sorted(EXPERIMENTS.glob("vae_tiny_*"))}
    return {
        name: load_way(path, folder, changes, seed=seed, batch=options.batch) for name, (path, changes) in found.items()
    }


def known_rows(music: Path, folder: Path, options: Namespace) -> dict[str, Any]:
    """What was asked for in a folder, `settings`, and the `rows` that have been measured there so far.

    Raises:
        UserError: something else was asked for there.
    """
    settings = {"music": str(music.resolve()), "steps": options.steps, "batch": options.batch}
    path = folder / RESULTS
    # Written before anything is measured: the dataset that lies beside it is made once.
    if not path.exists():
        write_json(path, {"settings": settings, "rows": {}})
    known = read_json(path)
    for name, value in settings.items():
        if known["settings"].get(name) != value:
            raise UserError(f"--out {folder}: has results of another --{name} than {value}; give another folder")
    return known


def compare_training(music: Path, folder: Path, options: Namespace, console: Console) -> dict[str, list[Row]]:
    """Rows of figures by way, one for each seed; what lies in `folder` is not measured again."""
    format = all_ways(folder, options, 0)["full"].module_trainer.config.format.config
    dataset, known = folder / "dataset", known_rows(music, folder, options)
    if not (dataset / "dataset_info.json").exists():
        make_dataset(music, dataset, format.sample_rate)
    clips, path = excerpts(dataset), folder / RESULTS
    console.print(f"{len(clips)} held-out excerpts of {EXCERPT_SECONDS:g} s, {options.steps} steps each", markup=False)
    with scratch_trainer(all_ways(folder, options, 0)["full"]) as trainer:
        known["rows"]["format"] = [judge_sound(trainer, clips, through_vae=False)]
    for seed in range(options.seeds):
        for name, config in all_ways(folder, options, seed).items():
            rows = known["rows"].setdefault(name, [])
            if len(rows) > seed:
                continue
            rows.append(train(config, options.steps, lambda trainer: judge_sound(trainer, clips)))
            write_json(path, known)
            told = "  ".join(f"{key} {value:.3f}" for key, value in rows[-1].items())
            console.print(f"{name}, seed {seed}: {told}", markup=False)
    return {name: rows[: options.seeds] for name, rows in known["rows"].items()}


def means(rows: list[Row]) -> Row:
    """Mean over the seeds, by key."""
    return {key: mean(row[key] for row in rows) for key in rows[0]}


def print_results(console: Console, training: dict[str, list[Row]], speed: dict[str, Any]) -> None:
    """Two tables, and who won, with each seed alone."""
    columns = ("mrstft", "mrstft_ms", *HEARD, "latents_std")
    table = Table("way", *columns, "training, s")
    for name, rows in training.items():
        row = means(rows)
        cells = [f"{row[key]:.3f}" if key in row else "" for key in columns]
        table.add_row("format alone" if name == "format" else name, *cells, f"{row.get('train_seconds', 0):.0f}")
    console.print(table)
    table = Table(f"{speed['preset']}, {speed['dtype']}", "x real time", "share of the peak")
    for name in ("encode", "decode_without_phase", "decode"):
        table.add_row(name, f"{speed[f'{name}_x_realtime']:.1f}", f"{speed[f'{name}_share_of_peak']:.0%}")
    console.print(table)
    console.print(f"peak: {speed['peak_tflops']:.2f} TFLOP/s; device: {speed['device']}", markup=False)
    for key, better in (("mrstft", min), ("sharpness", max), ("onsets", max)):
        seeds = range(len(training["full"]))
        best = [better(LOSSES, key=lambda name: training[name][seed][key]) for seed in seeds]
        console.print(f"best of full, l1 and l2 in {key}, by seed: {', '.join(best)}", markup=False)


def main() -> int:
    """Prints tables and, where asked, writes the figures as JSON."""
    parser = CommandParser(prog="python -m tests.benchmarks.vae", description=__doc__.splitlines()[0])
    parser.add_argument("--music", type=Path, help="folder of music; default: the built-in corpus")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--steps", type=positive_int, default=150, help="training steps of each way (default 150)")
    parser.add_argument("--seeds", type=positive_int, default=1, help="trainings of each way (default 1)")
    parser.add_argument("--batch", type=positive_int, default=8, help="crops of a step (default 8)")
    parser.add_argument("--options", action="store_true", help="also train config/experiments/vae_tiny_*.json")
    parser.add_argument("--out", type=Path, help="folder that keeps what has ended, to go on from (default: none)")
    options = parser.parse_args()
    if options.music and not options.music.is_dir():
        raise UserError(f"--music {options.music}: no such folder")
    console = Console()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with ExitStack() as stack:
        folder = options.out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dualdiffusion-")))
        music = options.music or folder / "corpus"
        if not options.music and not music.exists():
            write_corpus(music, games=6, tracks=3, seconds=TRACK_SECONDS)
        training = compare_training(music, folder, options, console)
    speed = {"device": device_name(device), **measure_speed(device)}
    print_results(console, training, speed)
    if options.json:
        rows = {name: means(rows) for name, rows in training.items()}
        mrstft = {f"{name}_mrstft": row["mrstft"] for name, row in rows.items()}
        write_json(options.json, {**mrstft, **speed, "steps": options.steps, "training": rows, "seeds": training})
    return 0


if __name__ == "__main__":
    run_command(main)
