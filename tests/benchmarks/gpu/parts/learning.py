"""A short real training with its curve: the built-in corpus, the shipped VAE's latents, a UNet from new weights.

Everything by the real commands. The training is stopped by a signal when its time is up, as a person would.
"""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.corpus import latents_dataset
from tests.benchmarks.gpu.context import Context

ORDER, LIMIT = 6, 130
GOALS = {
    "samples": ("samples trained on", "", None),
    "samples_per_second": ("samples per second, start and validation included", "", None),
    "last_validation_loss": ("validation loss at the end", "", None),
}
ROOT = Path(__file__).resolve().parents[4]
SECONDS = 75


def measure(context: Context) -> None:
    """Corpus, dataset with latents, training; the curve is noted while it grows."""
    games, tracks, seconds = (4, 8, 40) if context.on_gpu else (1, 3, 20)
    dataset = latents_dataset("chiptune", context.folder, games=games, tracks=tracks, track_seconds=seconds)
    model = context.folder / "model"
    settings = [
        f"model={model}",
        f"dataset={dataset}",
        "module_trainer.autoencoder=chiptune",
        *(("batch_size=64", "num_workers=8", "validation.every_samples=6400") if context.on_gpu else ("batch_size=2",)),
        *(() if context.on_gpu else ("total_samples=8", "module_trainer.crop_seconds=2", "validation.samples=4")),
        *(("total_samples=10000000",) if context.on_gpu else ()),
    ]
    command = [sys.executable, "train.py", ROOT / "config" / "train" / "unet_chiptune.json", "--set", *settings]
    started = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None and time.perf_counter() - started < SECONDS:
        time.sleep(1)
        _note_curve(context, model, time.perf_counter() - started)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    _note_curve(context, model, time.perf_counter() - started)


def _note_curve(context: Context, model: Path, seconds: float) -> None:
    """What the run has logged so far."""
    path = model / "runs" / "unet" / "metrics.csv"
    if not path.exists():
        return
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["value"]]
    if not rows:
        return
    curve = {int(row["samples"]): float(row["value"]) for row in rows if row["metric"] == "validation/raw/loss"}
    samples = max(int(row["samples"]) for row in rows)
    context.note(samples=samples, samples_per_second=samples / seconds, curve=curve)
    if curve:
        context.note(last_validation_loss=curve[max(curve)])
