"""What both networks have learned after equal times: the validation loss of averaged weights.

Both are trained by the real command, under the same denoiser, on the same latents, with Muon. Each first looks for its
learning rate: as many are tried for both, each twice the one before, with a seed of their own. The best one is then
trained with other seeds. How many samples fit into the time is found out beforehand, by updates of the real trainer
that take turns, so that what else the machine does meanwhile changes no figure. Schedules end with the training.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from dualdiffusion.component import component_from_json
from dualdiffusion.config import load_config, read_config
from dualdiffusion.files import atomic_path, read_json, write_json
from dualdiffusion.model.module import load_module
from dualdiffusion.model.shipped import find_model
from dualdiffusion.models.unet_edm2 import UNet
from dualdiffusion.pictures.chart import Line, line_chart
from tests.benchmarks.learning import EMA, keep_to, mean_curve, time_to, train_with
from tests.benchmarks.steps import RealSteps
from tests.benchmarks.training.networks import NETWORKS, ROOT, nearest_width, parameters, peer_settings
from train.train_config import TrainConfig

DEFAULTS = {"cpu": ("tiny", 8, 4.096), "cuda": ("base", 32, 8.192)}
"""Preset, batch and seconds of a crop."""
RATES = {"ours": (0.08, 0.16, 0.32), "peer": (0.004, 0.008, 0.016)}
"""Learning rates that are tried."""
SEED_OF_TRIES = 100
WARM_UP, TIMED = 3, 60
NAMES = {"ours": "ours", "peer": "UNet2DModel of diffusers"}


@dataclass(frozen=True)
class Race:
    """What is trained on what, and for how long.

    Attributes:
        seconds: of each training; its start and its validations do not count.
        model: with the VAE.
        dataset: with latents of that VAE.
        work: folder of the trainings; what it has is not trained again.
        points: validations of each training.
    """

    preset: str
    seconds: float
    seeds: int
    model: Path
    dataset: Path
    work: Path
    batch: int
    crop_seconds: float
    points: int
    validation_samples: int


def networks(race: Race) -> dict[str, dict[str, Any]]:
    """What a config says of each, the peer's with the width that gives our parameter count most nearly."""
    ours = read_config(ROOT / "config" / "models" / f"unet_{race.preset}.json")
    model = find_model(race.model)
    told = {"label_dim": len(model.labels().names)}
    channels = load_module(model, "vae").latent_channels

    def build(config: dict[str, Any]) -> nn.Module:
        return component_from_json("dualdiffusion.models", {**config, **told}).build()

    with torch.device("meta"):
        network = build({**ours, "in_channels": channels})
    assert isinstance(network, UNet)
    plan = network.config

    def peer(width: int) -> dict[str, Any]:
        settings = {**peer_settings(plan, width), "resnet_time_scale_shift": "scale_shift"}
        return {"type": "diffusers_model.DiffusersModel", "settings": settings}

    width = nearest_width(parameters(network), lambda width: build({**peer(width), "channels": channels}))
    return {"ours": ours, "peer": peer(width)}


def write_configs(race: Race) -> dict[str, Path]:
    """The training config of each network: the preset of ours, with another network and what all trainings share."""
    shared = {
        "extends": str(ROOT / "config" / "train" / f"unet_{race.preset}.json"),
        "dataset": str(race.dataset),
        "batch_size": race.batch,
        "micro_batch_size": None,
        "num_workers": 0 if torch.get_num_threads() == 1 else 1,
        "ema_stds": [0.1],
        "checkpoint": {"every_samples": 1_000_000_000},
        "demo_every_samples": None,
    }
    # What is no layer of the networks has the same rates in both, those of their tiny presets.
    presets = {"ours": "unet_tiny", "peer": "diffusers_tiny"}
    optimizers = {name: read_config(ROOT / "config/train" / f"{preset}.json") for name, preset in presets.items()}
    paths = {}
    for name, network in networks(race).items():
        trainer = {"denoiser": {"backbone": network}, "crop_seconds": race.crop_seconds, "autoencoder": str(race.model)}
        own = {
            "description": f"{NAMES[name]}, against time",
            "model": str(race.work / name),
            "module_trainer": trainer,
            "optimizer": {**optimizers[name]["optimizer"], "type": "Muon"},
        }
        paths[name] = race.work / f"{name}.json"
        write_json(paths[name], {**shared, **own})
    return paths


def costs(race: Race, configs: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Seconds of a sample and parameters of each network, or what was found earlier: trainings hang on it."""
    path = race.work / "costs.json"
    if path.exists():
        return read_json(path)
    print("timing both networks", flush=True)
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        steps = {}
        for name, config in configs.items():
            changes = [f"model={folder}/{name}", "module_trainer.demo_games=0", "ema_snapshots.stds=[]"]
            steps[name] = RealSteps(load_config(TrainConfig, config, changes))
        taken: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(WARM_UP + TIMED):
            for name, own in steps.items():
                began = time.perf_counter()
                own.next()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if turn >= WARM_UP:
                    taken[name].append(time.perf_counter() - began)
        found = {
            name: {
                "seconds_per_sample": statistics.median(taken[name]) / race.batch,
                "parameters": parameters(own.trainer.module_trainer.module),
            }
            for name, own in steps.items()
        }
    write_json(path, found)
    return found


def run(race: Race) -> dict[str, Any]:
    """Trains what is missing; the figures, with "time_to_peer_loss_ratio".

    Raises:
        UserError: the folder has trainings of something else, or a training failed.
    """
    race.work.mkdir(parents=True, exist_ok=True)
    # More seeds may be asked for later.
    keep_to(race.work, "race.json", {name: value for name, value in vars(race).items() if name != "seeds"})
    configs = write_configs(race)
    cost = costs(race, configs)
    rows = {name: _learn(name, configs[name], race, cost[name]) for name in NETWORKS}
    ours, peer = rows["ours"], rows["peer"]
    reached = time_to(peer["validation"], ours["curve"], ours["seconds_per_sample"])
    ratio = None if reached is None else reached / (peer["samples"] * peer["seconds_per_sample"])
    return {"time_to_peer_loss_ratio": ratio, "learning": rows}


def _learn(name: str, config: Path, race: Race, cost: dict[str, float]) -> dict[str, Any]:
    """A network's trainings at each of its rates, and at the best one with each seed."""
    samples = max(1, int(race.seconds / cost["seconds_per_sample"] / race.batch)) * race.batch
    of_race = ("model", "dataset", "work", "points", "validation_samples")
    options = Namespace(config=config, samples=samples, **{of: getattr(race, of) for of in of_race})
    schedule = f'{{"type": "cosine", "warmup_samples": {samples // 10}, "reference_samples": {samples}}}'

    def curve(rate: float, seed: int) -> dict[int, float]:
        changes = [f"optimizer.learning_rate={rate:g}", f"schedule={schedule}"]
        return train_with(f"{name}-{rate:g}", changes, seed, options)[EMA]

    tries = {rate: last(curve(rate, SEED_OF_TRIES)) for rate in RATES[name]}
    rate = min(tries, key=lambda rate: tries[rate])
    of_seeds = [curve(rate, seed) for seed in range(race.seeds)]
    by_seed = [last(of) for of in of_seeds]
    return {
        **cost,
        "samples": samples,
        "tries": {f"{tried:g}": loss for tried, loss in tries.items()},
        "rate": rate,
        "validation": statistics.fmean(by_seed),
        "by_seed": by_seed,
        "curve": mean_curve(of_seeds),
    }


def last(curve: dict[int, float]) -> float:
    """The loss at the end."""
    return curve[max(curve)]


def draw(rows: dict[str, Any], preset: str, path: Path) -> None:
    """The picture: validation loss against seconds of training, the peer dashed."""
    lines = [
        Line(
            NAMES[name],
            [samples * of["seconds_per_sample"] for samples in of["curve"]],
            list(of["curve"].values()),
            number,
            name == "peer",
        )
        for number, (name, of) in enumerate(rows.items())
    ]
    title = f"Equal parameters ({preset}), equal time, each at its best rate"
    with atomic_path(path) as temporary:
        chart = line_chart(lines, title=title, x_label="seconds", y_label="validation loss", log_y=True)
        chart.save(temporary, format="PNG")


def show(result: dict[str, Any], seconds: float, console: Console) -> None:
    """The table, and how soon ours has the peer's loss."""
    table = Table(f"{seconds:g} s of training", "parameters", "samples", "s / sample", "rates tried", "loss", "by seed")
    for name, of in result["learning"].items():
        tries = ", ".join(f"{rate}: {loss:.4f}" for rate, loss in of["tries"].items())
        by_seed = ", ".join(f"{loss:.4f}" for loss in of["by_seed"])
        cells = (f"{of['parameters'] / 1e6:.2f} M", f"{of['samples']:,}", f"{of['seconds_per_sample']:.4f}", tries)
        table.add_row(NAMES[name], *cells, f"{of['validation']:.4f}", by_seed)
    console.print(table)
    ratio = result["time_to_peer_loss_ratio"]
    reached = "never" if ratio is None else f"after {ratio:.2f} of its time"
    console.print(f"ours has the peer's last loss: {reached} (goal: 0.5)")
