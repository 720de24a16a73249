"""Predicted against measured memory of a training step: `python -m tests.benchmarks.memory [--json FILE]`.

Measured is what torch allocates (torch.profiler's memory events on a CPU) at the peak of the second update of the real
trainer, data and loss included. Beside it stands how much the process as a whole grew at its highest moment, with
all that prediction does not claim to know: scratch memory inside kernels, what the allocator holds back, the libraries.
The prediction is the one of `train.py --dry-run`. Each case runs in a process of its own, on one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from dualdiffusion import audio
from dualdiffusion.config import load_config
from dualdiffusion.data.dataset_folder import latents_file_name
from dualdiffusion.data.latent_crops import LatentsHeader, write_latents
from dualdiffusion.files import write_json, write_jsonl
from dualdiffusion.labels import Game, Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import save_module
from train.memory.preflight import predict
from train.train_config import TrainConfig
from train.trainer import Trainer

UNET, VAE = "module_trainer.denoiser.backbone.", "module_trainer.vae."
# Name -> module, preset, changes. Sizes that a CPU can do; the small UNet is the preset on a shorter crop.
CASES: dict[str, tuple[str, str, list[str]]] = {
    "unet_tiny": ("unet", "tiny", []),
    "unet_tiny, accumulated": ("unet", "tiny", ["micro_batch_size=4"]),
    "unet_tiny, checkpointing": ("unet", "tiny", [f"{UNET}activation_checkpointing=true"]),
    "unet_tiny, bf16": ("unet", "tiny", ["mixed_precision=bf16", "micro_batch_size=8"]),
    "unet_small": ("unet", "small", ["batch_size=1", "micro_batch_size=1", "module_trainer.crop_seconds=2.048"]),
    "vae_tiny": ("vae", "tiny", []),
    "vae_small": ("vae", "small", ["batch_size=2", "micro_batch_size=1", "module_trainer.crop_seconds=1"]),
}


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all of them where none is named")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        with contextlib.redirect_stdout(io.StringIO()):
            row = compare(*CASES[arguments.cases[0]])
        print(json.dumps(row))
        return
    rows = {name: _in_own_process(name) for name in arguments.cases or CASES}
    columns = ("predicted", "measured", "error", "process", "seconds")
    table = Table("MiB", *columns)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[c]:+.1%}" if c == "error" else f"{row[c]:,.1f}" for c in columns))
    Console().print(table)
    if arguments.json:
        write_json(arguments.json, rows)


def _in_own_process(name: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.memory", "--child", name]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def compare(module: str, preset: str, changes: list[str]) -> dict[str, float]:
    """Predicted and measured peak of a training step in MiB, how much the process grew, and seconds to predict."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = make_run(Path(folder), module, preset, changes)
        started = time.monotonic()
        predicted = predict(config, device_type="cpu").peak
        seconds = time.monotonic() - started
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        measured = measure(config)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    mib = {"predicted": predicted / 2**20, "measured": measured / 2**20, "process": grown / 2**20}
    return {**mib, "error": predicted / measured - 1, "seconds": seconds}


def measure(config: TrainConfig) -> int:
    """Most bytes that torch's allocator of the CPU had given out during the second update of a real training."""
    gc.collect()  # what an earlier measurement left would be given back within this one, and be taken off it
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as building:
        trainer = Trainer(config, Accelerator(mixed_precision=config.mixed_precision, cpu=True))
        batches = trainer.batches()
        trainer.train_step(batches)
    live = sum(allocations(building))
    del building
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as step:
        trainer.train_step(batches)
    peak = 0
    for change in allocations(step):
        live += change
        peak = max(peak, live)
    return peak


def allocations(recorded: profile) -> list[int]:
    """Bytes taken (positive) and given back (negative), in order of time."""
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


def make_run(folder: Path, module: str, preset: str, changes: list[str]) -> TrainConfig:
    """A preset's config on a dataset of noise, with a model of random weights where the preset needs one."""
    own = [f"model={folder}/model", f"dataset={folder}/dataset", "num_workers=0", *changes]
    config = load_config(TrainConfig, Path(f"config/train/{module}_{preset}.json"), own)
    vae_config = load_config(TrainConfig, Path(f"config/train/vae_{preset}.json"), own[:2]).module_trainer.config
    labels, model = Labels((Game(0, "Castle", 2), Game(1, "Cave", 2))), ModelFolder(folder / "model")
    format, seconds = vae_config.format.build(), config.module_trainer.config.crop_seconds + 1
    if module == "unet":
        labels.save(model.labels_path)
        save_module(model, "format", format)
        vae = vae_config.vae.cls(vae_config.vae.config.model_copy(update={"label_dim": 0}))
        save_module(model, "vae", vae)
    records = []
    for game in labels.games:
        name = f"audio/{game.name}/0.flac"
        record = {"file_name": name, "game": game.name, "game_id": game.id, "seconds": seconds}
        beat = {"bpm": 120.0, "first": 0.0, "clarity": 0.5, "parts": [None]}  # for presets that are told one
        records.append({**record, "sample_rate": format.config.sample_rate, "channels": 2, "facts": {"beat": beat}})
        if module == "unet":
            columns = int(seconds * format.frames_per_second / vae.downsampling)
            latents = torch.randn(1, vae.config.latent_channels, format.config.n_mels // vae.downsampling, columns)
            print_of = model.fingerprint("vae")
            header = LatentsHeader(
                print_of, model.fingerprint("format"), "", ({"offset": 0, "pitch": 0.0},), (columns,)
            )
            write_latents(config.dataset / latents_file_name(name, print_of), latents, header)
        else:
            (config.dataset / name).parent.mkdir(parents=True, exist_ok=True)
            samples = 0.1 * torch.randn(2, int(seconds * format.config.sample_rate))
            audio.write_flac(config.dataset / name, samples, format.config.sample_rate)
    for split in ("train", "validation"):
        write_jsonl(config.dataset / f"{split}.jsonl", records)
    write_json(config.dataset / "dataset_info.json", labels.to_json())
    return config


if __name__ == "__main__":
    main()
