"""Demos of a denoiser in training: clips made by the code that the command line and the page use."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, field_validator

from dualdiffusion.config import Config, validate
from dualdiffusion.data.latent_crops import latents_image
from dualdiffusion.errors import UserError
from dualdiffusion.labels import Labels
from dualdiffusion.pictures.spectrogram import spectrogram_pixels
from sampling.generator import Generator
from sampling.recommended import Asked, Recommended
from sampling.request import Request
from train.module_trainer import Demo


class DemosConfig(Config):
    """Which demos are made."""

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

    @field_validator("demos")
    @classmethod
    def _are_requests(cls, demos: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for number, fields in enumerate(demos):
            try:
                validate(Request, {"games": {"any": 1.0}, **fields}, f"{number}")
            except UserError as error:
                raise ValueError(str(error)) from None
        return demos


def check_demos(demos: Sequence[Mapping[str, Any]], labels: Labels, *, needed: bool) -> None:
    """Games that a demo names and the model does not know would end the run at its first demo, at every start.

    Args:
        demos: those of the config.
        needed: whether the model has to be told games.

    Raises:
        UserError: such a demo.
    """
    for number, fields in enumerate(demos):
        if "games" in fields:
            try:
                request = validate(Request, fields, f"module_trainer.demos.{number}")
                request.check_games(labels, needed=needed)
            except UserError as error:
                raise UserError(f"module_trainer.demos.{number}: {error}") from None


def make_demos(generator: Generator, config: DemosConfig, recommended: Recommended) -> list[Demo]:
    """The clips; `recommended` is asked for where the config says nothing."""

    def request(fields: dict[str, Any]) -> Request:
        steps = {} if config.demo_steps is None else {"steps": config.demo_steps}
        # The weights of a weaker network may not exist yet.
        without = ("guidance.weak_ema=null", "guidance.weak_scale=1")
        asked = Asked({"seconds": config.demo_seconds, **steps, **fields}, without)
        return validate(Request, asked.over(recommended), "demos")

    names, unconditional = generator.labels.names, generator.is_unconditional
    if config.demos:
        first = {} if unconditional else {names[0]: 1.0}
        asked = [request({"games": first, **fields}) for fields in config.demos]
        named = [f"{number}/{' '.join(of.games) or 'clip'}" for number, of in enumerate(asked, start=1)]
        return [_made(generator, name, of) for name, of in zip(named, asked, strict=True)]
    if unconditional:  # and hears no scale
        return [_made(generator, "clip", request({"games": {}})) for _ in range(min(1, config.demo_games))]
    demos, scales = [], (None,) if config.demo_cfg_scales is None else config.demo_cfg_scales
    for name, scale in itertools.product(names[: config.demo_games], scales):
        said = {} if scale is None else {"cfg_scale": scale}
        of = request({"games": {name: 1.0}, **said})
        demos.append(_made(generator, f"{name}/cfg{of.cfg_scale:g}", of))
    return demos


def _made(generator: Generator, name: str, request: Request) -> Demo:
    result = generator.generate(request)
    images = {"spectrogram": spectrogram_pixels(result.spectrogram), "latents": latents_image(result.latents)}
    return Demo(name, result.audio, result.sample_rate, images)
