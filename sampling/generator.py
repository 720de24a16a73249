"""From a request to a clip: noise, sampling, decoding, phase recovery."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from dualdiffusion.codec import Codec
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.dsp.circular import resample_circular
from dualdiffusion.dsp.tiles import Held
from dualdiffusion.errors import UserError
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.loaded import LoadedModel, load_model
from dualdiffusion.model.module import load_module
from dualdiffusion.model.shipped import find_model, reference
from dualdiffusion.randomness import SeededNoise
from sampling.guidance import Guidance, PassCounter, guided, load_weak
from sampling.preview import Preview
from sampling.progress import Cancelled, OnStep, Progress, StepReport
from sampling.request import Request
from sampling.solvers.noise import BrownianNoise
from sampling.solvers.options import keywords
from sampling.solvers.samplers import ONE_ITEM_AT_A_TIME, SAMPLERS, Denoise
from sampling.tasks.canvas import Grid, most_columns, plan_canvas
from sampling.tasks.known_regions import keep_known
from sampling.tasks.source import PreparedSource, load_source, prepare_source, with_file
from sampling.tasks.variations import VariedNoise, between, mix_weights
from sampling.tasks.windows import windowed

__all__ = ["Cancelled", "Generator", "OnStep", "Result", "StepReport", "fingerprints", "model_fingerprint", "noise_of"]

# Louder clips are scaled down to this peak rather than clipped.
PEAK_LIMIT = 0.99
# Latent columns, of all clips and windows together, that one pass of the UNet takes on a GPU.
BATCH_COLUMNS = 4096


@dataclass(frozen=True)
class Result:
    """A generated clip.

    Attributes:
        request: what was asked.
        audio: (C, N) in [-1, 1].
        spectrogram: (C, F, T), normalised, as the format decodes it.
        latents: (Z, F, T), normalised, as diffusion made them.
        model: path and fingerprint of the model.
        passes: what guidance took, over all clips and windows that were sampled together.
    """

    request: Request
    audio: Tensor
    sample_rate: int
    spectrogram: Tensor
    latents: Tensor
    model: str
    fingerprint: str
    passes: PassCounter = field(default_factory=PassCounter)


class Generator:
    """A model that is ready to generate.

    Args:
        unets: denoisers by the name of their EMA.
        ema: of requests that name none; None is the model's default.
        load_unet: loads those that are not among `unets`.
        load_weak: loads the weaker network that a request's guidance names, or gives None.
        fingerprint_of: identifies the weights that a request names; None: those of `fingerprint` are all there are.
        window_columns: latent columns of the UNet's training crops; None, where that is not known, takes clips of any
            length whole.
    """

    def __init__(
        self,
        *,
        format: torch.nn.Module,
        vae: torch.nn.Module,
        unets: dict[str | None, Denoiser],
        labels: Labels,
        fingerprint: str,
        model: str = "",
        load_unet: Callable[[str | None], Denoiser] | None = None,
        load_weak: Callable[[Guidance], Denoiser | None] | None = None,
        fingerprint_of: Callable[[Request], str] | None = None,
        window_columns: int | None = None,
        ema: str | None = None,
    ) -> None:
        self.format, self.vae, self.labels = format, vae, labels
        self.fingerprint, self.model, self.window_columns = fingerprint, model, window_columns
        self._unets, self._load_unet, self._load_weak, self._ema = dict(unets), load_unet, load_weak, ema
        self._weak: dict[Any, Denoiser | None] = {}
        self.fingerprint_of = fingerprint_of or (lambda request: fingerprint)
        self.position = vae.latent_position(format.position()).to(vae.device)

    @classmethod
    def load(cls, folder: ModelFolder, device: torch.device | str | None = None) -> Self:
        """Loads a model folder onto a device; None is a GPU where there is one.

        Raises:
            UserError: the folder is not a whole model.
        """
        return cls.of(load_model(folder, device=device))

    @classmethod
    def of(cls, model: LoadedModel) -> Self:
        """Generates with a loaded model. A request that names no EMA gets the one that the model was loaded with."""
        folder, device = model.folder, model.device
        return cls(
            format=model.format,
            vae=model.vae,
            unets={model.ema: model.denoiser},
            labels=model.labels,
            fingerprint=model.fingerprint,
            model=reference(folder),
            load_unet=lambda ema: load_module(folder, "unet", ema=ema, device=device),
            load_weak=lambda guidance: load_weak(guidance, folder, device),
            fingerprint_of=fingerprints(folder),
            window_columns=model.window_columns,
            ema=model.ema,
        )

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.format.sample_rate

    def unet(self, ema: str | None) -> Denoiser:
        """The denoiser with the weights of an EMA. The default and the one that was asked for last are kept."""
        ema = ema or self._ema
        if ema not in self._unets:
            self._forget_unets()
            self._unets[ema] = self._load_unet(ema)
        return self._unets[ema]

    def _forget_unets(self) -> None:
        for other in [name for name in self._unets if name != self._ema]:
            del self._unets[other]

    def free_memory(self) -> None:
        """Forgets all networks that the next request may do without."""
        self._forget_unets()
        self._weak.clear()

    def weak_unet(self, guidance: Guidance) -> Denoiser | None:
        """The weaker network that guidance names, or None; the last one is kept for the next request."""
        if self._load_weak is None or not (guidance.weak_ema or guidance.weak_model):
            return None
        key = (guidance.weak_model, guidance.weak_ema)
        if key not in self._weak:
            self._weak.clear()  # before the next one is loaded
            self._weak[key] = self._load_weak(guidance)
        return self._weak[key]

    def grid(self, denoiser: Denoiser) -> Grid:
        """What latents are in time."""
        hop = self.format.hop_length
        multiple = denoiser.size_multiple
        return Grid(self.sample_rate, hop, hop * self.vae.downsampling, multiple, self.window_columns)

    def generate(self, request: Request, *, on_step: OnStep | None = None) -> Result:
        """Generates a clip. The same request gives the same clip.

        Args:
            on_step: called after every step of sampling and phase recovery, and between the windows of a long clip;
                what it raises ends the generation.

        Raises:
            UserError: the model does not know a game or an EMA, or cannot make such a length, or the source is not
                what it should be.
        """
        return next(self.generate_many([request], on_step=on_step))

    def generate_many(self, requests: Sequence[Request], *, on_step: OnStep | None = None) -> Iterator[Result]:
        """Generates clips, in order. Each is what `generate` makes of its request alone: on a CPU bit for bit, as they
        are sampled one after the other there; on a GPU, requests that differ in seed and games alone make batches,
        which are halved where the memory is too small for them."""
        if self._ema:  # which a clip is to tell
            requests = [r.model_copy(update={"ema": r.ema or self._ema}) for r in requests]
        done, waiting = 0, deque(self._batches(requests))
        while waiting:
            batch, begun = waiting.popleft(), done
            try:
                for result in _Batch(self, batch, Progress(on_step, done, len(batch), len(requests))).results():
                    yield result
                    done += 1
                continue
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise
            # Outside of the except block, which would keep the batch's tensors alive.
            torch.cuda.empty_cache()
            left = batch[done - begun :]
            half = (len(left) + 1) // 2
            waiting.extendleft(part for part in (left[half:], left[:half]) if part)

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[Request]]:
        """Requests that are sampled together."""
        if self.vae.device.type == "cpu":  # the last bits of a convolution may depend on the batch
            yield from ([request] for request in requests)
            return
        for _, group in itertools.groupby(requests, key=lambda r: r.model_copy(update={"seed": 0, "games": {}})):
            group = list(group)
            size = max(1, BATCH_COLUMNS // most_columns(group[0], self.grid(self.unet(group[0].ema))))
            size = 1 if group[0].sampler in ONE_ITEM_AT_A_TIME else size
            yield from (group[at : at + size] for at in range(0, len(group), size))

    def conditioning(self, mixes: Sequence[dict[str, float]], label_dim: int) -> Conditioning:
        """Mixes of games as a network with `label_dim` labels is told them, one row each.

        A network may know fewer games than there are, and makes the best of a mix: see LabelEmbedding.
        """
        if not label_dim:
            return Conditioning()
        rows = [self.labels.vector(mix) for mix in mixes]
        return Conditioning(torch.tensor(rows, device=self.vae.device))


class _Batch:
    """Clips that are sampled together: requests that differ in seed and games alone."""

    def __init__(self, generator: Generator, requests: Sequence[Request], progress: Progress) -> None:
        self.generator, self.requests, self.progress = generator, requests, progress
        self.request = request = requests[0]  # for all that they share
        self.passes = PassCounter()
        self.denoiser = generator.unet(request.ema)
        mixes = [r.games for r in requests]
        self.codecs = [self._codec(mix) for mix in mixes]
        grid, samples, digest = generator.grid(self.denoiser), None, None
        if request.source is not None:
            channels = generator.format.num_channels
            samples, digest = load_source(request.source, sample_rate=grid.sample_rate, channels=channels)
        self.canvas = plan_canvas(request, grid, None if samples is None else samples.shape[-1])
        self.sources: list[PreparedSource] = []
        if samples is not None:
            self.requests = [with_file(r, digest, self.canvas.samples / grid.sample_rate) for r in requests]
            with torch.inference_mode():
                self.sources = [prepare_source(samples, self.canvas, c, grid.sample_rate) for c in self.codecs]

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
        sigmas = request.noise_levels(self._errors)
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
        start = self._guided([r.games for r in self.requests] * len(windows))
        if self.request.games_end is None:
            return start
        layout, device = self.canvas.windows, self.generator.vae.device
        weights = mix_weights(self.canvas.columns, circular=self.request.loop)[layout.indices[list(windows)]]
        weights = weights.repeat_interleave(len(self.requests), dim=0)[:, None, None].to(device)
        return between(start, self._guided([self.request.games_end] * len(weights)), weights)

    def _guided(self, mixes: Sequence[dict[str, float]]) -> Denoise:
        denoise = guided(
            self.denoiser,
            self.generator.conditioning(mixes, self.denoiser.label_dim),
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
        return 1 if on_cpu else max(1, BATCH_COLUMNS // (self.canvas.windows.length * len(self.requests)))

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
            callback=lambda done, total: self.progress.at_phase(number, done, total, x),
            held=held,
            circular=request.loop,
        )[0]
        audio = resample_circular(audio, self.canvas.samples) if request.loop else audio
        return self._result(request, _limited(audio, held), x, latents[0])

    def _result(self, request: Request, audio: Tensor, x: Tensor, latents: Tensor) -> Result:
        generator, canvas = self.generator, self.canvas
        audio = audio[:, canvas.first : canvas.first + canvas.samples].cpu()
        return Result(
            request,
            audio,
            generator.sample_rate,
            x.cpu(),
            latents.cpu(),
            generator.model,
            generator.fingerprint_of(request),
            self.passes,
        )

    def _codec(self, mix: dict[str, float]) -> Codec:
        format, vae = self.generator.format, self.generator.vae
        conditioning = self.generator.conditioning([mix], vae.label_dim)
        return Codec(format, vae, conditioning, on_tile=lambda: self.progress.tell("decoding"))


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


def _limited(audio: Tensor, held: Held | None) -> Tensor:
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


def model_fingerprint(folder: ModelFolder, request: Request | None = None) -> str:
    """Identifies what a clip depends on: the VAE, its format, and the UNet's weights, also weaker ones.

    Args:
        request: names the weights; None is the default ones.
    """
    parts = [folder.fingerprint("vae"), folder.fingerprint("unet", request.ema if request else None)]
    guidance = request.guidance if request else Guidance()
    if guidance.weak_ema or guidance.weak_model:
        weak = find_model(guidance.weak_model) if guidance.weak_model else folder
        parts.append(weak.fingerprint("unet", guidance.weak_ema))
    return "-".join(parts)


def fingerprints(folder: ModelFolder) -> Callable[[Request], str]:
    """`model_fingerprint` of requests, which reads each file once."""
    known: dict[Any, str] = {}

    def fingerprint_of(request: Request) -> str:
        key = (request.ema, request.guidance.weak_model, request.guidance.weak_ema)
        if key not in known:
            known[key] = model_fingerprint(folder, request)
        return known[key]

    return fingerprint_of
