"""Clips that are sampled together: from their noise to their audio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualdiffusion.codec import Codec
from dualdiffusion.contracts import Format
from dualdiffusion.dsp.circular import resample_circular
from dualdiffusion.dsp.tiles import HeldAudio
from dualdiffusion.errors import UserError
from dualdiffusion.pictures.audio import audio_spectrogram
from dualdiffusion.randomness import SeededNoise
from sampling.guidance import PassCounter, guided
from sampling.preview import Preview
from sampling.progress import Progress
from sampling.request import Request
from sampling.solvers.noise import BrownianNoise
from sampling.solvers.options import keywords
from sampling.solvers.samplers import SAMPLERS, Denoise
from sampling.tasks.canvas import plan_canvas
from sampling.tasks.known_regions import keep_known
from sampling.tasks.source import PreparedSource, load_source, prepare_source, with_file
from sampling.tasks.told import tell
from sampling.tasks.variations import VariedNoise, between, mix_weights
from sampling.tasks.windows import windowed

if TYPE_CHECKING:
    from sampling.generator import Generator

# Louder clips are scaled down to this peak rather than clipped.
PEAK_LIMIT = 0.99
# Latent columns, of all clips and windows together, that one pass of the UNet takes on a GPU.
BATCH_COLUMNS = 4096
# Columns without a frequency axis for one of those: of as many rows as a usual model's columns have.
ONE_ROW = 32


@dataclass(frozen=True)
class Result:
    """A generated clip.

    Attributes:
        request: what was asked.
        audio: (C, N) in [-1, 1].
        spectrogram: (C, F, T), normalised, as the format decodes it; of a format without a frequency axis, that of the
            audio.
        latents: (Z, F, T), normalised, as diffusion made them.
        model: path and fingerprint of the model.
        passes: what guidance took, over all clips and windows that were sampled together.
        notes: what is odd about the source's file.
    """

    request: Request
    audio: Tensor
    sample_rate: int
    spectrogram: Tensor
    latents: Tensor
    model: str
    fingerprint: str
    passes: PassCounter = field(default_factory=PassCounter)
    notes: tuple[str, ...] = ()


class Batch:
    """Clips that are sampled together: requests that differ in seed and games alone."""

    def __init__(self, generator: Generator, requests: Sequence[Request], progress: Progress) -> None:
        self.generator, self.requests, self.progress = generator, requests, progress
        self.request = request = requests[0]  # for all that they share
        self.passes = PassCounter()
        self.denoiser = generator.unet(request.ema)
        self.fingerprint = generator.fingerprint_of(request)
        mixes = [r.games for r in requests]
        self.codecs = [self._codec(mix) for mix in mixes]
        grid, samples, digest = generator.grid(self.denoiser), None, None
        self.notes: tuple[str, ...] = ()
        if request.source is not None:
            channels = generator.format.num_channels
            loaded = load_source(request.source, sample_rate=grid.sample_rate, channels=channels)
            samples, digest = loaded.samples, loaded.digest
            self.notes = tuple(f"source.path: {request.source.path}: {note}" for note in loaded.notes)
        self.canvas = plan_canvas(request, grid, None if samples is None else samples.shape[-1])
        self.told = tell(self.denoiser.told, self.requests, generator.controls, self.canvas, grid, samples)
        self.sources: list[PreparedSource] = []
        if samples is not None:
            self.requests = [with_file(r, digest, self.canvas.samples / grid.sample_rate) for r in requests]
            with torch.inference_mode():
                self.sources = [prepare_source(samples, self.canvas, c, grid.sample_rate) for c in self.codecs]
                latents = torch.cat([source.latents for source in self.sources])
                known = self.sources[0].known
                self.told = self.told.knowing(self.denoiser.told, self.requests, latents, known)

    def results(self) -> Iterator[Result]:
        """Samples the batch, then decodes and finishes one clip after the other."""
        latents = self._sample()
        for number in range(len(self.requests)):
            yield self._finish(number, latents[number : number + 1])

    @torch.inference_mode()
    def _sample(self) -> Tensor:
        """(B, Z, F, T)."""
        request, device = self.request, self.generator.vae.device
        latents = torch.cat([source.latents for source in self.sources]) if self.sources else None
        if request.strength == 0:
            return latents
        sigmas = request.noise_levels(self._errors, self.generator.noise_of_latents)
        noise = noise_of(self.requests)
        frames = self.canvas.columns * self.generator.vae.downsampling
        shape = self.generator.vae.latent_shape(self.generator.format.sample_shape(frames))
        x = noise.randn(shape).to(device) * sigmas[0]
        denoise = windowed(
            self._denoise, self.canvas.windows, together=self._together(), on_window=self.progress.at_window
        )
        if self.sources:
            known = self.sources[0].known
            x = x + torch.where(known | (request.strength < 1), latents, 0)
            denoise = keep_known(denoise, latents, known)
        self.progress.begin(Preview(self.codecs[0]), x / sigmas[0])
        return SAMPLERS[request.sampler](
            denoise, x, sigmas, generator=noise, callback=self.progress.after_step, **keywords(request.sampler_options)
        )

    def _errors(self, sigmas: list[float]) -> list[float]:
        """The error that the denoiser has learned to expect at each noise level."""
        return self.denoiser.log_variance(torch.tensor(sigmas, device=self.generator.vae.device)).exp().tolist()

    def _denoise(self, windows: Sequence[int]) -> Denoise:
        """The estimate for some windows of all clips, (windows * B, Z, F, W)."""
        start = self._guided([r.games for r in self.requests] * len(windows), windows)
        if self.request.games_end is None:
            return start
        layout, device = self.canvas.windows, self.generator.vae.device
        weights = mix_weights(self.canvas.columns, circular=self.request.loop)[layout.indices[list(windows)]]
        weights = weights.repeat_interleave(len(self.requests), dim=0)[:, None, None].to(device)
        return between(start, self._guided([self.request.games_end] * len(weights), windows), weights)

    def _guided(self, mixes: Sequence[dict[str, float]], windows: Sequence[int]) -> Denoise:
        games = self.generator.conditioning(mixes, self.denoiser.label_dim)
        told = self.told.beside(games, [self.canvas.windows.indices[k] for k in windows])
        denoise = guided(
            self.denoiser,
            told.to(self.generator.vae.device),
            cfg_scale=self.request.cfg_scale,
            position=self.generator.position,
            guidance=self.request.guidance,
            weak=self.generator.weak_unet(self.request.guidance),
            counter=self.passes,
        )
        return denoise if self.request.precision == "float32" else self._in_half(denoise)

    def _in_half(self, denoise: Denoise) -> Denoise:
        """The networks compute in bfloat16; estimates, and all that is made of them, are float32."""
        device_type = self.generator.vae.device.type

        def half(x: Tensor, sigma: float) -> Tensor:
            with torch.autocast(device_type, torch.bfloat16):
                return denoise(x, sigma)

        return half

    def _together(self) -> int:
        """Windows in one pass: all that the memory takes on a GPU; one after the other is as fast on a CPU."""
        on_cpu = self.generator.vae.device.type == "cpu"
        columns = columns_together(self.generator.format, BATCH_COLUMNS)
        return 1 if on_cpu else max(1, columns // (self.canvas.windows.length * len(self.requests)))

    @torch.inference_mode()
    def _finish(self, number: int, latents: Tensor) -> Result:
        """From latents (1, Z, F, T) to a clip."""
        request, format, codec = self.requests[number], self.generator.format, self.codecs[number]
        source = self.sources[number] if self.sources else None
        if request.strength == 0:
            return self._result(request, source.audio, codec.spectrogram(source.audio), latents[0])
        x = codec.decode(latents, circular=request.loop)[0]
        if source is not None:
            x = source.put_back(x, codec)
        if request.loop:
            # Columns are coarse: the loop is stretched by less than half of one to whole hops, then to the sample.
            x = resample_circular(x, max(1, round(self.canvas.samples / format.hop_length)))
        held = source.held if source is not None else None
        audio = format.decode(
            x[None],
            iterations=request.phase_iterations,
            seeds=[request.variation_seed if request.variation_strength == 1 else request.seed],
            callback=lambda done, total: self.progress.at_phase(number, done, total, x, format),
            held=held,
            circular=request.loop,
        )[0]
        audio = resample_circular(audio, self.canvas.samples) if request.loop else audio
        return self._result(request, limited(audio, held), x, latents[0])

    def _result(self, request: Request, audio: Tensor, x: Tensor, latents: Tensor) -> Result:
        generator, canvas = self.generator, self.canvas
        audio = audio[:, canvas.first : canvas.first + canvas.samples].cpu()
        return Result(
            request,
            audio,
            generator.sample_rate,
            x.cpu() if generator.format.rows > 1 else audio_spectrogram(audio, generator.sample_rate),
            latents.cpu(),
            generator.model,
            self.fingerprint,
            self.passes,
            self.notes,
        )

    def _codec(self, mix: dict[str, float]) -> Codec:
        format, vae = self.generator.format, self.generator.vae
        conditioning = self.generator.conditioning([mix], vae.label_dim)
        return Codec(format, vae, conditioning, on_tile=lambda: self.progress.tell("decoding"))


def columns_together(format: Format, usual: int) -> int:
    """Latent columns that one pass of the UNet takes on a GPU: `usual`, and more of those that are a single row."""
    return usual * ONE_ROW if format.rows == 1 else usual


def noise_of(requests: Sequence[Request]) -> SeededNoise | VariedNoise:
    """Where the noise of some clips comes from, one stream each; all but the seed is that of the first request."""
    first = requests[0]

    def of(seeds: list[int]) -> SeededNoise:
        if first.noise == "white":
            return SeededNoise(seeds)
        return BrownianNoise(seeds, sigma_min=first.sigma_min, sigma_max=first.sigma_max)

    noise = of([request.seed for request in requests])
    if first.variation_strength == 0:
        return noise
    return VariedNoise(noise, of([first.variation_seed] * len(requests)), first.variation_strength)


def limited(audio: Tensor, held: HeldAudio | None) -> Tensor:
    """Audio (C, N) with what was made scaled down to the peak limit; what is held stays as it is.

    Raises:
        UserError: NaN or infinity.
    """
    if not bool(audio.isfinite().all()):
        raise UserError(
            "the model gave values that are not finite; ask for less extreme settings (cfg_scale, sampler_options, "
            "guidance), or look whether its training went well"
        )
    made = audio if held is None else audio[:, held[1] < 1]
    peak = float(made.abs().max()) if made.numel() else 0.0
    audio = audio * min(1.0, PEAK_LIMIT / max(peak, 1e-9))
    return audio if held is None else torch.lerp(audio, *held)
