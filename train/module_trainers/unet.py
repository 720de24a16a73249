"""Trains the denoiser on latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor
from torch.utils.data import Dataset

from dualdiffusion.component import Component, part_of
from dualdiffusion.contracts import Autoencoder, Format
from dualdiffusion.controls import read_controls
from dualdiffusion.data.audio_crops import Batch, Crop
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.diffusion.loss import Weighting, denoising_loss
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.diffusion.sigma_sampling import SigmaDensity
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.loaded import WINDOW_COLUMNS
from dualdiffusion.model.module import load_module
from dualdiffusion.model.shipped import find_model
from dualdiffusion.randomness import StepRandom
from sampling.generator import Generator
from sampling.recommended import check_recommended, read_recommended
from train.denoiser.demos import DemosConfig, check_demos, make_demos
from train.denoiser.latent_source import EncodedLatents, LatentsConfig, LatentSource, StoredLatents
from train.denoiser.loss_by_level import by_noise_level
from train.denoiser.noise_levels import TrainingLevels
from train.denoiser.setup import plan, recommended_by, settled_denoiser
from train.denoiser.telling import controls_of, told_of, unknown
from train.losses.denoising import DenoisingDistance, Squared
from train.module_trainer import Demo, Plan, StepOutput
from train.startup.autoencoder import check_autoencoder, check_fit, is_trained, make_autoencoder, of_format
from train.startup.initial_weights import Source
from train.startup.setup import build_module, check_labels, copy_modules, new_games, save_labels


class UNetTrainer:
    """Denoising, with any predictor, weighting and loss; learned log-variance and label dropout."""

    class Config(LatentsConfig, DemosConfig):
        """Settings of a UNet's training."""

        denoiser: Denoiser.Config | None = None
        """The network and its preconditioning; null: that of the model that training starts from (`init`), or of the
        model folder."""
        autoencoder: Path | None = None
        """Model folder, or name of a shipped one, to copy format and VAE from where the model has none: several UNets
        on one VAE's latents. null: the model that training starts from, if there is one."""
        format: part_of("dualdiffusion.formats") | None = None
        """Of a model that is trained without a VAE of its own; null: that of the model folder, or of `autoencoder`."""
        vae: part_of("dualdiffusion.models") | None = None
        """What takes the VAE's place there, `{"type": "identity.Identity"}`; it needs no training. null: the VAE of the
        model folder, or of `autoencoder`."""
        crop_seconds: Annotated[float, Field(gt=0)] = 8.0
        """Length of a training sample; rounded to what the network can take."""
        sigma: SigmaDensity = SigmaDensity()
        """Noise levels to train at."""
        validation_sigma: SigmaDensity = SigmaDensity()
        """Noise levels of the validation and edges of `loss_buckets`. They are others than those of training, so that
        runs with other training densities, and the moments of a run with an adaptive one, compare."""
        learned_log_variance: bool = True
        """Divide the loss of each noise level by its learned variance, so that all levels count alike however hard they
        are. Without, the variance is learned all the same, but weighs nothing."""
        weighting: Weighting = "edm"
        """How noise levels count in training, beside the learned variance: edm, all alike; soft_min_snr, those in the
        middle most; snr, as where noise is predicted; output, by the plain error of what the network predicts. The
        validation loss does not depend on it."""
        loss: part_of("train.losses") = Component(Squared, Squared.Config())
        """What is trained on, a class of train/losses/denoising.py, such as `{"type": "denoising.Huber"}`. Validation
        compares the squared error in any case."""
        label_dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
        """Share of samples without label, which train the unconditional model that guidance needs."""
        loss_buckets: Annotated[int, Field(ge=1)] = 8
        """Loss is also logged for so many ranges of sigma."""
        recommended: dict[str, Any] = Field(default_factory=dict)
        """Fields of a request, stored with the model as what to ask of it where nothing is said, if it has none yet.
        Empty: those of the model that training starts from, if there is one."""

        @field_validator("loss")
        @classmethod
        def _is_of_estimates(cls, loss: Component) -> Component:
            if not issubclass(loss.cls, DenoisingDistance):
                raise ValueError(f"{loss.name} is a loss of spectrograms; take one of train/losses/denoising.py")
            return loss

        @model_validator(mode="after")
        def _needs_no_training(self) -> Self:
            if (self.vae is None) != (self.format is None):
                raise ValueError("format, vae: belong together; give both of them, or none")
            if self.vae is not None and is_trained(self.vae):
                raise ValueError(
                    f"vae: {self.vae.name} has to be trained first, by a config of its own; take identity.Identity, or "
                    "leave format and vae out"
                )
            return self

        @field_validator("recommended")
        @classmethod
        def _can_be_recommended(cls, fields: dict[str, Any]) -> dict[str, Any]:
            try:
                check_recommended(fields, "")
            except UserError as error:
                raise ValueError(str(error).removeprefix(": ")) from None
            return fields

    module_name = "unet"
    finish_measures = False  # what `finish` does needs no data: an EMA can be made without the dataset

    def __init__(
        self,
        config: Config,
        *,
        model: ModelFolder,
        dataset: DatasetFolder,
        seed: int,
        init: ModelFolder | None = None,
    ) -> None:
        self.config, self.model, self.dataset = config, model, dataset
        self.distance = config.loss.build()
        self.levels = TrainingLevels(config.sigma, config.validation_sigma)
        if config.autoencoder and "vae" not in model.module_names():
            copy_modules(find_model(config.autoencoder), model, ("format", "vae"))
        self.labels = check_labels(model, dataset)
        if config.vae is not None:
            self._make_autoencoder()
        self.fingerprint = model.fingerprint("vae")
        self.vae = load_module(model, "vae")
        self.format = load_module(model, "format")
        part = self._denoiser(self.format, self.vae)
        self.module: Denoiser = build_module(model, "unet", part, self.labels, seed, init)
        columns = self.format.frames_per_second * config.crop_seconds / self.vae.downsampling
        multiple = self.module.size_multiple
        check_fit(self.module, self.format, self.vae)
        self.columns = max(1, round(columns / multiple)) * multiple
        self.module.index_notes = {WINDOW_COLUMNS: self.columns, **controls_of(self.module.told, self.dataset)}
        recommended = config.recommended or recommended_by(init)
        if recommended and not model.request_path.exists():
            write_json(model.request_path, recommended)
        self.recommended = read_recommended(model)
        column_seconds = self.vae.downsampling / self.format.frames_per_second
        self.seconds_per_sample = self.columns * column_seconds
        if config.pre_encoded:
            told = self.module.told
            self.latents: LatentSource = StoredLatents(dataset, self.columns, self.fingerprint, told, column_seconds)
        else:
            transforms = [part.build() for part in config.transforms]
            self.latents = EncodedLatents(dataset, self.format, self.vae, self.columns, self.module.told, transforms)
        self.position = self.vae.latent_position(self.format.position())
        check_demos(config.demos, self.labels, needed=bool(self.module.label_dim or self.module.told))
        if not new_games(model, self.labels):
            save_labels(model, self.labels)

    def _make_autoencoder(self) -> None:
        format = self.config.format.build()
        vae = of_format(self.config.vae, format).build()
        check_autoencoder(format, vae)  # nothing is written before everything fits together
        part = self._denoiser(format, vae)
        with torch.device("meta"):
            denoiser = part.build()
        check_fit(denoiser, format, vae)
        make_autoencoder(self.model, self.config.format, self.config.vae, self.dataset, self.config.crop_seconds)

    def _denoiser(self, format: Format, vae: Autoencoder) -> Component:
        facts = (track.all_facts for track in self.dataset.tracks("train"))
        return settled_denoiser(self.config, self.labels, self.model, (format, vae), facts)

    def to(self, device: torch.device) -> None:
        """Moves what is not the trained module itself."""
        self.vae.to(device)
        self.format.to(device)
        self.position = self.position.to(device)

    def train_data(self, seed: int) -> Dataset[Crop]:
        """Random crops of the training split."""
        return self.latents.crops("train", seed)

    def validation_data(self) -> Dataset[Crop]:
        """The middle of each validation track, or of the training tracks where no other is long enough."""
        return self.latents.crops("validation" if self.holds_out else "train", None)

    @property
    def holds_out(self) -> bool:
        """Whether a validation track is long enough for a crop."""
        return any(track.seconds > self.seconds_per_sample + 1 for track in self.dataset.tracks("validation"))

    def step(self, batch: Batch, *, generator: StepRandom) -> StepOutput:
        """The denoising loss of one batch of crops, as the source of latents gives them."""
        batch = self.latents(batch, generator if self.module.training else None)
        latents = batch.data
        levels = self.levels.drawn(generator, training=self.module.training).to(latents.dtype)  # on the CPU
        sigma = levels.to(latents.device)
        noise = generator.randn_like(latents)
        conditioning = told_of(batch, self.module, self.config.label_dropout, generator)
        loss = denoising_loss(
            self.module,
            latents,
            noise,
            sigma,
            conditioning,
            position=self.position,
            weighting=self.config.weighting,
            distance=self.distance,
            counted=unknown(conditioning, self.module.told),
        )
        minimised = loss.learned if self.config.learned_log_variance else loss.variance_detached
        metrics = {
            "loss/total": minimised,
            "loss/weighted": loss.weighted,
            "loss/logvar": loss.log_variance,
            "histogram/ln_sigma": sigma.log(),
            **by_noise_level(levels, loss, self.config.validation_sigma, self.config.loss_buckets),
        }
        return StepOutput(minimised, loss.weighted, {name: value.detach() for name, value in metrics.items()})

    def after_update(self, samples: int) -> bool:
        """Lets an adaptive density of noise levels follow the log-variance; returns whether it moved."""
        return self.levels.follow(self.module, samples)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of this trainer: the adaptive density."""
        return self.levels.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on from a checkpoint."""
        self.levels.load_state(state)

    def demos(self) -> list[Demo]:
        """Clips made by the code that the command line and the page use."""
        generator = Generator(
            format=self.format,
            vae=self.vae,
            unets={None: self.module},
            labels=self.labels,
            fingerprint="in training",
            window_columns=self.columns,
            controls=read_controls(self.module.index_notes, "in training"),
        )
        return make_demos(generator, self.config, self.recommended)

    def finish(self) -> None:
        """Nothing is measured after training; but new games are told only now that the weights have room for them."""
        save_labels(self.model, self.labels)

    @classmethod
    def completed(cls, config: Config, source: Source) -> Config:
        """The config with the denoiser that it leaves to the model folder or to `init`."""
        given = None if config.denoiser is None else Component(Denoiser, config.denoiser)
        part = source.part("unet", given, "module_trainer.denoiser")
        return config.model_copy(update={"denoiser": part.config, "autoencoder": config.autoencoder or source.name})

    @classmethod
    def plan(cls, config: Config, *, model: ModelFolder, labels: Labels, batch_size: int) -> Plan:
        """What training would do, on the meta device."""
        return plan(config, model=model, labels=labels, batch_size=batch_size)
