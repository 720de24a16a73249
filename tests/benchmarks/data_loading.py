"""Reading of training crops: as slices against whole files, and against what the training step consumes.

    python -m tests.benchmarks.data_loading [--tracks 24] [--preset tiny] [--need SAMPLES_PER_SECOND] [--json OUT]

Latents of invented 3-minute tracks (8 variations of 4 x 32 x 2812, as the base model's) are written to a temporary
folder, and the same random crops of 512 columns (33 s) are read from them as slices (what training does), from whole
files, and from files that safetensors maps into memory, which reads what is touched. For audio, crops of 4 s are read
from 3-minute FLAC files as slices and from whole files. "Warm" files are in the page cache; "cold" ones have just been
dropped from it, which the kernel does as far as it sees fit, so that the disk is read. The ways take turns, and medians
count. ratio_to_whole_files is that of warm latents.

Then the real loader reads the latents with 0, 1 and 2 worker processes. What training needs is measured by steps of
--preset on this machine, batch 2 of 4 x 32 x 512, or given by --need: the samples per second of a GPU, as
`python -m tests.benchmarks.training` prints them. ratio_to_training_need is the loader's speed with one worker over it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load, load_file
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.data.audio_crops import AudioCrops
from dualdiffusion.data.dataset_folder import DatasetFolder, Track, latents_file_name
from dualdiffusion.data.latent_crops import LatentCrops, LatentsHeader, write_latents
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from tests.benchmarks.training.networks import PRESETS
from tests.benchmarks.training.step import Case, make_step, seconds_of
from train.data.loader import build_loader

SECONDS = 180.0
COLUMNS = 2812  # of 64 ms, in 180 s
CROP = 512
VARIATIONS = 8
BATCH = 8
SAMPLE_RATE = 32000
AUDIO_CROP_SECONDS = 4.096
AUDIO_TRACKS = 3


def make_latents(folder: Path, tracks: int, columns: int, crop: int) -> LatentCrops:
    """Crops of so many columns of invented latents in `folder`."""
    records, generator = [], torch.Generator().manual_seed(0)
    for number in range(tracks):
        name = f"audio/game/{number}.flac"
        latents = torch.randn(VARIATIONS, 4, 32, columns, generator=generator)
        variations = tuple({"offset": i, "pitch": 0.0, "mirrored": False} for i in range(VARIATIONS))
        header = LatentsHeader("vae", "format", "audio", variations, (columns,) * VARIATIONS)
        write_latents(folder / latents_file_name(name, "vae"), latents, header)
        records.append(Track(folder / name, name, "game", 0, SECONDS, SAMPLE_RATE, 2))
    return LatentCrops(DatasetFolder(folder), records, crop, vae_fingerprint="vae", seed=0)


def slices(data: LatentCrops, index: int) -> Tensor:
    """The crop as training reads it."""
    return data[index].data


def whole_files(data: LatentCrops, index: int) -> Tensor:
    """The crop cut out of the whole file in memory."""
    item, variation, start = data.place(index)
    return load(data.paths[item].read_bytes())["latents"][variation, :, :, start : start + data.columns].float()


def mapped_files(data: LatentCrops, index: int) -> Tensor:
    """The crop cut out of the file as safetensors maps it."""
    item, variation, start = data.place(index)
    return load_file(data.paths[item])["latents"][variation, :, :, start : start + data.columns].float()


WAYS = {"slices": slices, "whole files": whole_files, "mapped files": mapped_files}


def drop_from_cache(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def measure_ways(
    ways: dict[str, Callable[[int], Any]], path_of: Callable[[int], Path], samples: int
) -> dict[str, float]:
    """Median milliseconds of a crop, by way and state of the page cache."""
    taken: dict[str, list[float]] = {f"{way}, {state}": [] for way in ways for state in ("warm", "cold")}
    for index in range(samples):
        for way, read in ways.items():
            drop_from_cache(path_of(index))
            taken[f"{way}, cold"].append(seconds_of(partial(read, index)))
        path_of(index).read_bytes()
        for way, read in ways.items():
            read(index)  # so that no way profits from the one before it, of which the processor still holds the data
            taken[f"{way}, warm"].append(seconds_of(partial(read, index)))
    return {way: 1000 * median(values) for way, values in taken.items()}


def measure_reading(data: LatentCrops, samples: int) -> dict[str, Any]:
    """The ways for latents, and how much faster slices are."""
    ways = {name: partial(read, data) for name, read in WAYS.items()}
    milliseconds = measure_ways(ways, lambda index: data.paths[data.place(index)[0]], samples)
    return {
        "milliseconds": milliseconds,
        "ratio_to_whole_files": milliseconds["whole files, warm"] / milliseconds["slices, warm"],
        "ratio_to_whole_files_cold": milliseconds["whole files, cold"] / milliseconds["slices, cold"],
        "ratio_to_mapped_files": milliseconds["mapped files, warm"] / milliseconds["slices, warm"],
        "ratio_to_mapped_files_cold": milliseconds["mapped files, cold"] / milliseconds["slices, cold"],
    }


def measure_audio(folder: Path) -> dict[str, Any]:
    """The ways for audio."""
    tracks = []
    for number in range(AUDIO_TRACKS):
        path = folder / f"{number}.flac"
        noise = 0.1 * torch.randn(2, int(SECONDS * SAMPLE_RATE), generator=torch.Generator().manual_seed(number))
        audio.write_flac(path, noise, SAMPLE_RATE)
        tracks.append(Track(path, path.name, "game", 0, SECONDS, SAMPLE_RATE, 2))
    length = int(AUDIO_CROP_SECONDS * SAMPLE_RATE)
    data = AudioCrops(tracks, length, sample_rate=SAMPLE_RATE, channels=2, seed=0)
    order = data.order
    ways = {"slices": data.__getitem__, "whole files": lambda index: audio.read(tracks[order.track_of(index)].path)}
    milliseconds = measure_ways(ways, lambda index: tracks[order.track_of(index)].path, 2 * AUDIO_TRACKS)
    return {
        "audio_milliseconds": milliseconds,
        "audio_ratio_to_whole_files": milliseconds["whole files, warm"] / milliseconds["slices, warm"],
    }


def loader_speed(data: LatentCrops, workers: int, seconds: float = 3.0) -> float:
    """Samples per second of the real loader, from its second batch on."""
    settings = {"batch_size": BATCH, "micro_batch_size": BATCH, "rank": 0, "processes": 1, "workers": workers}
    batches = iter(build_loader(data, first=0, **settings))
    for _ in range(2 * workers + 1):  # what workers have read in advance does not count
        next(batches)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        count += len(next(batches).data)
    return count / (time.perf_counter() - started)


def training_need(preset: str, steps: int = 3) -> float:
    """Samples per second that the training step consumes on this machine."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    case = Case(preset, batch=2, columns=CROP, device=device, compile=False)
    step = make_step("ours", case)
    step()
    return case.batch / median(seconds_of(step) for _ in range(steps))


def print_results(console: Console, result: dict[str, Any]) -> None:
    """Tables, and the ratios with their goals."""
    table = Table("a crop, ms", "slices", "whole files", "mapped files")
    for label, key in (("latents", "milliseconds"), ("audio", "audio_milliseconds")):
        for state in ("warm", "cold"):
            cells = [result[key].get(f"{way}, {state}") for way in WAYS]
            table.add_row(f"{label}, {state}", *("" if cell is None else f"{cell:.2f}" for cell in cells))
    console.print(table)
    console.print(
        f"slices against whole files: {result['ratio_to_whole_files']:.1f} times as fast (goal: 10), cold "
        f"{result['ratio_to_whole_files_cold']:.1f}, audio {result['audio_ratio_to_whole_files']:.1f}"
    )
    speeds = ", ".join(f"{workers}: {speed:,.0f}" for workers, speed in result["loader_samples_per_second"].items())
    console.print(f"the loader, samples per second by worker processes: {speeds}")
    console.print(
        f"training needs {result['training_need']:,.2f} samples per second ({result['need_of']}): one worker "
        f"gives {result['ratio_to_training_need']:,.0f} times that"
    )


def main() -> int:
    """Prints figures and, where asked, writes them as JSON."""
    parser = CommandParser(prog="python -m tests.benchmarks.data_loading", description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=24, help="3-minute tracks, 6 MB each (default 24)")
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="whose training is timed (default tiny)")
    parser.add_argument("--need", type=float, help="samples per second that training needs, instead of timing it")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    if options.tracks < 1:
        raise UserError(f"--tracks: must be 1 or more, not {options.tracks}")
    if options.need is not None and not options.need > 0:
        raise UserError(f"--need: must be more than 0, not {options.need}")
    with tempfile.TemporaryDirectory(prefix="dualdiffusion-") as folder:
        data = make_latents(Path(folder), options.tracks, COLUMNS, CROP)
        result = measure_reading(data, samples=2 * options.tracks)
        result |= measure_audio(Path(folder))
        result["loader_samples_per_second"] = {str(workers): loader_speed(data, workers) for workers in (0, 1, 2)}
    result["need_of"] = "as given" if options.need else f"{options.preset} preset on this machine"
    result["training_need"] = options.need or training_need(options.preset)
    result["ratio_to_training_need"] = result["loader_samples_per_second"]["1"] / result["training_need"]
    print_results(Console(soft_wrap=True), result)
    if options.json:
        write_json(options.json, {**result, "tracks": options.tracks})
    return 0


if __name__ == "__main__":
    run_command(main)
