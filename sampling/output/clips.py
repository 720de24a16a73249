"""Clips on disk: audio files that carry the request that made them."""

from __future__ import annotations

import contextlib
import json
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dualdiffusion import __version__, audio
from dualdiffusion.config import validate
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, temporary_path, write_json, write_tensors
from dualdiffusion.machine.storage import give_name, replace, sync_file, sync_folder
from dualdiffusion.machine.system import processor_description
from dualdiffusion.pictures.audio import audio_spectrogram
from dualdiffusion.pictures.spectrogram import spectrogram_pixels
from sampling.generator import Result
from sampling.output.containers import SETTINGS_TAG, decode, encode, read_tag
from sampling.output.loudness import levelled
from sampling.output.settings import SUBTYPES, OutputSettings
from sampling.request import Request

SETTINGS_VERSION = 1
NAME_BYTES = 60  # of each game in a file name; three of them, seed and number fit into the usual limit of 255
STEM_BYTES = 225
# A clip and what is written beside it. A name is taken if any of these is there.
SUFFIXES = (".png", ".safetensors", ".json", *(f".{format}" for format in SUBTYPES))


def save(
    result: Result,
    folder: Path,
    output: OutputSettings | None = None,
    *,
    name: str | None = None,
    device: torch.device | None = None,
    latents: bool = False,
    spectrogram: bool = False,
    settings_file: bool = False,
) -> Path:
    """Writes a clip into a folder; atomic, and never over another file.

    Args:
        output: format and level; None for the defaults.
        name: of the file, without suffix; None for one of the strongest games and the seed.
        device: on which the clip was made, to be stored with it.
        latents: also write the normalised latents (Z, F, T), as .safetensors, with the same settings in the header.
        spectrogram: also draw the spectrogram, as .png.
        settings_file: also write the settings, as .json.

    Returns:
        The path, with a number in its name where that name is taken.
    """
    output = output or OutputSettings()
    folder.mkdir(parents=True, exist_ok=True)
    stem = name or file_stem(result.request)
    settings = settings_of(result, output, device)
    samples = levelled(result.audio, result.sample_rate, output)
    with _temporaries(folder / stem, f".{output.format}") as temporaries:
        # The clip itself comes last: where it is, all that belongs to it is.
        if latents:
            text = {SETTINGS_TAG: json.dumps(settings)}
            write_tensors(temporaries[".safetensors"], {"latents": result.latents.contiguous()}, text)
        if spectrogram:
            spectrogram_image(samples, result.sample_rate).save(temporaries[".png"])
            sync_file(temporaries[".png"])
        if settings_file:
            write_json(temporaries[".json"], settings)
        clip = temporaries[f".{output.format}"]
        clip.write_bytes(encode(samples, result.sample_rate, output, _tags(result.request, settings)))
        sync_file(clip)
        return _publish({suffix: path for suffix, path in temporaries.items() if path.exists()}, folder, stem)


@contextlib.contextmanager
def _temporaries(path: Path, clip_suffix: str) -> Iterator[dict[str, Path]]:
    """Temporary paths by suffix, the clip's last; what is still there in the end is removed."""
    # The last of the name may be too much for the suffix that a temporary gets; its number tells names apart.
    suffixes = (".png", ".safetensors", ".json", clip_suffix)
    temporaries = {suffix: temporary_path(path.with_name(path.name + suffix)) for suffix in suffixes}
    try:
        yield temporaries
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def _publish(temporaries: dict[str, Path], folder: Path, stem: str) -> Path:
    """Gives all files the first name of which no file is there yet; returns the last."""
    number = 1
    while True:
        name = stem if number == 1 else f"{stem} ({number})"
        number += 1
        if any((folder / f"{name}{suffix}").exists() for suffix in SUFFIXES):
            continue
        named: list[tuple[Path, Path]] = []
        try:
            for suffix, temporary in temporaries.items():
                path = folder / f"{name}{suffix}"
                give_name(temporary, path)
                named.append((temporary, path))
        except BaseException as error:
            for temporary, path in named:
                path.unlink() if temporary.exists() else replace(path, temporary)
            if isinstance(error, FileExistsError):
                continue
            raise
        sync_folder(folder)
        return path


def file_stem(request: Request, differences: str = "") -> str:
    """A file name without suffix that says what a clip is of, and with `differences` what tells it from others."""
    games = sorted(request.games, key=lambda name: -abs(request.games[name]))[:3]
    words = [re.sub(r"[^\w-]+", "_", name).strip("_").encode()[:NAME_BYTES].decode(errors="ignore") for name in games]
    stem = f"{'+'.join(word or 'game' for word in words) or 'clip'}-seed{request.seed}"
    more = re.sub(r"[^\w.=+-]+", "_", f"-{differences}") if differences else ""
    return (stem + more).encode()[:STEM_BYTES].decode(errors="ignore")


def settings_of(result: Result, output: OutputSettings, device: torch.device | None = None) -> dict[str, Any]:
    """Everything that is needed to make a clip again, and what its last bits depend on."""
    return {
        "version": SETTINGS_VERSION,
        "request": result.request.to_json(),
        "output": output.to_json(),
        "model": result.model,
        "fingerprint": result.fingerprint,
        "software": __version__,
        "torch": torch.__version__,
        **(machine(device) if device else {}),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """The device's name, and on a CPU the number of threads, which the last bits of sums depend on."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "threads": None}
    return {"device": _processor() if device.type == "cpu" else str(device), "threads": torch.get_num_threads()}


def _processor() -> str:
    if found := re.search(r"^model name\s*:\s*(.+)$", processor_description(), re.MULTILINE):
        return found[1].strip()
    return platform.processor() or platform.machine()


def _tags(request: Request, settings: dict[str, Any]) -> dict[str, str]:
    mix = ", ".join(f"{name} {weight:g}" for name, weight in request.games.items()) or "no game"
    return {
        "title": f"{mix} (seed {request.seed})",
        "artist": "Dual Diffusion",
        SETTINGS_TAG: json.dumps(settings, sort_keys=True),
    }


def read_settings(path: Path) -> tuple[Request, dict[str, Any]]:
    """The request that made a clip, and all settings stored with it.

    They stand in the clip's tags; where a program has removed these, in a .json beside it, which may also be given.

    Raises:
        UserError: no file of a known format, or one without settings, or with settings that do not fit.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    settings = read_json(path) if path.suffix == ".json" else _tagged_settings(path)
    where = "" if path.suffix == ".json" else " in its tags or in a .json beside it"
    if not isinstance(settings, dict) or "request" not in settings:
        raise UserError(f"{path}: has no settings of this program{where}")
    if settings.get("version") != SETTINGS_VERSION:
        raise UserError(
            f"{path}: has settings of version {settings.get('version')}; this software reads version {SETTINGS_VERSION}"
        )
    return validate(Request, settings["request"], str(path)), settings


def _tagged_settings(path: Path) -> Any:
    try:
        text = read_tag(path, SETTINGS_TAG)
    except ValueError as error:
        raise UserError(f"{path}: is not a {', '.join(SUBTYPES)} or json file ({error})") from None
    if text is None:
        beside = path.with_suffix(".json")
        return read_json(beside) if beside.is_file() else None
    try:
        return json.loads(text)
    except ValueError:
        return None


def output_of(settings: dict[str, Any], source: Path) -> OutputSettings:
    """How a clip was written; clips of older versions are 16-bit FLAC.

    Raises:
        UserError: the settings do not fit.
    """
    return validate(OutputSettings, settings.get("output", {}), str(source))


def same_audio(result: Result, path: Path, output: OutputSettings | None = None) -> bool:
    """Whether a file holds exactly the samples that `result` gives when it is written in the same way."""
    output = output or OutputSettings()
    made, _ = decode(encode(levelled(result.audio, result.sample_rate, output), result.sample_rate, output))
    stored, sample_rate = audio.read(path)
    return sample_rate == result.sample_rate and torch.equal(stored, made)


def spectrogram_image(samples: Tensor, sample_rate: int) -> Image.Image:
    """A picture of audio (C, N): 100 columns a second, at least one, 128 mel bands, low frequencies below."""
    return Image.fromarray(spectrogram_pixels(audio_spectrogram(samples, sample_rate)))
