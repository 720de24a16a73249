"""The tasks of sampling on a real model: seams of loops and of regions, level over minutes, what previews cost.

    python -m tests.benchmarks.sampling_tasks --model models/demo [--seconds 180] [--clips 4] [--steps 15] [--json FILE]

- loops: the median spectral flux where windows reach over the seam of the loop joined to itself, over the median
  elsewhere; and the same of clips of this length that were cut off. 1: nothing tells the seam.
- in-painting: the largest step between samples in a zone around each border of a region, over the median of the largest
  steps in such zones inside the region; and whether the rest of the source came back to the sample.
- long: loudness of the thirds of a long clip, and their largest difference in dB; time and memory.
- preview: seconds of a preview of the long clip, and of decoding it whole.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.codec import Codec
from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.files import write_json
from dualdiffusion.model.shipped import find_model
from sampling.generator import Generator
from sampling.preview import Preview
from sampling.request import Request, Source
from sampling.tasks.known_regions import FADE_SECONDS


def flux(samples: Tensor, size: int, hop: int) -> Tensor:
    """Spectral flux of audio (C, N) joined to itself, from half a window before its first sample on: (N // hop,)."""
    count = samples.shape[-1] // hop * hop
    joined = torch.cat([samples[:, -size // 2 :], samples[:, : count + size // 2]], dim=-1).mean(dim=0)
    magnitudes = torch.fft.rfft(joined.unfold(-1, size, hop) * torch.hann_window(size)).abs()
    return magnitudes.diff(dim=0).abs().sum(dim=-1)


def seam_ratio(clips: list[Tensor], size: int = 256, hop: int = 32) -> float:
    """Median spectral flux where windows reach over the seams of some clips, against that elsewhere."""
    values, beside = [flux(clip, size, hop) for clip in clips], size // 2 // hop
    seam = torch.cat([torch.cat([value[:beside], value[-beside:]]) for value in values])
    return float(seam.median() / torch.cat([value[beside:-beside] for value in values]).median())


def border_steps(samples: Tensor, start: int, end: int, fade: int) -> tuple[list[float], list[float]]:
    """Largest steps between samples in the zones of the two cross-fades beside a region, and in equal zones inside."""
    zone, steps = fade + 16, samples.diff().abs()
    beside = [float(steps[:, first : first + zone].max()) for first in (start - fade - 8, end - 8)]
    return beside, steps[:, start:end].unfold(-1, zone, zone).amax((0, 2)).tolist()


def level_drift(samples: Tensor, sample_rate: int) -> tuple[float, list[float]]:
    """Largest difference in loudness between the thirds of a clip, in dB, and their loudness in LUFS."""
    levels = [audio.loudness_lufs(third, sample_rate) for third in samples.chunk(3, dim=-1)]
    return max(levels) - min(levels), levels


def measure_loops(generator: Generator, request: Request, clips: int) -> dict[str, float]:
    figures = {}
    for name, loop in (("loop", True), ("cut", False)):
        requests = [request.model_copy(update={"seed": seed, "loop": loop}) for seed in range(clips)]
        made = [result.audio for result in generator.generate_many(requests)]
        figures[f"{name}_seam_ratio"] = seam_ratio(made, size=1024, hop=128)
    return figures


def measure_inpainting(generator: Generator, request: Request, clips: int) -> dict[str, float]:
    beside, inside, exact = [], [], True
    fade, rate = round(FADE_SECONDS * generator.sample_rate), generator.sample_rate
    start, end = (round(share * request.seconds, 2) for share in (0.4, 0.65))
    first, last = round(start * rate), round(end * rate)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(clips):
            path = Path(folder) / f"{seed}.flac"
            audio.write_flac(path, generator.generate(request.model_copy(update={"seed": seed})).audio, rate)
            changes = {"seed": seed + 100, "source": Source(path=str(path)), "inpaint": ((start, end),)}
            made, source = generator.generate(request.model_copy(update=changes)).audio, audio.read(path)[0]
            kept = [slice(0, first - fade), slice(last + fade, None)]
            exact = exact and all(torch.equal(made[:, part], source[:, part]) for part in kept)
            edges, zones = border_steps(made, first, last, fade)
            beside += edges
            inside += zones
    return {"border_ratio": median(beside) / median(inside), "exact": float(exact)}


def measure_long(generator: Generator, request: Request) -> dict[str, float]:
    began = time.perf_counter()
    result = generator.generate(request)
    took = time.perf_counter() - began
    drift, levels = level_drift(result.audio, generator.sample_rate)
    codec = Codec(generator.format, generator.vae, Conditioning())
    latents = result.latents[None].to(generator.vae.device)
    with torch.inference_mode():
        whole = _seconds(lambda: codec.decode(latents))
        preview = _seconds(lambda: Preview(codec).picture(latents))
    thirds = {f"third_{k + 1}_lufs": level for k, level in enumerate(levels)}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "drift_db": drift,
        **thirds,
        "seconds_to_make": took,
        "peak_memory_gib": memory,
        "preview_seconds": preview,
        "whole_decode_seconds": whole,
    }


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    """Measures and prints."""
    parser = CommandParser(prog="python -m tests.benchmarks.sampling_tasks", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/demo"))
    parser.add_argument("--game", help="default: the model's first")
    parser.add_argument("--seconds", type=float, default=180.0, help="of the long clip; 0 leaves it out")
    parser.add_argument("--clips", type=int, default=4, help="loops, and clips with a region (default 4)")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    generator = Generator.load(find_model(options.model))
    game = options.game or generator.labels.names[0]
    request = Request(games={game: 1.0}, steps=options.steps, sampler="dpmpp_2m", seconds=5.3)
    figures = {"window_columns": float(generator.window_columns or 0)}
    if options.clips:
        figures |= measure_loops(generator, request, options.clips)
        figures |= measure_inpainting(generator, request, options.clips)
    if options.seconds:
        figures |= measure_long(generator, request.model_copy(update={"seconds": options.seconds}))
    for name, value in figures.items():
        print(f"{name:24}{value:10.4g}")
    if options.json:
        write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    run_command(main)
