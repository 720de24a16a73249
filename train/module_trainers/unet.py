"""Trains the denoiser on latents."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from dualdiffusion.component import Component, part_of
from dualdiffusion.conditioning import GAMES, Conditioning, one_hot
from dualdiffusion.config import Config, validate
from dualdiffusion.controls import read_controls
from dualdiffusion.data.audio_crops import Batch
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.data.latent_crops import LatentCrops, latents_image
from dualdiffusion.diffusion.loss import DenoisingLoss, Weighting, denoising_loss
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.diffusion.sigma_sampling import AdaptiveDensity, SigmaDensity
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.loaded import WINDOW_COLUMNS
from dualdiffusion.model.module import load_module, module_component
from dualdiffusion.model.shipped import find_model
from dualdiffusion.pictures.spectrogram import spectrogram_pixels
from dualdiffusion.randomness import StepRandom
from sampling.generator import Generator
from sampling.recommended import Asked, check_recommended, read_recommended
from sampling.request import Request
from train.autoencoder import check_autoencoder, check_fit, is_trained, make_autoencoder
from train.losses.denoising import DenoisingDistance, Squared
from train.module_trainer import Demo, Plan, StepOutput
from train.setup import build_module, check_labels, copy_modules, new_games, save_labels, with_label_dim
from train.starting import Source
from train.telling import conditioners_of, controls_of, settled


class UNetTrainer:
    """Denoising, with any predictor, weighting and loss; learned log-variance and label dropout."""

    class Config(Config):
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
        demo_games: Annotated[int, Field(ge=0)] = 3
        """Demos are made of the first so many games."""
        demos: tuple[dict[str, Any], ...] = ()
        """Requests, as far as they differ from what is recommended, to make demos of in place of those of the games;
        where one names no games, it is made of the first."""
        demo_seconds: Annotated[float, Field(gt=0)] = 8.0
        demo_steps: Annotated[int, Field(ge=1)] | None = None
        """null: as many as the model's request.json recommends, or else a request's default."""
        demo_cfg_scales: tuple[Annotated[float, Field(ge=0)], ...] | None = None
        """Each demo game is generated at each of these guidance scales; null: at the one that is recommended."""

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

        @field_validator("demos")
        @classmethod
        def _are_requests(cls, demos: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
            for number, fields in enumerate(demos):
                try:
                    validate(Request, {"games": {"any": 1.0}, **fields}, f"{number}")
                except UserError as error:
                    raise ValueError(str(error)) from None
            return demos

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
        self.adaptive = AdaptiveDensity(config.sigma) if config.sigma.distribution == "adaptive" else None
        if config.autoencoder and "vae" not in model.module_names():
            copy_modules(find_model(config.autoencoder), model, ("format", "vae"))
        self.labels = check_labels(model, dataset)
        if config.vae is not None:
            self._make_autoencoder()
        self.fingerprint = model.fingerprint("vae")
        self.vae = load_module(model, "vae")
        self.format = load_module(model, "format")
        self.module: Denoiser = build_module(model, "unet", self._denoiser(), self.labels, seed, init)
        columns = self.format.frames_per_second * config.crop_seconds / self.vae.downsampling
        multiple = self.module.size_multiple
        check_fit(self.module, self.format, self.vae)
        self.columns = max(1, round(columns / multiple)) * multiple
        self.column_seconds = self.vae.downsampling / self.format.frames_per_second
        self.module.index_notes = {WINDOW_COLUMNS: self.columns, **controls_of(self.module.told, self.dataset)}
        recommended = config.recommended or recommended_by(init)
        if recommended and not model.request_path.exists():
            write_json(model.request_path, recommended)
        self.recommended = read_recommended(model)
        self.seconds_per_sample = self.columns * self.vae.downsampling / self.format.frames_per_second
        self.position = self.vae.latent_position(self.format.position())
        self._check_demos()
        if not new_games(model, self.labels):
            save_labels(model, self.labels)

    def _check_demos(self) -> None:
        """Games that a demo names and the model does not know would end the run at its first demo, at every start."""
        for number, fields in enumerate(self.config.demos):
            if "games" in fields:
                try:
                    request = validate(Request, fields, f"module_trainer.demos.{number}")
                    request.check_games(self.labels, needed=bool(self.module.label_dim or self.module.told))
                except UserError as error:
                    raise UserError(f"module_trainer.demos.{number}: {error}") from None

    def _make_autoencoder(self) -> None:
        format, vae = self.config.format.build(), self.config.vae.build()
        check_autoencoder(format, vae)  # nothing is written before everything fits together
        with torch.device("meta"):
            denoiser = self._denoiser().build()
        check_fit(denoiser, format, vae)
        make_autoencoder(self.model, self.config.format, self.config.vae, self.dataset, self.config.crop_seconds)

    def _denoiser(self) -> Component:
        facts = (track.all_facts for track in self.dataset.tracks("train"))
        return _denoiser(self.config, self.labels, self.model, facts)

    def to(self, device: torch.device) -> None:
        """Moves what is not the trained module itself."""
        self.vae.to(device)
        self.format.to(device)
        self.position = self.position.to(device)

    def train_data(self, seed: int) -> LatentCrops:
        """Random crops of the training split's latents."""
        return self._crops("train", seed)

    def validation_data(self) -> LatentCrops:
        """The middle of each validation track, or of the training tracks where no other is long enough."""
        return self._crops("validation" if self.holds_out else "train", None)

    @property
    def holds_out(self) -> bool:
        """Whether a validation track is long enough for a crop."""
        return any(track.seconds > self.seconds_per_sample + 1 for track in self.dataset.tracks("validation"))

    def _crops(self, split: str, seed: int | None) -> LatentCrops:
        tracks = self.dataset.tracks(split)
        return LatentCrops(
            self.dataset,
            tracks,
            self.columns,
            vae_fingerprint=self.fingerprint,
            seed=seed,
            told=self.module.told,
            column_seconds=self.column_seconds,
        )

    def step(self, batch: Batch, *, generator: StepRandom) -> StepOutput:
        """The denoising loss of one batch of latents (B, Z, f, t)."""
        latents = batch.data
        levels = self._density().sigma(self._quantiles(generator)).to(latents.dtype)  # on the CPU
        sigma = levels.to(latents.device)
        noise = generator.randn_like(latents)
        conditioning = self._conditioning(batch, generator)
        loss = denoising_loss(
            self.module,
            latents,
            noise,
            sigma,
            conditioning,
            position=self.position,
            weighting=self.config.weighting,
            distance=self.distance,
        )
        minimised = loss.learned if self.config.learned_log_variance else loss.variance_detached
        metrics = {
            "loss/total": minimised,
            "loss/weighted": loss.weighted,
            "loss/logvar": loss.log_variance,
            "histogram/ln_sigma": sigma.log(),
            **self._by_sigma(levels, loss),
        }
        return StepOutput(minimised, loss.weighted, {name: value.detach() for name, value in metrics.items()})

    def _conditioning(self, batch: Batch, generator: StepRandom) -> Conditioning:
        """What the batch's samples are told: where labels are dropped, everything is, as guidance needs it."""
        drawn = [name for name, config in self.module.told.items() if config.of_latents]
        if not self.module.label_dim and not batch.values and not drawn:
            return Conditioning()
        told = (generator.rand() >= self.config.label_dropout).to(batch.data)
        labels = one_hot(batch.game_ids, self.module.label_dim).to(batch.data.device) if self.module.label_dim else None
        kept = {
            name: told * batch.known[name] * (generator.rand() >= self.module.told[name].dropout).to(told)
            for name in batch.values
        }
        values = dict(batch.values)
        for name in drawn:  # what is known of a clip is told whatever else is dropped
            config = self.module.told[name]
            values[name] = config.drawn(batch.data, generator.rand(), generator.rand(), generator.rand())
            kept[name] = (generator.rand() >= config.dropout).to(told)
        return Conditioning(labels, told if labels is not None else None, values, kept, frozenset(drawn))

    def _quantiles(self, generator: StepRandom) -> Tensor:
        if self.config.sigma.stratified or not self.module.training:
            return generator.quantiles
        return generator.rand().double()

    def _density(self) -> SigmaDensity | AdaptiveDensity:
        if not self.module.training:
            return self.config.validation_sigma
        return self.adaptive or self.config.sigma

    def _by_sigma(self, levels: Tensor, loss: DenoisingLoss) -> dict[str, Tensor]:
        """Of each range of sigma: its loss, and its share of all training, 1 where that is its fair share.

        The share is how often the range is drawn, times 1 / exp(u) and the factor of `weighting`, which is how much its
        error then counts.

        Args:
            levels: (B,), on the CPU: which sample is in which range is known there, so that no device is waited for.
        """
        count = self.config.loss_buckets
        edges = self.config.validation_sigma.sigma(torch.linspace(0, 1, count + 1, dtype=torch.float64))
        bucket = torch.bucketize(levels, edges[1:-1])
        order, sizes = bucket.argsort(stable=True), bucket.bincount(minlength=count).tolist()
        losses = loss.weighted[order.to(loss.weighted.device)].split(sizes)
        inside = (bucket == torch.arange(count)[:, None]).to(loss.log_variance.device)
        counts = torch.exp(-loss.log_variance)
        weights = count * (counts if loss.factor is None else loss.factor * counts) * inside
        metrics = {}
        for i, (low, high) in enumerate(itertools.pairwise(edges.tolist())):
            name = f"{low:.3g}-{high:.3g}"
            metrics[f"loss_by_sigma/{name}"] = losses[i]
            metrics[f"effective_weight_by_sigma/{name}"] = weights[i]
        return metrics

    def after_update(self, samples: int) -> bool:
        """Lets an adaptive density of noise levels follow the log-variance; returns whether it moved."""
        if self.adaptive is None or not self.adaptive.due(samples):
            return False
        self.adaptive.update(lambda sigma: self.module.log_variance(sigma.to(self.module.device)), samples)
        return True

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of this trainer: the adaptive density."""
        return {} if self.adaptive is None else self.adaptive.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on from a checkpoint."""
        if self.adaptive is not None:
            self.adaptive.load_state(state)

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
        if self.config.demos:
            return [self._demo_of(generator, *asked) for asked in enumerate(self.config.demos, start=1)]
        scales = (None,) if self.config.demo_cfg_scales is None else self.config.demo_cfg_scales
        mixes = [{name: 1.0} for name in self.labels.names[: self.config.demo_games]]
        if generator.is_unconditional:  # and hears no scale
            mixes, scales = [{}] * min(1, self.config.demo_games), (None,)
        return [self._demo(generator, mix, scale) for mix in mixes for scale in scales]

    def _demo(self, generator: Generator, games: dict[str, float], cfg_scale: float | None) -> Demo:
        said = {} if cfg_scale is None else {"cfg_scale": cfg_scale}
        request = self._demo_request({"games": games, **said})
        name = f"{' '.join(games)}/cfg{request.cfg_scale:g}" if games else "clip"
        return self._made(generator, name, request)

    def _demo_of(self, generator: Generator, number: int, fields: dict[str, Any]) -> Demo:
        first = {} if generator.is_unconditional else {self.labels.names[0]: 1.0}
        request = self._demo_request({"games": first, **fields})
        return self._made(generator, f"{number}/{' '.join(request.games) or 'clip'}", request)

    def _demo_request(self, fields: dict[str, Any]) -> Request:
        steps = {} if self.config.demo_steps is None else {"steps": self.config.demo_steps}
        # The weights of a weaker network may not exist yet.
        without = ("guidance.weak_ema=null", "guidance.weak_scale=1")
        asked = Asked({"seconds": self.config.demo_seconds, **steps, **fields}, without)
        return validate(Request, asked.over(self.recommended), "demos")

    def _made(self, generator: Generator, name: str, request: Request) -> Demo:
        result = generator.generate(request)
        images = {"spectrogram": spectrogram_pixels(result.spectrogram), "latents": latents_image(result.latents)}
        return Demo(name, result.audio, result.sample_rate, images)

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
        source = model if "vae" in model.module_names() or not config.autoencoder else find_model(config.autoencoder)
        parts = _stored_autoencoder(source, config)
        if config.vae is not None:
            check_autoencoder(*(parts[name].build() for name in ("format", "vae")))
        rows, columns = _latent_size(parts, config)
        with torch.device("meta"):
            denoiser = _denoiser(config, labels, model).build()
            multiple = denoiser.size_multiple
            columns = max(1, round(columns / multiple)) * multiple
            shape = (batch_size, denoiser.in_channels, rows, columns)
            sigma, position = torch.ones(batch_size), torch.zeros(rows)
            vae = [parts["vae"].build()] if "vae" in parts else []
        format = [parts["format"].build()] if "format" in parts else []
        if config.vae is not None:
            check_fit(denoiser, *format, *vae)

        def forward() -> Tensor:
            latents, noise = (torch.zeros(shape, device="meta") for _ in range(2))
            conditioning = Conditioning()
            if denoiser.label_dim:
                conditioning = Conditioning(torch.zeros(batch_size, denoiser.label_dim, device="meta"), sigma)
            return denoising_loss(denoiser, latents, noise, sigma, conditioning, position=position).learned.sum()

        return Plan(denoiser, {"latents": shape}, forward, (*vae, *format))


def recommended_by(init: ModelFolder | None) -> dict[str, Any]:
    """What the model that training starts from recommends to ask of it; nothing that only its own weights can do."""
    fields = {} if init is None else read_recommended(init).fields
    return {name: value for name, value in fields.items() if not (name == "guidance" and value.get("weak_ema"))}


def _denoiser(
    config: UNetTrainer.Config, labels: Labels, model: ModelFolder, facts: Iterable[Mapping[str, Any]] = ()
) -> Component:
    """With what hangs on the dataset: the number of games, and the names that the facts of its tracks have.

    Names that the model's network has been told stay as they are.
    """
    made = module_component(model, "unet").config.backbone if "unet" in model.module_names() else None
    known = conditioners_of(made) if made else {}
    if made is None and GAMES in conditioners_of(config.denoiser.backbone):
        raise UserError(
            f"module_trainer.denoiser.backbone.conditioners: {GAMES!r} is the name of the labels; give it another name"
        )
    backbone = settled(with_label_dim(config.denoiser.backbone, labels), list(facts), known)
    return Component(Denoiser, config.denoiser.model_copy(update={"backbone": backbone}))


def _stored_autoencoder(model: ModelFolder, config: UNetTrainer.Config) -> dict[str, Component]:
    """Format and VAE as far as a model has them, or else as the config says them."""
    said = {name: part for name in ("format", "vae") if (part := getattr(config, name)) is not None}
    stored = {name: module_component(model, name) for name in ("format", "vae") if name in model.module_names()}
    return {**said, **stored}


def _latent_size(parts: Mapping[str, Component], config: UNetTrainer.Config) -> tuple[int, float]:
    """Rows and columns of a training sample; of the reference format (32 kHz) where the model does not exist yet."""
    if {"format", "vae"} <= set(parts):
        format = parts["format"].build()
        with torch.device("meta"):
            factor = parts["vae"].build().downsampling
        return format.rows // factor, config.crop_seconds * format.frames_per_second / factor
    return 32, config.crop_seconds * 1000 / 8 / 8
