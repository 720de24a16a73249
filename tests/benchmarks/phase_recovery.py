"""Phase recovery: how near the sound comes back, and in what time, for four ways side by side on the same excerpts.

    python -m tests.benchmarks.phase_recovery [--music DIR] [--json FILE] [--excerpts 6] [--seed 0] [--seeds 1]

DIR is a folder of music; without it the built-in corpus is composed and used. The ways:

- reference: the plain stereo fast Griffin-Lim algorithm, 200 iterations, full window, pseudo-inverse of the mel scale;
- fast and best: the format with its default settings and with 260 iterations;
- torchaudio: InverseMelScale and GriffinLim, 200 iterations, the reference's FFT size.

With several seeds the excerpts of all are measured, and the worst one of each figure is told beside the means. The JSON
file has the means, and below `excerpts` the figures of each.
`--varied` also takes each excerpt as from a source of 22 kHz and of 16 kHz, and mixed with the one before it. `--skip`
leaves ways out: reference and torchaudio take most of the time.

Lower is better everywhere: sc is the relative error of the encoded spectrogram at the best gain, lr and ms the
multi-resolution STFT distance of left and right and of mid and side after matching levels, seconds per excerpt.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean

import numpy as np
import soxr
import torch
import torchaudio
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dualdiffusion.audio.decode import AudioError, open_audio
from dualdiffusion.command_line import CommandParser, positive_int, run_command
from dualdiffusion.dsp.frequency_scale import mel_filters
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.formats.mel_spectrogram import MelSpectrogram

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_RATE = 32000
SECONDS = 6.0
N_FFT = 6400
HOP = 256
ITERATIONS = 200
MOMENTUM = 0.99
COHERENCE = 0.67
BEST_ITERATIONS = 260
DISTANCE_SIZES = (512, 1024, 2048, 4096)
LN_FLOOR = 1e-4
SILENCE = 1e-3

Way = Callable[[Tensor], Tensor]


def excerpts(folder: Path, count: int, seed: int) -> Iterator[tuple[str, Tensor]]:
    """(name, (2, N) at 32 kHz) from the middle of `count` tracks; the choice depends on file names and seed alone.

    Raises:
        UserError: there are fewer; told once all were looked at, so take the list before anything is measured.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    random.Random(seed).shuffle(paths)
    length, found = int(SECONDS * SAMPLE_RATE), 0
    for path in paths:
        if found == count:
            return
        samples = read_stereo(path)
        if samples is None or samples.shape[1] < length:
            continue
        start = (samples.shape[1] - length) // 2
        excerpt = samples[:, start : start + length]
        if float(excerpt.square().mean().sqrt()) > SILENCE:
            found += 1
            yield path.name, excerpt
    if found < count:
        raise UserError(f"{folder}: only {found} tracks of at least {SECONDS:g} s that sound; ask for fewer")


def varied(found: list[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Each excerpt, and the same band-limited and mixed."""
    for index, (name, audio) in enumerate(found):
        yield name, audio
        for rate in (22050, 16000):
            yield f"{name}, of {rate} Hz", _limited(audio, rate)
        if index:
            yield f"{name}, mixed", (audio + found[index - 1][1]) / 2


def _limited(audio: Tensor, rate: int) -> Tensor:
    narrow = soxr.resample(soxr.resample(audio.T.numpy(), SAMPLE_RATE, rate), rate, SAMPLE_RATE).T[:, : audio.shape[1]]
    narrow = torch.from_numpy(np.ascontiguousarray(narrow, np.float32))
    return torch.nn.functional.pad(narrow, (0, audio.shape[1] - narrow.shape[1]))


def read_stereo(path: Path) -> Tensor | None:
    """(2, N) float32 at 32 kHz; None for what is not audio."""
    try:
        with open_audio(path) as file:
            rate, samples = file.sample_rate, np.concatenate(list(file.blocks))
    except AudioError:
        return None
    samples = samples[:, :2] if samples.shape[1] > 1 else samples.repeat(2, axis=1)
    return torch.from_numpy(np.ascontiguousarray(soxr.resample(samples, rate, SAMPLE_RATE).T, np.float32))


class Reference:
    """Fast Griffin-Lim (Perraudin et al. 2013), adapted to stereo, in its plain form; mel magnitudes -> audio."""

    def __init__(self) -> None:
        window = torch.hann_window(N_FFT, dtype=torch.float64) ** 32
        self.window = (2 * window / window.sum()).float()
        filters = mel_filters(n_bins=N_FFT // 2 + 1, n_mels=256, f_min=20, f_max=16000, sample_rate=SAMPLE_RATE)
        self.filters, self.pseudo_inverse = filters, torch.linalg.pinv(filters)

    def __call__(self, audio: Tensor) -> Tensor:
        """(2, N) -> (2, N), by way of mel magnitudes."""
        before = (N_FFT - HOP) // 2
        frames = audio.shape[1] // HOP
        mel = self.mel(torch.nn.functional.pad(audio, (before, N_FFT - HOP - before)))
        magnitudes = (self.pseudo_inverse @ mel).clamp(min=0).transpose(-1, -2).contiguous()
        generator = torch.Generator().manual_seed(0)
        phase = 2 * torch.pi * torch.rand(magnitudes.shape[1:], generator=generator)
        estimate = magnitudes * torch.polar(torch.ones_like(phase), phase)
        previous = torch.zeros_like(estimate)
        for i in range(ITERATIONS):
            projected = self.stft(self.istft(estimate))
            coherence = max(0.0, 1 - i / (COHERENCE * ITERATIONS))
            if coherence > 0:
                projected = torch.lerp(projected, projected.mean(dim=0, keepdim=True).expand_as(projected), coherence)
            accelerated = projected + MOMENTUM * (projected - previous)
            estimate = magnitudes * (accelerated / accelerated.abs().clamp(min=1e-20))
            previous = projected
        return self.istft(estimate)[:, before : before + frames * HOP]

    def mel(self, audio: Tensor) -> Tensor:
        """(2, N) -> (2, 256, T)."""
        return self.filters @ self.stft(audio).abs().transpose(-1, -2)

    def stft(self, audio: Tensor) -> Tensor:
        """(2, N) -> (2, T, bins)."""
        return torch.fft.rfft(audio.unfold(-1, N_FFT, HOP) * self.window)

    def istft(self, spectra: Tensor) -> Tensor:
        """The least-squares inverse (Griffin and Lim 1984): (2, T, bins) -> (2, (T - 1) * hop + n_fft)."""
        frames = torch.fft.irfft(spectra, n=N_FFT) * self.window
        weight = self.overlap_add((self.window**2).expand(1, frames.shape[1], -1))
        return self.overlap_add(frames) / weight.clamp(min=1e-6 * float(weight.max()))

    def overlap_add(self, frames: Tensor) -> Tensor:
        """(C, T, n_fft) -> (C, (T - 1) * hop + n_fft)."""
        channels, count, _ = frames.shape
        overlap = N_FFT // HOP
        audio = torch.zeros(channels, count + overlap - 1, HOP)
        for k in range(overlap):
            audio[:, k : k + count] += frames[:, :, k * HOP : (k + 1) * HOP]
        return audio.flatten(1)


class Torchaudio:
    """What torchaudio offers: InverseMelScale (least squares) and GriffinLim."""

    def __init__(self) -> None:
        self.reference = Reference()
        bins = N_FFT // 2 + 1
        self.inverse_mel = torchaudio.transforms.InverseMelScale(bins, 256, SAMPLE_RATE, f_min=20, f_max=16000)
        self.griffin_lim = torchaudio.transforms.GriffinLim(
            N_FFT, ITERATIONS, N_FFT, HOP, lambda length: self.reference.window, power=1.0, momentum=MOMENTUM
        )

    def __call__(self, audio: Tensor) -> Tensor:
        """(2, N) -> (2, N), by way of mel magnitudes."""
        torch.manual_seed(0)  # GriffinLim takes no generator
        frames = audio.shape[1] // HOP
        before = (N_FFT - HOP) // 2
        padded = torch.nn.functional.pad(audio, (before, N_FFT - HOP - before))
        mel = self.reference.mel(padded)
        output = self.griffin_lim(self.inverse_mel(mel))
        # Its frames are centred on the hop's first sample, ours on the hop's middle.
        output = torch.nn.functional.pad(output, (HOP // 2, frames * HOP - HOP // 2 - output.shape[1]))
        return output


def mid_side(audio: Tensor) -> Tensor:
    return torch.stack([audio[0] + audio[1], audio[0] - audio[1]]) / 2


def convergence(format: MelSpectrogram, audio: Tensor, output: Tensor) -> float:
    """Relative error of the encoded spectrogram at the best gain."""
    wanted, given = format.encode(audio[None]), format.encode(output[None])
    gain = (wanted * given).sum() / given.square().sum().clamp(min=1e-20)
    return float((wanted - gain * given).norm() / wanted.norm())


def distance(audio: Tensor, output: Tensor) -> float:
    """Multi-resolution STFT distance of (2, N) signals, after matching levels; the mean over FFT sizes.

    Per size, the relative Frobenius error plus the mean absolute difference of logarithms.
    """
    output = output * (audio.norm() / output.norm().clamp(min=1e-20))
    return mean(_distance(audio, output, size) for size in DISTANCE_SIZES)


def _distance(audio: Tensor, output: Tensor, n_fft: int) -> float:
    window = torch.hann_window(n_fft)
    a, b = (torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True).abs() for x in (audio, output))
    frobenius = (a - b).norm() / a.norm().clamp(min=1e-20)
    ln = (a.clamp(min=LN_FLOOR).log() - b.clamp(min=LN_FLOOR).log()).abs().mean()
    return float(frobenius + ln)


def compose(folder: Path) -> Path:
    """The built-in corpus, a small one."""
    arguments = ["synth", folder, "--games", "6", "--tracks", "1", "--seconds", "12"]
    subprocess.run([sys.executable, "-m", "dataset_processing", *map(str, arguments)], check=True, cwd=ROOT)
    return folder


def ways(format: MelSpectrogram) -> dict[str, Way]:
    """Each makes audio (2, N) of audio (2, N), by way of the spectrogram."""

    def decode(audio: Tensor, iterations: int | None) -> Tensor:
        return format.decode(format.encode(audio[None]), iterations=iterations)[0]

    return {
        "reference": Reference(),
        "fast": lambda audio: decode(audio, None),
        "best": lambda audio: decode(audio, BEST_ITERATIONS),
        "torchaudio": Torchaudio(),
    }


Figures = dict[str, dict[str, list[float]]]
"""Way -> measure -> values of all excerpts."""


@torch.inference_mode()
def measure(found: list[tuple[str, Tensor]], skipped: list[str], console: Console) -> Figures:
    """All figures of all excerpts."""
    format = MelSpectrogram(MelSpectrogram.Config())
    table: Figures = {}
    tried = {name: way for name, way in ways(format).items() if name not in skipped}
    for name, audio in found:
        console.print(name, markup=False)
        for way, recover in tried.items():
            start = time.perf_counter()
            output = recover(audio)
            seconds = time.perf_counter() - start
            values = {
                "sc": convergence(format, audio, output),
                "lr": distance(audio, output),
                "ms": distance(mid_side(audio), mid_side(output)),
                "seconds": seconds,
            }
            for key, value in values.items():
                table.setdefault(way, {}).setdefault(key, []).append(value)
    return table


def means(table: Figures) -> dict[str, dict[str, float]]:
    """Way -> measure -> mean over the excerpts."""
    return {way: {key: mean(values) for key, values in columns.items()} for way, columns in table.items()}


def by_excerpt(table: Figures, names: list[str]) -> dict[str, dict[str, float]]:
    """Name -> way_measure -> value: what a mean hides."""
    ways = table.items()
    found = [{way: {key: values[i] for key, values in keys.items()} for way, keys in ways} for i in range(len(names))]
    return {name: _flat(figures) for name, figures in zip(names, found, strict=True)}


def _flat(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    return {f"{way}_{key}": value for way, keys in figures.items() for key, value in keys.items()}


def worst(table: Figures, names: list[str]) -> list[str]:
    """Of each of our ways and each figure, the excerpt that is worst beside the reference, in a line."""
    lines = []
    for way in ("fast", "best"):
        for key in ("sc", "lr", "ms"):
            pairs = zip(table[way][key], table["reference"][key], strict=True)
            ratios = [ours / theirs for ours, theirs in pairs]
            place = max(range(len(ratios)), key=ratios.__getitem__)
            lines.append(f"{way}, {key}: at worst {ratios[place]:.2f} of the reference ({names[place]})")
    return lines


def show(found: dict[str, dict[str, float]], console: Console) -> None:
    table = Table("way", "sc", "lr", "ms", "s", *(f"{key}/ref" for key in ("sc", "lr", "ms", "time")))
    against = found.get("reference", found["fast"])
    for way, values in found.items():
        ratios = {key: value / against[key] for key, value in values.items()}
        time_ratio = f"1/{1 / ratios['seconds']:.1f}"
        table.add_row(
            way,
            *(f"{values[key]:.4f}" for key in ("sc", "lr", "ms")),
            f"{values['seconds']:.2f}",
            *(f"{ratios[key]:.3f}" for key in ("sc", "lr", "ms")),
            time_ratio,
        )
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    table.padding = (0, 0)
    console.print(table)


def main() -> int:
    """Prints a table and, where asked, writes the figures as JSON."""
    parser = CommandParser(prog="python -m tests.benchmarks.phase_recovery", description=__doc__.splitlines()[0])
    parser.add_argument("--music", type=Path, help="folder of music; default: the built-in corpus, composed anew")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--excerpts", type=positive_int, default=6, help="excerpts, each of another track (default 6)")
    parser.add_argument("--seed", type=int, default=0, help="another seed chooses other tracks (default 0)")
    parser.add_argument("--seeds", type=positive_int, default=1, help="the excerpts of so many seeds (default 1)")
    parser.add_argument("--varied", action="store_true", help="each excerpt also band-limited, and mixed with others")
    parser.add_argument("--skip", action="append", default=[], choices=("reference", "torchaudio", "best"))
    options = parser.parse_args()
    if options.music and not options.music.is_dir():
        raise UserError(f"{options.music}: no such folder; name a folder of music with --music")
    console = Console()
    with tempfile.TemporaryDirectory(prefix="phase-recovery-") as folder:
        music = options.music or compose(Path(folder) / "music")
        seeds = range(options.seed, options.seed + options.seeds)
        found = {name: audio for seed in seeds for name, audio in excerpts(music, options.excerpts, seed)}
        chosen = list(varied(list(found.items())) if options.varied else found.items())
        table = measure(chosen, options.skip, console)
    show(means(table), console)
    if "reference" in table and "best" in table and len(chosen) > 1:
        for line in worst(table, [name for name, _ in chosen]):
            console.print(line, markup=False, soft_wrap=True)
    if options.json:
        write_json(options.json, _flat(means(table)) | {"excerpts": by_excerpt(table, [name for name, _ in chosen])})
    return 0


if __name__ == "__main__":
    run_command(main)
