"""Mel spectrogram without phase, critically sampled: as many numbers as the audio it stands for.

Shapes: B batch, C channels, N samples, F mel bands, T frames (N / hop_length), K STFT bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from dualdiffusion.config import Config
from dualdiffusion.dsp.band_transform import BandTransform, CircularTransform, bin_shares
from dualdiffusion.dsp.circular import wrap
from dualdiffusion.dsp.frequency_scale import log_centers, log_filters, mel_centers, mel_filters, regrid_filters
from dualdiffusion.dsp.phase_recovery import Level, levels_of, recover_audio
from dualdiffusion.dsp.stft import hann_power_window, stft
from dualdiffusion.dsp.tiles import HeldAudio, both_held, decode_loop_tiles, decode_tiles, loop_context, tile_starts
from dualdiffusion.model.module import Module
from dualdiffusion.randomness import SeededNoise

# Phase recovery cuts its window shorter than the encoder: the transform is half as long, and what it misses is far
# below the error that remains anyway.
RECOVERY_NEGLIGIBLE = 2e-3
MAX_LEVEL_GAIN = 1.5  # of the whole clip, after phase recovery
RETIRED = ("mel_refinements", "stereo_coherence")


class MelSpectrogram(Module):
    """Audio (B, C, N) <-> normalised mel spectrogram (B, C, F, T).

    The buffers `mean` and `std` are constants of the dataset, never of a clip: loudness and dynamics survive.
    """

    class Config(Config):
        """Settings of a mel spectrogram; fixed when a model is created."""

        sample_rate: PositiveInt = 32000
        """In Hz."""
        num_channels: PositiveInt = 2
        hop_length: PositiveInt = 256
        """Samples between frames (8 ms at 32 kHz)."""
        window_length: PositiveInt = 6400
        """Nominal samples of the window (200 ms at 32 kHz); its negligible tails are cut off."""
        window_exponent: Annotated[float, Field(gt=0)] = 32.0
        """The window is a hann window raised to this power."""
        frequency_scale: Literal["mel", "log"] = "mel"
        """Of the bands: mel, or equally wide in octaves, where a transposition is a shift; then f_min is above 0."""
        n_mels: PositiveInt = 256
        """Bands; as many as hop_length makes the format critically sampled."""
        f_min: Annotated[float, Field(ge=0)] = 20.0
        """Lower edge of the lowest band, in Hz."""
        f_max: Annotated[float, Field(gt=0)] = 16000.0
        """Upper edge of the highest band, in Hz."""
        abs_exponent: Annotated[float, Field(gt=0, le=1)] = 0.25
        """Magnitudes are raised to this power, which makes loud and soft comparable, roughly as ears do."""
        noise_floor: Annotated[float, Field(gt=0)] = 2e-5
        """Added to magnitudes; what lies far below is not told from silence. A full-scale sine is 1."""
        phase_iterations: Annotated[int, Field(ge=0)] = 72
        """Work of phase recovery, in iterations at the full sample rate; most are made at a part of it, more for each.
        260 come nearer and take more than three times as long."""
        phase_momentum: Annotated[float, Field(ge=0, le=1.2)] = 0.99
        """How far each iteration overshoots; 0 is the plain Griffin-Lim algorithm."""
        merged_share: Annotated[float, Field(ge=0, le=1)] = 0.75
        """Least share of the coarsest iterations on the merged channels, before these go their own ways; where
        it is not 0, at most 60 are separate."""
        tile_seconds: Annotated[float, Field(ge=0)] = 30.0
        """Longer clips are recovered in overlapping tiles of this length, which bounds the memory; 0: never."""

        @model_validator(mode="before")
        @classmethod
        def _refuse_retired(cls, data: object) -> Any:
            found = [key for key in RETIRED if isinstance(data, dict) and key in data]
            if found:
                raise ValueError(
                    f"{' and '.join(found)}: phase recovery no longer works this way; delete the key to use the new way"
                )
            return data

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.f_max > config.sample_rate / 2:
            raise ValueError(f"f_max {config.f_max} is above half of the sample rate {config.sample_rate}")
        if config.f_min >= config.f_max or (config.frequency_scale == "log" and config.f_min == 0):
            raise ValueError(f"f_min {config.f_min} must be below f_max, and above 0 on a log scale")
        window = hann_power_window(config.window_length, config.window_exponent, config.hop_length)
        filters = _filters(config, n_bins=len(window) // 2 + 1)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)
        short = hann_power_window(
            config.window_length, config.window_exponent, config.hop_length, negligible=RECOVERY_NEGLIGIBLE
        )
        regridded = regrid_filters(filters, len(short) // 2 + 1)
        # The window sums to 2 whatever its length, so magnitudes agree between the two transforms.
        self.register_buffer("recovery_window", short, persistent=False)
        self.register_buffer("recovery_filters", regridded, persistent=False)
        self.register_buffer("recovery_spread", bin_shares(regridded), persistent=False)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.config.sample_rate

    @property
    def num_channels(self) -> int:
        """C."""
        return self.config.num_channels

    @property
    def hop_length(self) -> int:
        """Samples between frames."""
        return self.config.hop_length

    @property
    def rows(self) -> int:
        """F, mel bands."""
        return self.config.n_mels

    @property
    def frames_per_second(self) -> float:
        """Frames of a second of audio."""
        return self.config.sample_rate / self.config.hop_length

    @property
    def context_frames(self) -> int:
        """A frame's window reaches no farther than so many frames to either side."""
        return math.ceil(len(self.window) / self.config.hop_length)

    def num_frames(self, samples: int) -> int:
        """Frames that `encode` makes of so many samples; a rest of less than a hop is dropped."""
        return samples // self.config.hop_length

    def num_samples(self, frames: int) -> int:
        """Samples that `decode` makes of so many frames."""
        return frames * self.config.hop_length

    def sample_shape(self, frames: int) -> tuple[int, int, int]:
        """(C, F, T) of an encoded clip."""
        return self.config.num_channels, self.config.n_mels, frames

    def centers(self) -> Tensor:
        """Centre frequencies of the bands in Hz, shape (F,)."""
        config = self.config
        if config.frequency_scale == "log":
            return log_centers(n_bands=config.n_mels, f_min=config.f_min, f_max=config.f_max)
        return mel_centers(n_mels=config.n_mels, f_min=config.f_min, f_max=config.f_max)

    def position(self) -> Tensor:
        """ln of the bands' centre frequencies, shape (F,), scaled to zero mean and unit variance."""
        # Equal steps for equal musical intervals, at the scale that networks expect of an input.
        ln = self.centers().log()
        return (ln - ln.mean()) / ln.std()

    def encode(self, audio: Tensor) -> Tensor:
        """(B, C, N) samples in [-1, 1] -> (B, C, F, N // hop_length), about zero mean and unit variance."""
        return (self._compress(self.mel(audio)) - self.mean) / self.std

    def mel(self, audio: Tensor, *, circular: bool = False) -> Tensor:
        """(B, C, N) -> mel magnitudes (B, C, F, T); frame t is centred on samples t * hop_length to one hop later.

        Args:
            circular: the audio goes on at its beginning after its end; else there is silence around it.
        """
        hop, n_fft = self.config.hop_length, len(self.window)
        frames = self.num_frames(audio.shape[-1])
        audio = audio[..., : frames * hop]
        # A frame's window is centred on its hop.
        before = (n_fft - hop) // 2
        around = (before, n_fft - hop - before)
        padded = wrap(audio, *around) if circular else torch.nn.functional.pad(audio, around)
        return self.filters @ stft(padded, self.window, hop).abs().transpose(-1, -2)

    def decode(
        self,
        x: Tensor,
        *,
        iterations: int | None = None,
        seeds: list[int] | None = None,
        callback: Callable[[int, int], None] | None = None,
        held: HeldAudio | None = None,
        circular: bool = False,
    ) -> Tensor:
        """(B, C, F, T) -> audio (B, C, T * hop_length); deterministic for the same seeds.

        Clips are recovered one after the other, so that none depends on its neighbours, long ones in tiles.

        Args:
            iterations: of phase recovery; None for the config's.
            seeds: one per clip, of the initial phase; None is 0 for all.
            callback: called with (iterations done, iterations), of all levels, clips and tiles.
            held: audio that is known already, (C, T * hop_length), and how far it is kept, (T * hop_length,) in [0, 1]:
                the phases of the rest are made to fit, and where it is 1 the output is exactly this.
            circular: the clip is a loop, whose end goes on into its beginning.
        """
        iterations = self.config.phase_iterations if iterations is None else iterations
        levels = levels_of(self._transform(1), iterations, self.config.merged_share)
        starts = self._tile_starts(x.shape[-1], circular)
        done, total = 0, len(x) * len(starts) * sum(level.iterations for level in levels)

        def on_iteration() -> None:
            nonlocal done
            done += 1
            if callback:
                callback(done, total)

        return torch.stack(
            [
                self._decode_clip(clip, starts, SeededNoise([seed]), levels, on_iteration, held, circular)
                for clip, seed in zip(x, seeds or [0] * len(x), strict=True)
            ]
        )

    def _tile_starts(self, frames: int, circular: bool) -> list[int]:
        """First frames of the tiles; those of a loop are on the loop continued over both of its ends."""
        tile = round(self.config.tile_seconds * self.frames_per_second)
        if not circular:
            return tile_starts(frames, tile) if tile else [0]
        around = 2 * loop_context()
        if not tile or frames + around <= max(tile, around):
            return [0]
        return tile_starts(frames + around, max(tile, 2 * around))

    def _transform(self, frames: int, *, circular: bool = False) -> BandTransform:
        """That of phase recovery, of so many frames."""
        transform = CircularTransform if circular else BandTransform
        hop = self.config.hop_length
        return transform(self.recovery_window, hop, self.recovery_filters, self.recovery_spread, frames)

    def _decode_clip(
        self,
        x: Tensor,
        starts: list[int],
        random: SeededNoise,
        levels: list[Level],
        callback: Callable[[], None],
        held: HeldAudio | None,
        circular: bool,
    ) -> Tensor:
        """(C, F, T) -> audio (C, T * hop_length)."""
        window, hop, frames = self.recovery_window, self.config.hop_length, x.shape[-1]
        before = (len(window) - hop) // 2
        # A short loop is recovered on a circle, a long one in tiles that meet.
        on_circle, context = circular and len(starts) == 1, loop_context() if circular and len(starts) > 1 else 0
        bands = wrap(self.to_mel(x), context, context).transpose(-1, -2)
        length = bands.shape[-2] - starts[-1]
        transform = self._transform(length, circular=on_circle)
        wanted = present = x.new_zeros(())

        def decode(start: int, end: int, beginning: HeldAudio | None) -> Tensor:
            nonlocal wanted, present
            known = _held_in_tile(held, start * hop - before, transform.samples)
            if known is not None and bool((held[1][start * hop : end * hop] == 1).all()):
                for _ in range(sum(level.iterations for level in levels)):
                    callback()
                return known[0]
            phase = 2 * torch.pi * random.rand((length, len(window) // 2 + 1))
            tile = bands[:, start:end].contiguous()
            audio = recover_audio(
                tile,
                transform,
                phase=phase.to(x.device),
                levels=levels,
                momentum=self.config.phase_momentum,
                held=both_held(beginning, known),
                callback=callback,
            )
            cut = slice(before, before + length * hop)
            free = 1 if known is None else _free_frames(known[1][cut], hop)
            made = self.mel(audio.roll(-before, -1) if on_circle else audio[:, cut], circular=on_circle)
            wanted = wanted + (tile.transpose(-1, -2).square() * free).sum()
            present = present + (made.square() * free).sum()
            return audio

        join = decode_loop_tiles if context else decode_tiles
        audio = join(starts, bands.shape[-2], hop, decode)
        first = before + context * hop
        audio = audio.roll(-before, -1) if on_circle else audio[:, first : first + frames * hop]
        # Estimates that do not fit together cancel in part, so that the audio comes out up to half a decibel quiet.
        audio = audio * (wanted / present.clamp(min=1e-20)).sqrt().clamp(max=MAX_LEVEL_GAIN)
        return audio if held is None else torch.lerp(audio, *held)

    def to_mel(self, x: Tensor) -> Tensor:
        """Undoes the normalisation and compression: (B, C, F, T) -> mel magnitudes, non-negative."""
        # Networks may give less than silence, of which there is no power.
        compressed = (x * self.std + self.mean).clamp(min=0)
        return (compressed ** (1 / self.config.abs_exponent) - self.config.noise_floor).clamp(min=0)

    def _compress(self, mel: Tensor) -> Tensor:
        return (mel + self.config.noise_floor) ** self.config.abs_exponent

    @torch.no_grad()
    def fit(self, clips: list[Tensor]) -> None:
        """Measures the normalisation constants on a list of clips (C, N)."""
        values = torch.cat([self._compress(self.mel(clip[None].to(self.mean.device))).flatten() for clip in clips])
        self.mean.copy_(values.mean())
        self.std.copy_(values.std())


def _held_in_tile(held: HeldAudio | None, start: int, length: int) -> HeldAudio | None:
    """Samples `start` to start + length of what is held, and nothing held outside of the clip."""
    if held is None:
        return None
    around = max(0, -start), max(0, start + length - held[1].shape[-1])
    audio, weight = (torch.nn.functional.pad(part[..., max(0, start) : start + length], around) for part in held)
    return audio, weight


def _free_frames(weight: Tensor, hop_length: int) -> Tensor:
    """1 for frames of which nothing is held, 0 for others: (L,) -> (L / hop_length,)."""
    return (weight.unflatten(0, (-1, hop_length)) == 0).all(dim=1).to(weight)


def _filters(config: MelSpectrogram.Config, *, n_bins: int) -> Tensor:
    limits = {"f_min": config.f_min, "f_max": config.f_max, "sample_rate": config.sample_rate}
    if config.frequency_scale == "log":
        return log_filters(n_bins=n_bins, n_bands=config.n_mels, **limits)
    return mel_filters(n_bins=n_bins, n_mels=config.n_mels, **limits)
