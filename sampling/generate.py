"""From a request to a clip: noise, sampling, decoding, phase recovery."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.image import spectrogram_pixels
from dualdiffusion.labels import Labels
from dualdiffusion.model_folder import ModelFolder
from dualdiffusion.module import load_module
from dualdiffusion.randomness import ItemRandom
from sampling.guidance import classifier_free
from sampling.request import Request
from sampling.samplers import SAMPLERS, SamplerStep
from sampling.schedules import SCHEDULES

# Share of the progress that sampling is given; the rest is phase recovery.
SAMPLING_SHARE = 0.8
# Louder clips are scaled down to this peak rather than clipped.
PEAK_LIMIT = 0.99


class Cancelled(Exception):  # noqa: N818 - not an error: raised by a callback to end the generation
    """The generation was cancelled by its callback."""


@dataclass(frozen=True)
class StepReport:
    """Where a generation stands.

    Attributes:
        fraction: from 0 to 1.
        text: what is being done, for people.
        preview: makes a picture of the spectrogram as it is now estimated; costs a pass through the VAE's decoder.
    """

    fraction: float
    text: str
    preview: Callable[[], Image.Image]


OnStep = Callable[[StepReport], None]


@dataclass(frozen=True)
class Result:
    """A generated clip.

    Attributes:
        request: what was asked.
        audio: (C, N) in [-1, 1].
        spectrogram: (C, F, T), normalised, as the format decodes it.
        latents: (Z, F, T), normalised, as diffusion made them.
        model: path and fingerprint of the model.
    """

    request: Request
    audio: Tensor
    sample_rate: int
    spectrogram: Tensor
    latents: Tensor
    model: str
    fingerprint: str


class Generator:
    """A model that is ready to generate.

    Args:
        unets: denoisers by the name of their EMA; None is the default.
        load_unet: loads those that are not among `unets`.
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
    ) -> None:
        self.format, self.vae, self.labels = format, vae, labels
        self.fingerprint, self.model = fingerprint, model
        self._unets, self._load_unet = dict(unets), load_unet
        self.position = vae.latent_position(format.position()).to(vae.device)

    @classmethod
    def load(cls, folder: ModelFolder, device: torch.device | str | None = None) -> Self:
        """Loads a model folder onto a device; None is a GPU where there is one.

        Raises:
            UserError: the folder is not a whole model.
        """
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        labels = folder.labels()

        def load_unet(ema: str | None) -> Denoiser:
            return load_module(folder, "unet", ema=ema, device=device)

        return cls(
            format=load_module(folder, "format", device=device),
            vae=load_module(folder, "vae", device=device),
            unets={None: load_unet(None)},
            labels=labels,
            fingerprint=model_fingerprint(folder),
            model=str(folder.path),
            load_unet=load_unet,
        )

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.format.config.sample_rate

    def unet(self, ema: str | None) -> Denoiser:
        """The denoiser with the weights of an EMA; kept for the next request."""
        if ema not in self._unets:
            self._unets[ema] = self._load_unet(ema)
        return self._unets[ema]

    @torch.inference_mode()
    def generate(self, request: Request, *, on_step: OnStep | None = None) -> Result:
        """Generates a clip. The same request gives the same clip.

        Args:
            on_step: called after every step of sampling and phase recovery; what it raises ends the generation.

        Raises:
            UserError: the model does not know a game or an EMA.
        """
        denoiser = self.unet(request.ema)
        latents = self._sample(request, denoiser, on_step)
        conditioning = self._conditioning(request, self.vae.label_dim)
        x = self._decode_latents(latents, conditioning)

        def on_phase(done: int, total: int) -> None:
            if on_step:
                fraction = SAMPLING_SHARE + (1 - SAMPLING_SHARE) * done / total
                on_step(StepReport(fraction, f"recovering phase {done}/{total}", lambda: _picture(x[0])))

        audio = self.format.decode(x, iterations=request.phase_iterations, seeds=[request.seed], callback=on_phase)
        audio = audio[0, :, : round(request.seconds * self.sample_rate)].cpu()
        audio = torch.nan_to_num(audio) * min(1.0, PEAK_LIMIT / max(float(audio.abs().max()), 1e-9))
        return Result(request, audio, self.sample_rate, x[0].cpu(), latents[0].cpu(), self.model, self.fingerprint)

    def latent_shape(self, seconds: float, size_multiple: int) -> tuple[int, int, int]:
        """(Z, F, T) of the latents of a clip, T rounded up to what the UNet can take."""
        frames = math.ceil(seconds * self.format.frames_per_second)
        columns = math.ceil(frames / self.vae.downsampling / size_multiple) * size_multiple
        return self.vae.latent_shape(self.format.sample_shape(columns * self.vae.downsampling))

    def _sample(self, request: Request, denoiser: Denoiser, on_step: OnStep | None) -> Tensor:
        conditioning = self._conditioning(request, denoiser.label_dim)
        denoise = classifier_free(denoiser, conditioning, cfg_scale=request.cfg_scale, position=self.position)
        sigmas = SCHEDULES[request.schedule](
            request.steps, sigma_min=request.sigma_min, sigma_max=request.sigma_max, rho=request.rho
        )

        def callback(step: SamplerStep) -> None:
            if on_step:
                fraction = SAMPLING_SHARE * (step.index + 1) / step.steps
                text = f"sampling {step.index + 1}/{step.steps}"
                on_step(StepReport(fraction, text, lambda: self._preview(step.denoised, request)))

        random = ItemRandom([request.seed])
        shape = self.latent_shape(request.seconds, denoiser.backbone.size_multiple)
        noise = random.randn(shape).to(self.vae.device) * sigmas[0]
        return SAMPLERS[request.sampler](denoise, noise, sigmas, generator=random, callback=callback)

    def _conditioning(self, request: Request, label_dim: int) -> Conditioning:
        vector = request.label_vector(self.labels)
        if not label_dim:
            return Conditioning()
        # A network trained before games were added to the labels knows the first ones.
        return Conditioning(torch.tensor([vector[:label_dim]], device=self.vae.device))

    def _decode_latents(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        position = self.format.position().to(latents.device)
        return self.vae.decode(self.vae.denormalize_latents(latents), position=position, conditioning=conditioning)

    @torch.inference_mode()
    def _preview(self, latents: Tensor, request: Request) -> Image.Image:
        return _picture(self._decode_latents(latents, self._conditioning(request, self.vae.label_dim))[0])


def model_fingerprint(folder: ModelFolder) -> str:
    """Identifies what clips depend on: the VAE, its format, and the UNet's default weights."""
    return f"{folder.fingerprint('vae')}-{folder.fingerprint('unet')}"


def _picture(x: Tensor) -> Image.Image:
    return Image.fromarray(spectrogram_pixels(x))
