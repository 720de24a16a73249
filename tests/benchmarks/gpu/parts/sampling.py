"""Sampling with the base networks (random weights, which cost the same): one clip to its FLAC, and many at a time."""

from __future__ import annotations

from typing import Any

from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.labels import Game, Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import save_module
from sampling.generator import Generator
from sampling.output.clips import save
from sampling.request import Request
from tests.benchmarks.gpu.context import Context
from tests.benchmarks.memory import make_run
from train.startup.channels import with_channels
from train.startup.setup import with_label_dim

ORDER, LIMIT = 4, 80
GOALS = {
    "seconds_for_33_s": ("33 s of music, 100 guided steps, to FLAC: seconds", "at most", 3.0),
    "batched_times_real_time": ("16 clips together, times real time", "at least", 300),
    "peak_gib": ("peak memory, GiB", "at most", 22.0),
}


def measure(context: Context) -> None:
    """Half precision on a GPU, as the page asks for there."""
    generator = Generator.load(random_model(context), context.device)
    seconds, steps, clips = (33.0, 100, 16) if context.on_gpu else (1.0, 2, 2)
    settings: dict[str, Any] = {
        "games": {"Castle": 1.0},
        "seconds": seconds,
        "steps": steps,
        "cfg_scale": 2.0,
        "sampler": "euler",
        "precision": "bfloat16" if context.on_gpu else "float32",
    }
    generator.generate(Request(**settings, seed=0))  # allocates, and chooses kernels
    context.forget_peak()

    def one() -> None:
        save(generator.generate(Request(**settings, seed=1)), context.folder / "clips", device=context.device)

    taken = context.median_seconds(one, calls=2, warm_up=0)
    context.note(seconds_for_33_s=taken, seconds=seconds, steps=steps)
    requests = [Request(**settings, seed=seed) for seed in range(clips)]
    taken = context.seconds(lambda: list(generator.generate_many(requests)))
    context.note(batched_times_real_time=clips * seconds / taken, peak_gib=context.peak_gib())


def random_model(context: Context) -> ModelFolder:
    """A model folder of the base preset's networks with their initial weights; of the tiny one on a CPU."""
    preset = "base" if context.on_gpu else "tiny"
    model = ModelFolder(context.folder / "random")
    vae = make_run(context.folder / "vae", "vae", preset, []).module_trainer.config
    unet = make_run(context.folder / "unet", "unet", preset, []).module_trainer.config
    Labels((Game(0, "Castle", 2), Game(1, "Cave", 2))).save(model.labels_path)
    save_module(model, "format", vae.format.build())
    autoencoder = vae.vae.cls(vae.vae.config.model_copy(update={"label_dim": 0}))
    save_module(model, "vae", autoencoder)
    backbone = with_channels(with_label_dim(unet.denoiser.backbone, model.labels()), autoencoder.latent_channels)
    denoiser = unet.denoiser.model_copy(update={"backbone": backbone})
    save_module(model, "unet", Denoiser(denoiser))
    return model
