"""Trains the spectrogram VAE, and creates the format and the labels of a new model."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from dualdiffusion.codec import Codec
from dualdiffusion.component import Component, part_of
from dualdiffusion.conditioning import Conditioning, game_conditioning, one_hot
from dualdiffusion.config import Config, nearest
from dualdiffusion.contracts import Format
from dualdiffusion.data.audio_crops import AudioCrops, Batch, Crop, long_enough
from dualdiffusion.data.dataset_folder import DatasetFolder, Track
from dualdiffusion.data.latent_crops import latents_image
from dualdiffusion.errors import UserError
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module, save_module
from dualdiffusion.pictures.spectrogram import spectrogram_pixels
from dualdiffusion.randomness import StepRandom
from train.data.transforming import transformed
from train.module_trainer import Demo, Plan, StepOutput
from train.startup.channels import with_channels
from train.startup.initial_weights import Source
from train.startup.setup import build_module, check_labels, new_games, save_labels, stored_part, with_label_dim

# Weights of the terms that this trainer adds to those of the loss.
OWN_WEIGHTS = {"point": 0.0, "shift": 0.0, "kl": 0.1}
# Enough to settle two constants to a part in a thousand, in seconds.
FIT_CLIPS = 128


class VAETrainer:
    """Reconstruction with the multi-scale spectral loss, under a fixed latent noise level."""

    class Config(Config):
        """Settings of a VAE's training."""

        format: part_of("dualdiffusion.formats") | None = None
        """Audio <-> spectrogram; created with the model and fixed from then on. null: that of the model that training
        starts from (`init`), or of the model folder."""
        vae: part_of("dualdiffusion.models") | None = None
        """The network; null: as for the format."""
        crop_seconds: Annotated[float, Field(gt=0)] = 4.0
        """Length of a training sample; rounded to what the network can take."""
        transforms: tuple[part_of("dualdiffusion.transforms"), ...] = ()
        """Changes of the training samples, at random and one after the other; validation has none."""
        loss: part_of("train.losses")
        """How two spectrograms are compared."""
        loss_weights: dict[str, Annotated[float, Field(ge=0)]] = Field({}, validate_default=True)
        """Weights by the names under which the parts are logged; those not named have their defaults. Besides the parts
        of the loss: "point", the mean absolute difference, which helps at the very start; "shift", how far the
        reconstruction of a clip that begins a few frames later is from the same frames of the reconstruction (costs
        another pass; 0 leaves it out); "kl", the divergence of the latents' channel statistics from the unit normal."""
        trained: Literal["all", "decoder"] = "all"
        """decoder: the encoder stays as it is, and so do latents; what a UNet has learned remains right."""
        label_dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
        """Share of samples without label, where the VAE is told the game at all."""
        demo_seconds: Annotated[float, Field(gt=0)] = 8.0
        """Length of the reconstructions in TensorBoard."""
        demos: Annotated[int, Field(ge=0)] = 2
        """How many."""

        @field_validator("loss")
        @classmethod
        def _is_of_spectrograms(cls, loss: Component) -> Component:
            if not hasattr(loss.cls, "default_weights"):
                raise ValueError(f"{loss.name} is a denoiser's loss; take multiscale_spectral.MultiscaleSpectral")
            return loss

        @field_validator("loss_weights")
        @classmethod
        def _known_parts(cls, weights: dict[str, float], info: ValidationInfo) -> dict[str, float]:
            if "loss" not in info.data:  # it has an error of its own
                return weights
            known = {**info.data["loss"].cls.default_weights, **OWN_WEIGHTS}
            if unknown := next((name for name in weights if name not in known), None):
                raise ValueError(f"no part {unknown!r}; nearest: {', '.join(nearest(unknown, known) or known)}")
            return {**known, **weights}

    module_name = "vae"

    def __init__(
        self,
        config: Config,
        *,
        model: ModelFolder,
        dataset: DatasetFolder,
        seed: int,
        init: ModelFolder | None = None,
    ) -> None:
        self.config, self.model = config, model
        self.format = stored_part(model, "format", config.format) or config.format.build()
        if init is not None:  # whose VAE knows its own constants
            self.format = load_module(init, "format")
        self.labels = check_labels(model, dataset)
        self.module = build_module(
            model, "vae", _settled(config.vae, self.labels, self.format), self.labels, seed, init
        )
        if config.trained == "decoder":
            self.module.freeze_encoder()
        self.loss = config.loss.build()
        self.transforms = [part.build() for part in config.transforms]
        self._check()
        frames = crop_frames(self.format.frames_per_second * config.crop_seconds, self.module.downsampling)
        self.samples = self.format.num_samples(frames)
        self.seconds_per_sample = frames / self.format.frames_per_second
        self.train_tracks = long_enough(dataset.tracks("train"), self.seconds_per_sample, dataset.path)
        held_out = [track for track in dataset.tracks("validation") if track.seconds >= self.seconds_per_sample]
        self.validation_tracks = held_out or self.train_tracks[:8]
        self.holds_out = bool(held_out)
        self.position = self.format.position()
        # Nothing is written before everything fits together.
        if init is not None or "format" not in model.module_names():
            if init is None:
                self.format.fit([crop.data for crop in self._some_crops()])
            save_module(model, "format", self.format)
        if not new_games(model, self.labels):
            save_labels(model, self.labels)
        self.format.eval()

    def _check(self) -> None:
        check_spectrogram(self.format)
        if next(self.module.parameters(), None) is None:
            raise UserError(
                f"module_trainer.vae.type: {type(self.module).__name__} has nothing to train; name it, and the format, "
                "in the UNet's config instead (module_trainer.vae, module_trainer.format)"
            )
        format, vae = self.format, self.module
        if format.rows % vae.downsampling:
            raise UserError(
                f"module_trainer.format.n_mels: {format.rows} is not a multiple of {vae.downsampling}, by "
                "which the VAE divides the frequency axis"
            )
        if format.num_channels != vae.in_channels:
            raise UserError(
                f"module_trainer.vae.in_channels: is {vae.in_channels}, but the format has {format.num_channels}; "
                "leave it out"
            )

    def to(self, device: torch.device) -> None:
        """Moves what is not the trained module itself."""
        self.format.to(device)
        self.loss.to(device)
        self.position = self.position.to(device)

    def train_data(self, seed: int) -> AudioCrops:
        """Random crops of the training split's audio."""
        return self._crops(self.train_tracks, self.samples, seed)

    def validation_data(self) -> AudioCrops:
        """The middle of each validation track that is long enough, or of some training tracks where none is."""
        return self._crops(self.validation_tracks, self.samples, None)

    def _crops(self, tracks: list[Track], samples: int, seed: int | None) -> AudioCrops:
        format = self.format
        return AudioCrops(tracks, samples, sample_rate=format.sample_rate, channels=format.num_channels, seed=seed)

    def _some_crops(self) -> list[Crop]:
        """Enough training crops to measure a few constants; always the same."""
        crops = self.train_data(seed=0)
        return [crops[index] for index in range(min(FIT_CLIPS, 4 * len(crops)))]

    def step(self, batch: Batch, *, generator: StepRandom) -> StepOutput:
        """The reconstruction loss of one batch of audio (B, C, N), under the latents' noise."""
        # The spectrogram is the truth to compare with: in float32, whatever the network computes in.
        with torch.no_grad(), torch.autocast(batch.data.device.type, enabled=False):
            x = self.format.encode(self._transformed(batch.data, generator))
        conditioning = self._conditioning(batch, generator)
        posterior = self.module.encode(x, position=self.position, conditioning=conditioning)
        latents = posterior.sample(generator)
        output = self.module.decode(latents, position=self.position, conditioning=conditioning)

        weights = self.config.loss_weights
        parts = self.loss(output, x, random=generator)
        parts["point"] = (output.float() - x).abs().mean(dim=(1, 2, 3))
        reconstruction = torch.stack([weights[name] * part for name, part in parts.items()]).sum(dim=0)
        others = {"kl": posterior.kl()}
        if weights["shift"]:
            others["shift"] = self._shift_difference(x, output, conditioning, generator)
        logvar = self.module.loss_logvar
        # The likelihood of a normal distribution whose variance is learned: it settles where exp(logvar) is the loss
        # itself, and so the other terms weigh the same however good the reconstruction is.
        loss = reconstruction * torch.exp(-logvar) + logvar
        loss = loss + sum(weights[name] * part for name, part in others.items())
        mode = posterior.mode.detach().float()
        metrics = {
            "loss/total": loss,
            "loss/reconstruction": reconstruction,
            "loss/logvar": logvar,
            **{f"loss/{name}": part for name, part in {**parts, **others}.items()},
            "latents/mean": mode.mean(),
            "latents/std": mode.std(dim=(2, 3)),
            "latents/snr": mode.std(dim=(2, 3)) / posterior.noise_std,
        }
        return StepOutput(loss, reconstruction, {name: value.detach() for name, value in metrics.items()})

    def _shift_difference(self, x: Tensor, output: Tensor, conditioning: Conditioning, generator: StepRandom) -> Tensor:
        """Mean absolute difference of `output` and the reconstruction of x without its first few frames: (B,).

        The frames are fewer than a latent column stands for. The first and last columns, which see another edge, are
        left out.
        """
        step = self.module.downsampling
        if x.shape[-1] < 4 * step:
            raise UserError(f"module_trainer.crop_seconds: the term shift needs {4 * step} frames, not {x.shape[-1]}")
        first = 1 + int(generator.rand()[0] * (step - 1))
        length = x.shape[-1] - step
        moved = self.module.encode(x[..., first : first + length], position=self.position, conditioning=conditioning)
        again = self.module.decode(moved.mode, position=self.position, conditioning=conditioning)
        difference = output[..., first + step : first + length - step] - again[..., step : length - step]
        return difference.float().abs().mean(dim=(1, 2, 3))

    def _transformed(self, audio: Tensor, generator: StepRandom) -> Tensor:
        """Audio (B, C, N) as training sees it."""
        return transformed(audio, self.transforms, generator) if self.module.training else audio

    def _conditioning(self, batch: Batch, generator: StepRandom) -> Conditioning:
        if not self.module.label_dim:
            return Conditioning()
        kept = (generator.rand() >= self.config.label_dropout).to(batch.data)
        return Conditioning(one_hot(batch.game_ids, self.module.label_dim).to(batch.data.device), kept)

    @torch.no_grad()
    def demos(self) -> list[Demo]:
        """Original and reconstruction of clips from the validation split."""
        frames = crop_frames(self.format.frames_per_second * self.config.demo_seconds, self.module.downsampling)
        samples = self.format.num_samples(frames)
        tracks = [t for t in self.validation_tracks if t.seconds * t.sample_rate >= samples][: self.config.demos]
        crops = self._crops(tracks, samples, None)
        return [demo for index in range(len(crops)) for demo in self._demo(crops[index], tracks[index].game)]

    def _demo(self, crop: Crop, game: str) -> list[Demo]:
        codec = self._codec(crop)
        x = codec.spectrogram(crop.data)[None]
        mode = codec.mode(x[0])
        output = codec.decode_mode(mode)
        rate = self.format.sample_rate
        low, high = float(x.min()), float(x.max())
        original = {"spectrogram": spectrogram_pixels(x[0], low=low, high=high)}
        images = {"spectrogram": spectrogram_pixels(output[0], low=low, high=high), "latents": latents_image(mode[0])}
        return [
            Demo(f"{game}/original", crop.data, rate, original),
            Demo(f"{game}/reconstruction", self.format.decode(output)[0], rate, images),
        ]

    def _codec(self, crop: Crop) -> Codec:
        """Told the crop's game, as when latents are encoded for the UNet."""
        return Codec(self.format, self.module, game_conditioning(crop.game_id, self.module))

    def _mode(self, crop: Crop) -> Tensor:
        """Latents of a crop before they are normalised: (Z, F / 8 * T / 8)."""
        codec = self._codec(crop)
        return codec.mode(codec.spectrogram(crop.data))[0].flatten(1)

    @torch.no_grad()
    def finish(self) -> None:
        """Measures mean and standard deviation of each latent channel over the training tracks.

        With a frozen encoder, those that came with it stay: they are what a UNet has learned its latents by.

        New games are told only now that the weights have room for them; of a VAE without labels they are the UNet's
        matter.
        """
        if self.module.label_dim:
            save_labels(self.model, self.labels)
        measured = bool((self.module.latents_std != 1).any())  # exactly 1 is what a new VAE has
        if self.config.trained == "decoder" and measured:
            return
        latents = torch.cat([self._mode(crop) for crop in self._some_crops()], dim=1)
        self.module.latents_mean.copy_(latents.mean(dim=1))
        self.module.latents_std.copy_(latents.std(dim=1))

    @classmethod
    def completed(cls, config: Config, source: Source) -> Config:
        """The config with the networks that it leaves to the model folder or to `init`."""
        parts = {name: source.part(name, getattr(config, name), f"module_trainer.{name}") for name in ("format", "vae")}
        return config.model_copy(update=parts)

    @classmethod
    def plan(cls, config: Config, *, model: ModelFolder, labels: Labels, batch_size: int) -> Plan:
        """What training would do, on the meta device."""
        format = config.format.build()
        check_spectrogram(format)
        with torch.device("meta"):
            vae = _settled(config.vae, labels, format).build()
        frames = crop_frames(format.frames_per_second * config.crop_seconds, vae.downsampling)
        audio = (batch_size, format.num_channels, format.num_samples(frames))
        format, measure, position = format.to("meta"), config.loss.build().to("meta"), format.position().to("meta")

        def forward() -> Tensor:
            with torch.no_grad(), torch.autocast("cpu", enabled=False):  # of which meta tensors take the settings
                x = format.encode(torch.zeros(audio, device="meta"))
            told = Conditioning(x.new_zeros(batch_size, vae.label_dim)) if vae.label_dim else Conditioning()
            posterior = vae.encode(x, position=position, conditioning=told)
            latents = posterior.mode + vae.noise_std * torch.randn_like(posterior.mode)
            output = vae.decode(latents, position=position, conditioning=told)
            parts = [*measure(output, x).values(), (output.float() - x).abs().mean(dim=(1, 2, 3)), posterior.kl()]
            if config.loss_weights["shift"]:
                moved = vae.encode(x[..., : -vae.downsampling], position=position, conditioning=told).mode
                again = vae.decode(moved, position=position, conditioning=told)
                parts.append((output[..., : again.shape[-1]] - again).float().abs().mean(dim=(1, 2, 3)))
            return torch.stack(parts).sum() * torch.exp(-vae.loss_logvar)

        shapes = {
            "audio": audio,
            "spectrogram": (batch_size, *format.sample_shape(frames)),
            "latents": (batch_size, *vae.latent_shape(format.sample_shape(frames))),
        }
        return Plan(vae, shapes, forward, (format, measure))


def _settled(vae: Component, labels: Labels, format: Format) -> Component:
    """The VAE with the number of games and of channels that its config leaves open."""
    return with_channels(with_label_dim(vae, labels), format.num_channels)


def check_spectrogram(format: Format) -> None:
    """Raises UserError for a format without a frequency axis, on which this VAE cannot work."""
    if format.rows == 1:
        raise UserError(
            f"module_trainer.format.type: the VAE works on spectrograms, and {type(format).__name__} makes none; take "
            "mel_spectrogram.MelSpectrogram"
        )


def crop_frames(frames: float, multiple: int) -> int:
    """The nearest number of frames that the network can take, at least one multiple."""
    return max(1, round(frames / multiple)) * multiple
