"""Clips on disk: FLAC files that carry the request that made them."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import mutagen
import torch
from mutagen.flac import FLAC
from PIL import Image
from torch import Tensor

from dualdiffusion import __version__, audio
from dualdiffusion.config import validate
from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path, temporary_path, write_tensors
from dualdiffusion.formats.mel_spectrogram import MelSpectrogram
from dualdiffusion.image import spectrogram_pixels
from sampling.generate import Result
from sampling.request import Request

SETTINGS_TAG = "dualdiffusion"
SETTINGS_VERSION = 1
NAME_BYTES = 60  # of each game in a file name; three of them, seed and number fit into the usual limit of 255


def save(result: Result, folder: Path) -> Path:
    """Writes a clip as FLAC into a folder; atomic, and never over another file.

    Returns:
        The path, named after the strongest games and the seed, with a number where that name is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = file_stem(result.request)
    temporary = temporary_path(folder / f"{stem}.flac")
    try:
        audio.write_flac(temporary, result.audio, result.sample_rate, tags=_tags(result))
        return _publish(temporary, folder, stem)
    finally:
        temporary.unlink(missing_ok=True)


def save_latents(result: Result, path: Path) -> Path:
    """Writes a clip's normalised latents (Z, F, T) beside its FLAC `path`, with the same settings in the header."""
    beside = path.with_suffix(".safetensors")
    write_tensors(beside, {"latents": result.latents.contiguous()}, {SETTINGS_TAG: json.dumps(settings_of(result))})
    return beside


def save_spectrogram(result: Result, path: Path) -> Path:
    """Draws a clip's spectrogram beside its FLAC `path`."""
    beside = path.with_suffix(".png")
    with atomic_path(beside) as temporary:
        spectrogram_image(result.audio, result.sample_rate).save(temporary)
    return beside


def _publish(temporary: Path, folder: Path, stem: str) -> Path:
    number = 1
    while True:
        path = folder / (f"{stem}.flac" if number == 1 else f"{stem} ({number}).flac")
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # unlike a rename, fails where the name is taken
            return path
        number += 1


def file_stem(request: Request) -> str:
    """A file name without suffix that says what a clip is of."""
    games = sorted(request.games, key=lambda name: -abs(request.games[name]))[:3]
    words = [re.sub(r"[^\w-]+", "_", name).strip("_").encode()[:NAME_BYTES].decode(errors="ignore") for name in games]
    return f"{'+'.join(word or 'game' for word in words)}-seed{request.seed}"


def settings_of(result: Result) -> dict[str, Any]:
    """Everything that is needed to make a clip again."""
    return {
        "version": SETTINGS_VERSION,
        "request": result.request.to_json(),
        "model": result.model,
        "fingerprint": result.fingerprint,
        "software": __version__,
        "torch": torch.__version__,
    }


def _tags(result: Result) -> dict[str, str]:
    request = result.request
    mix = ", ".join(f"{name} {weight:g}" for name, weight in request.games.items())
    return {
        "title": f"{mix} (seed {request.seed})",
        "artist": "Dual Diffusion",
        SETTINGS_TAG: json.dumps(settings_of(result), sort_keys=True),
    }


def read_settings(path: Path) -> tuple[Request, dict[str, Any]]:
    """The request in a clip's tags, and all settings stored with it.

    Raises:
        UserError: not a FLAC file, or one without settings, or with settings that do not fit.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        text = (FLAC(path).tags or {}).get(SETTINGS_TAG, [""])[0]
    except mutagen.MutagenError as error:
        raise UserError(f"{path}: is not a FLAC file ({error})") from None
    try:
        settings = json.loads(text)
        request = settings["request"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: has no settings of this program in its tags") from None
    return validate(Request, request, str(path)), settings


def same_audio(result: Result, path: Path) -> bool:
    """Whether a file holds exactly the samples of `result`."""
    stored, sample_rate = audio.read(path)
    return sample_rate == result.sample_rate and torch.equal(stored, quantized(result.audio))


def quantized(samples: Tensor) -> Tensor:
    """Samples as a 16-bit file gives them back."""
    return (samples.clamp(-1, 1) * 32768).round().clamp(-32768, 32767) / 32768


def spectrogram_image(samples: Tensor, sample_rate: int) -> Image.Image:
    """A picture of audio (C, N): 100 columns a second, 128 mel bands, low frequencies below."""
    format = MelSpectrogram(
        MelSpectrogram.Config(
            sample_rate=sample_rate,
            num_channels=len(samples),
            hop_length=sample_rate // 100,
            window_length=sample_rate // 10,
            n_mels=128,
            f_max=sample_rate / 2,
        )
    )
    return Image.fromarray(spectrogram_pixels(format.encode(samples[None])[0]))
