"""The smallest model and dataset that exercise everything: seconds on one core, random weights, noise for music."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from dualdiffusion import audio
from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.data.dataset_folder import latents_file_name
from dualdiffusion.data.latent_crops import LatentsHeader, write_latents
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.files import write_json, write_jsonl
from dualdiffusion.labels import Game, Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import save_module
from tests import commands

ROOT = Path(__file__).resolve().parent.parent
GAMES = ("Castle", "Cave", "Circuit")
SAMPLE_RATE = 8000
FORMAT = {
    "type": "mel_spectrogram.MelSpectrogram",
    "sample_rate": SAMPLE_RATE,
    "hop_length": 64,
    "window_length": 800,
    "n_mels": 32,
    "f_max": 4000,
    "phase_iterations": 3,
}
VAE = {"type": "vae_edm2.VAE", "model_channels": 4, "channel_mult": [1, 1, 2, 2], "num_layers_per_block": 1}
UNET = {
    "type": "unet_edm2.UNet",
    "label_dim": len(GAMES),
    "model_channels": 8,
    "channel_mult": [1, 2],
    "num_layers_per_block": 1,
    "attn_levels": [1],
    "channels_per_head": 8,
    "mlp_multiplier": 1,
    "mlp_groups": 1,
    "dropout": 0.1,
}


def labels() -> Labels:
    return Labels(tuple(Game(index, name, 2) for index, name in enumerate(GAMES)))


def all_untold(conditioning: Conditioning) -> Conditioning:
    """The same shapes with everything untold that guidance may leave untold."""
    return conditioning.without(conditioning.ids)


def make_denoiser(seed: int = 0, *, label_dim: int = len(GAMES), **changes: object) -> Denoiser:
    """A denoiser around the tiny UNet with random weights; `changes` are of the UNet's config."""
    torch.manual_seed(seed)
    backbone = component_from_json("dualdiffusion.models", {**UNET, "label_dim": label_dim, **changes})
    denoiser = Denoiser(Denoiser.Config(backbone=backbone)).eval()
    for name, parameter in denoiser.named_parameters():
        if name.endswith("gain"):  # zero at initialisation, which would hide what conditions do
            torch.nn.init.constant_(parameter, 0.5)
    return denoiser


def make_model(path: Path, *, seed: int = 0, label_dim: int = len(GAMES)) -> ModelFolder:
    """A whole model folder with random weights; of a label_dim of 0, an unconditional one."""
    folder = ModelFolder(path)
    labels().save(folder.labels_path)
    torch.manual_seed(seed)
    format = component_from_json("dualdiffusion.formats", FORMAT).build()
    format.mean.fill_(0.25)
    format.std.fill_(0.2)
    save_module(folder, "format", format)
    save_module(folder, "vae", component_from_json("dualdiffusion.models", VAE).build())
    save_module(folder, "unet", make_denoiser(seed, label_dim=label_dim))
    return folder


def make_dataset(path: Path, *, tracks: int = 3, seconds: float = 4.0) -> Path:
    """A finished dataset of noisy tones, one pitch per game, as dataset_processing would write it."""
    generator = torch.Generator().manual_seed(0)
    records: dict[str, list[dict]] = {"train": [], "validation": []}
    for game_id, game in enumerate(GAMES):
        for track in range(tracks):
            time = torch.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
            tone = 0.2 * torch.sin(2 * torch.pi * 220 * (game_id + 1) * time) * (1 + torch.sin(3 * time + track)) / 2
            samples = tone + 0.01 * torch.randn(2, len(time), generator=generator)
            name = f"audio/{game}/{track}.flac"
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            audio.write_flac(path / name, samples, SAMPLE_RATE)
            record = {"file_name": name, "game": game, "game_id": game_id, "seconds": seconds}
            split = "validation" if track == tracks - 1 else "train"
            records[split].append({**record, "sample_rate": SAMPLE_RATE, "channels": 2})
    for split, lines in records.items():
        write_jsonl(path / f"{split}.jsonl", lines)
    write_json(path / "dataset_info.json", labels().to_json())
    return path


def make_latents(dataset: Path, model: ModelFolder, *, columns: int = 24) -> None:
    """Latents for every track of `make_dataset`, of noise whose mean tells the game."""
    generator = torch.Generator().manual_seed(1)
    fingerprint = model.fingerprint("vae")
    for game_id, game in enumerate(GAMES):
        for path in sorted((dataset / "audio" / game).glob("*.flac")):
            latents = torch.randn(2, 4, 4, columns, generator=generator) * 0.5 + (game_id - 1)
            header = LatentsHeader(fingerprint, model.fingerprint("format"), "", ({}, {}), (columns, columns))
            name = latents_file_name(str(path.relative_to(dataset)), fingerprint)
            write_latents(dataset / name, latents, header)


def write_train_config(path: Path, module: str, model: Path, dataset: Path, **changes: object) -> Path:
    """A <module config> for the tiny model."""
    trainers = {
        "vae": {
            "type": "vae.VAETrainer",
            "format": FORMAT,
            "vae": VAE,
            "loss": {"type": "multiscale_spectral.MultiscaleSpectral", "block_widths": [8, 16]},
            "crop_seconds": 0.512,
            "demo_seconds": 1.0,
            "demos": 1,
        },
        "unet": {
            "type": "unet.UNetTrainer",
            "denoiser": {"backbone": {**UNET, "label_dim": None}},
            "crop_seconds": 1.024,
            "demo_games": 1,
            "demo_seconds": 1.0,
            "demo_steps": 2,
        },
    }
    config = {
        "model": str(model),
        "dataset": str(dataset),
        "module_trainer": trainers[module],
        "total_samples": 48,
        "batch_size": 4,
        "micro_batch_size": 4,
        "num_workers": 0,
        "cpu_threads": 1,
        "optimizer": {"learning_rate": 0.01},
        "log_every_samples": 8,
        "checkpoint": {"every_samples": 16},
        "validation": {"every_samples": 24, "samples": 8, "batch_size": 4},
        **changes,
    }
    path.write_text(json.dumps(config))
    return path


def run(*arguments: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Runs a command of the project, such as run("train.py", config) or run("-m", "sampling", ...).

    `-c CODE` has an interpreter of its own, which has imported nothing.
    """
    if arguments[0] != "-c":
        return commands.run(arguments, timeout=timeout)
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def help_without_torch(module: str, *words: str) -> str:
    """What `python -m MODULE WORDS --help` prints, which must not wait for torch."""
    code = f"import sys, runpy; sys.argv = {[module, *words, '--help']!r}\n"
    code += f"try: runpy.run_module({module!r}, run_name='__main__')\nexcept SystemExit: pass\n"
    result = run("-c", code + "sys.exit('torch' in sys.modules)")
    assert result.returncode == 0, result.stderr
    return result.stdout


def assert_one_line_error(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """The contract of errors that a user can cause: exit code 2, one line, no traceback."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]
