"""`--from`: makes a clip again from the settings stored with it, and says whether it came out the same."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from dualdiffusion import __version__
from dualdiffusion.model.shipped import find_model
from sampling.command.batch import ProgressBar
from sampling.generator import Generator
from sampling.output.clips import machine, output_of, read_settings, same_audio, save
from sampling.output.settings import SUBTYPES


def repeat(arguments: argparse.Namespace) -> int:
    """Writes the clip again, in the same format and at the same level. Always 0: the last line says how it came out.

    Raises:
        UserError: no settings, no such model, an unknown game.
    """
    source: Path = arguments.source
    request, settings = read_settings(source)
    output = output_of(settings, source)
    folder = find_model(arguments.model or Path(settings.get("model") or "."))
    request.check_games(folder.labels(), needed=folder.asks_for_games())
    folder.chosen_ema("unet", request.ema)
    arguments.out.mkdir(parents=True, exist_ok=True)
    generator = Generator.load(folder, arguments.device)
    for note in differences(settings, generator.fingerprint_of(request), generator.vae.device):
        print(f"note: {note}")
    with ProgressBar([1.0]) as bar:
        result = generator.generate(request, on_step=bar.on_step)
        path = save(
            result,
            arguments.out,
            output,
            device=generator.vae.device,
            latents=arguments.latents,
            spectrogram=arguments.spectrogram,
            settings_file=arguments.settings,
        )
        clip = _clip_of(source)
        if clip is None:
            bar.finish(f"{path}: made from {source}, beside which there is no clip to compare with")
        else:
            outcome = "identical to" if same_audio(result, clip, output) else "differs from"
            bar.finish(f"{path}: {outcome} {clip}")
    return 0


def differences(settings: dict[str, Any], fingerprint: str, device: torch.device) -> list[str]:
    """What is not as it was when a clip was made, a line for each; its samples may then differ."""
    notes = []
    if settings.get("fingerprint") != fingerprint:
        notes.append("this is not the model that made the clip, or it has been trained since")
    here = {"software": __version__, "torch": torch.__version__, **machine(device)}
    words = {"software": "version", "torch": "torch", "device": "device", "threads": "number of CPU threads"}
    for key, word in words.items():
        if key in settings and settings[key] != here[key]:
            notes.append(f"{word}: the clip was made with {settings[key]}, this is {here[key]}")
    return notes


def _clip_of(source: Path) -> Path | None:
    """The clip itself, or the one beside a .json."""
    if source.suffix != ".json":
        return source
    beside = (source.with_suffix(f".{format}") for format in SUBTYPES)
    return next((path for path in beside if path.is_file()), None)
