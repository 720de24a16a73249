"""The latent gate: what a VAE makes of music that it was not trained on, and whether diffusion training may start.

Shapes: C spectrogram channels, Z latent channels, F and T spectrogram rows and columns, f and t latent ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor

from dualdiffusion.codec import Codec
from dualdiffusion.conditioning import game_conditioning
from dualdiffusion.config import Config
from dualdiffusion.contracts import Autoencoder, SpectrogramFormat
from dualdiffusion.data.audio_crops import AudioCrops
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module
from dualdiffusion.randomness import SeededNoise, mix_seed

OCTAVES = 4


class LatentReportConfig(Config):
    """What is measured, and the thresholds of the gate."""

    seconds: Annotated[float, Field(gt=0)] = 8.0
    """Of audio from the middle of each track; shorter tracks are not used."""
    clips: Annotated[int, Field(gt=0)] = 24
    """Tracks of the validation split at most."""
    bands: Annotated[int, Field(gt=0)] = 8
    """Groups of neighbouring spectrogram rows whose error is told apart."""
    ema: str | None = None
    """Weights of the VAE: "raw" or the name of an EMA; null: the model's default, from which latents are encoded."""
    device: str | None = None
    """cpu, cuda, ...; null: a GPU where there is one."""
    max_snr_ratio: Annotated[float, Field(gt=1)] = 3.0
    """A channel's SNR may differ from the target by this factor, either way. Far below it the channel drowns in its
    noise and carries nothing; far above it the noise no longer smooths what the decoder sees."""
    max_normalized_mean: PositiveFloat = 0.5
    """Of a channel, after normalisation with the stored statistics, which should make it 0. Held-out music differs from
    the training music; much more than this means that the statistics are of other weights or other music."""
    max_normalized_std_ratio: Annotated[float, Field(gt=1)] = 1.6
    """A channel's standard deviation after normalisation may differ from 1 by this factor, either way."""
    max_correlation: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Of two channels; nearer to 1 one of them is a copy of the other."""
    max_roughness: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of a channel's power in the upper half of the frequencies of its rows and columns, the mean of both. White
    noise has a half, and what looks like noise cannot be learned."""
    max_error: PositiveFloat = 0.3
    """Share of the spectrogram's variation that the reconstruction loses; 1 is what the average of each row loses. The
    tiny VAE on 35 tracks of real music had 0.33 after 960 of its 6,400 samples."""
    max_band_error: PositiveFloat = 0.7
    """The same for each band, each against its own variation."""
    max_noise_cost: Annotated[float, Field(gt=1)] = 1.5
    """The error with the latents' noise over that without it; more means that the decoder is thrown off by noise."""


@dataclass(frozen=True)
class Clip:
    """One clip on its way through the VAE. x and output: (C, F, T); mode: (Z, f, t), not normalised."""

    name: str
    x: Tensor
    output: Tensor
    noisy_output: Tensor
    mode: Tensor


@dataclass(frozen=True)
class LatentReport:
    """Figures by name, in `values`; what is wrong, one sentence each; and the clip to show."""

    values: dict[str, Any]
    problems: tuple[str, ...]
    shown: Clip
    frequencies: Tensor
    """(F,) centres of the spectrogram's rows, in Hz."""
    seconds: float
    """Length of a clip."""

    @property
    def passed(self) -> bool:
        """Whether diffusion training may start."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """What latent_report.json holds."""
        return {"pass": self.passed, "problems": list(self.problems), **self.values}


def make_report(model: ModelFolder, dataset: DatasetFolder, config: LatentReportConfig) -> LatentReport:
    """Encodes and decodes clips of the validation split, and measures.

    Raises:
        UserError: no such model, weights, dataset or device, or no validation track that is long enough.
    """
    format, vae = _load(model, config)
    if vae.noise_std == 0:
        raise UserError(
            f"{model.path}: has {type(vae).__name__} for a VAE, which loses nothing; there is nothing to judge"
        )
    frames = int(format.frames_per_second * config.seconds) // vae.downsampling * vae.downsampling
    if not frames:
        raise UserError(f"seconds: {config.seconds:g} is less than a latent column; give more, such as 8")
    clips = list(_clips(format, vae, dataset, format.num_samples(frames), config))
    frequencies = format.centers()
    values = {
        "model": str(model.path),
        "dataset": str(dataset.path),
        "vae_fingerprint": model.fingerprint("vae", config.ema),
        "clips": len(clips),
        "target_snr": vae.target_snr,
        "channels": _channel_figures(vae, clips),
        "spectrum": _spectrum([clip.mode for clip in clips], format.frames_per_second / vae.downsampling),
        **_error_figures(clips, frequencies, config.bands),
    }
    typical = sorted(clips, key=lambda clip: float((clip.output - clip.x).square().mean()))[len(clips) // 2]
    seconds = frames / format.frames_per_second
    return LatentReport(values, tuple(find_problems(values, config)), typical, frequencies, seconds)


def _load(model: ModelFolder, config: LatentReportConfig) -> tuple[SpectrogramFormat, Autoencoder]:
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    format, vae = load_module(model, "format"), load_module(model, "vae", ema=config.ema)
    try:
        return format.to(device), vae.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device: {device}: {str(error).splitlines()[0]}") from None


@torch.no_grad()
def _clips(
    format: SpectrogramFormat, vae: Autoencoder, dataset: DatasetFolder, samples: int, config: LatentReportConfig
) -> Iterator[Clip]:
    seconds = samples / format.sample_rate
    tracks = [track for track in dataset.tracks("validation") if track.seconds >= seconds][: config.clips]
    if not tracks:
        raise UserError(
            f"{dataset.path}: the validation split has no track of {seconds:.2f} s or more; use shorter clips (--set "
            "seconds=2), or hold out more tracks in the dataset's split step"
        )
    crops = AudioCrops(tracks, samples, sample_rate=format.sample_rate, channels=format.num_channels, seed=None)
    codec = Codec(format, vae)
    for index, track in enumerate(tracks):
        told = codec.told(game_conditioning(track.game_id, vae))
        x = told.spectrogram(crops[index].data)
        posterior = told.posterior(x[None])
        noisy = posterior.sample(SeededNoise([mix_seed("latent-report", index)]))
        outputs = [told.decode_mode(mode)[0].cpu() for mode in (posterior.mode, noisy)]
        yield Clip(track.file_name, x.cpu(), *outputs, posterior.mode[0].cpu())


def _channel_figures(vae: Autoencoder, clips: list[Clip]) -> list[dict[str, float]]:
    """For each latent channel, over all clips."""
    modes = torch.cat([clip.mode.flatten(1) for clip in clips], dim=1).double()
    normalized = torch.cat([vae.normalize_latents(clip.mode.to(vae.device)).cpu().flatten(1) for clip in clips], dim=1)
    centred = modes - modes.mean(dim=1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-12)
    correlation = (unit @ unit.T).abs().fill_diagonal_(0).amax(dim=1)
    rows = {
        "mean": modes.mean(dim=1),
        "std": modes.std(dim=1),
        "snr": modes.std(dim=1) / vae.noise_std,
        "normalized_mean": normalized.mean(dim=1),
        "normalized_std": normalized.std(dim=1),
        "largest_correlation": correlation,
    }
    return [{name: float(row[channel]) for name, row in rows.items()} for channel in range(len(modes))]


def _spectrum(modes: list[Tensor], columns_per_second: float) -> dict[str, Any]:
    """Shares of each channel's power by octave, lowest first, along time (in Hz) and along frequency (per row)."""
    spectrum = {}
    for name, axis, rate in (("time", 2, columns_per_second), ("frequency", 1, 1.0)):
        shares = torch.stack([_octave_shares(mode, axis) for mode in modes]).mean(dim=0)
        upper = [rate / 2 * 2.0 ** (i + 1 - OCTAVES) for i in range(OCTAVES)]
        spectrum[name] = {"up_to": upper, "shares": shares.tolist()}
    return spectrum


def _octave_shares(mode: Tensor, axis: int) -> Tensor:
    """(Z, f, t) -> (Z, OCTAVES), summing to 1; the lowest octave takes all that lies below it, but not the mean."""
    # A window, because a clip's ends do not meet: the jump would look like high frequencies.
    x = (mode - mode.mean(dim=axis, keepdim=True)).double().movedim(axis, -1)
    power = torch.fft.rfft(x * torch.hann_window(x.shape[-1], dtype=x.dtype)).abs().square().mean(dim=1)[:, 1:]
    frequency = torch.arange(1, power.shape[1] + 1) / power.shape[1]  # of the highest
    octave = (frequency.log2().ceil() + OCTAVES - 1).clamp(min=0).long()
    shares = torch.zeros(len(mode), OCTAVES, dtype=x.dtype).index_add_(1, octave, power)
    return shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-12)


def _error_figures(clips: list[Clip], frequencies: Tensor, bands: int) -> dict[str, Any]:
    """Errors as shares of the variation of each row around its mean over all clips."""
    x, output, noisy = (
        torch.cat([getattr(clip, name) for clip in clips], dim=2).double() for name in ("x", "output", "noisy_output")
    )
    # Each row against its own mean: a VAE that only knew how loud each row is on average loses all of this.
    variation = (x - x.mean(dim=(0, 2), keepdim=True)).square().mean(dim=(0, 2))
    lost, lost_with_noise = ((y - x).square().mean(dim=(0, 2)) for y in (output, noisy))
    by_band = []
    for rows in torch.arange(len(frequencies)).chunk(bands):
        error = float(lost[rows].sum() / variation[rows].sum().clamp(min=1e-12))
        low, high = float(frequencies[rows[0]]), float(frequencies[rows[-1]])
        by_band.append({"from_hz": low, "to_hz": high, "error": error})
    total = variation.sum().clamp(min=1e-12)
    return {
        "error": float(lost.sum() / total),
        "error_with_noise": float(lost_with_noise.sum() / total),
        "bands": by_band,
    }


def find_problems(values: dict[str, Any], config: LatentReportConfig) -> list[str]:
    """What is wrong and what to do, one sentence each, the worst first; none where diffusion training may start."""
    channels, target = values["channels"], values["target_snr"]
    numbers = [number for channel in channels for number in channel.values()] + [values["error"]]
    if not torch.tensor(numbers).isfinite().all():
        return ["the VAE gives numbers that are not finite: train it again with a lower optimizer.learning_rate"]
    problems = []
    if values["error"] > config.max_error:
        problems.append(
            f"the reconstruction loses {values['error']:.0%} of the spectrogram (at most {config.max_error:.0%}): "
            "train the VAE longer, or give it more channels (model_channels, latent_channels)"
        )
    problems += [
        f"the band from {band['from_hz']:.0f} to {band['to_hz']:.0f} Hz loses {band['error']:.0%} (at most "
        f"{config.max_band_error:.0%}): train longer, and listen to what the dataset holds there"
        for band in values["bands"]
        if values["error"] <= config.max_error < config.max_band_error < band["error"]
    ]
    for index, channel in enumerate(channels):
        problems += [f"latent channel {index} {text}" for text in _channel_problems(channel, target, config)]
        rough = _roughness(values["spectrum"], index)
        if rough > config.max_roughness:
            problems.append(
                f"latent channel {index} is as rough as noise ({rough:.0%} of its power in the highest octave; at most "
                f"{config.max_roughness:.0%}): lower target_snr, or set latent_supersampling to 2"
            )
    cost = values["error_with_noise"] / max(values["error"], 1e-12)
    if cost > config.max_noise_cost:
        problems.append(
            f"the latents' own noise makes the error {cost:.1f} times as large (at most {config.max_noise_cost:g}): "
            "train longer, or raise the weight kl in loss_weights, so that the latents stand out from their noise"
        )
    return problems


def _channel_problems(channel: dict[str, float], target: float, config: LatentReportConfig) -> Iterator[str]:
    if channel["snr"] < target / config.max_snr_ratio:
        yield (
            f"drowns in its noise (SNR {channel['snr']:.1f}, target {target:g}): raise the weight kl in "
            "loss_weights, or use fewer latent_channels"
        )
    if channel["snr"] > target * config.max_snr_ratio:
        yield f"is too strong for its noise (SNR {channel['snr']:.0f}, target {target:g}): raise the weight kl"
    ratio = config.max_normalized_std_ratio
    if abs(channel["normalized_mean"]) > config.max_normalized_mean or not (
        1 / ratio <= channel["normalized_std"] <= ratio
    ):
        yield (
            f"is not normalised (mean {channel['normalized_mean']:.2f}, std {channel['normalized_std']:.2f} instead "
            "of 0 and 1): the stored statistics are of other weights or other music; run the VAE's training again"
        )
    if channel["largest_correlation"] > config.max_correlation:
        yield (
            f"is nearly a copy of another (correlation {channel['largest_correlation']:.2f}): use fewer "
            "latent_channels, or train longer"
        )


def _roughness(spectrum: dict[str, Any], channel: int) -> float:
    """Share of power in the highest octave, the mean of both axes."""
    return sum(axis["shares"][channel][-1] for axis in spectrum.values()) / len(spectrum)
